#include "cli/http_client.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "deploy/address.h"
#include "transport/tls_client_context.h"
#include "transport/tls_host.h"

namespace portico {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

constexpr uint64_t kMaxBodyBytes = uint64_t{1} << 30;

/// One call: each step is asynchronous, because only those obey the stream's time limit, and run to its end before the
/// next.
class Call {
 public:
  Call(const std::string& address, const HttpCall& call) : address_(address), call_(call) {}

  absl::StatusOr<HttpAnswer> Run() {
    ASSIGN_OR_RETURN(const Address address, ParseAddress(address_));
    stream_.expires_after(absl::ToChronoNanoseconds(call_.timeout));
    boost::system::error_code error;
    asio::ip::tcp::resolver resolver(io_);
    const auto endpoints = resolver.resolve(address.host, absl::StrCat(address.port), error);
    if (error) return Failed("look up", error);
    stream_.async_connect(endpoints, [&](boost::system::error_code done, const auto&) { error = done; });
    RunStep();
    if (error) return Failed("connect to", error);
    if (!call_.security.tls) return Exchange(stream_);

    const ClientSecurity& security = call_.security;
    ASSIGN_OR_RETURN(const auto context,
                     NewTlsClientContext({security.roots, security.certificates, security.private_key}));
    asio::ssl::stream<beast::tcp_stream&> tls(stream_, *context);
    ExpectTlsHost(tls.native_handle(), call_.security.server_name.empty() ? address.host : call_.security.server_name);
    tls.async_handshake(asio::ssl::stream_base::client, [&](boost::system::error_code done) { error = done; });
    RunStep();
    if (error) return Failed("TLS handshake with", error);
    return Exchange(tls);
  }

 private:
  template <typename Stream>
  absl::StatusOr<HttpAnswer> Exchange(Stream& stream) {
    boost::system::error_code error;
    http::request<http::string_body> request = Request();
    http::async_write(stream, request, [&](boost::system::error_code done, size_t) { error = done; });
    RunStep();
    if (error) return Failed("send to", error);

    http::response_parser<http::string_body> response;
    response.body_limit(kMaxBodyBytes);
    beast::flat_buffer buffer;
    http::async_read(stream, buffer, response, [&](boost::system::error_code done, size_t) { error = done; });
    RunStep();
    if (error) return Failed("read from", error);
    return HttpAnswer{static_cast<int>(response.get().result_int()), std::move(response.get().body())};
  }

  void RunStep() {
    io_.restart();
    io_.run();
  }

  http::request<http::string_body> Request() const {
    http::request<http::string_body> request(call_.body.empty() ? http::verb::get : http::verb::post, call_.target, 11);
    request.set(http::field::host, address_);
    request.set(http::field::connection, "close");
    for (const auto& [name, value] : call_.headers) request.set(name, value);
    if (!call_.security.token.empty()) {
      request.set(http::field::authorization, absl::StrCat("Bearer ", call_.security.token));
    }
    if (!call_.body.empty()) {
      request.set(http::field::content_type, "application/json");
      request.body() = call_.body;
    }
    request.prepare_payload();
    return request;
  }

  absl::Status Failed(absl::string_view what, const boost::system::error_code& error) const {
    const std::string message = absl::StrCat(what, " '", address_, "': ", error.message());
    if (error == beast::error::timeout) return absl::DeadlineExceededError(message);
    return absl::UnavailableError(message);
  }

  const std::string& address_;
  const HttpCall& call_;
  asio::io_context io_{1};
  beast::tcp_stream stream_{io_};
};

}  // namespace

absl::StatusOr<HttpAnswer> CallHttp(const std::string& address, const HttpCall& call) {
  try {
    return Call(address, call).Run();
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("HTTP to '", address, "': ", error.what()));
  }
}

}  // namespace portico
