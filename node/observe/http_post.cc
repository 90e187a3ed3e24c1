#include "node/observe/http_post.h"

#include <algorithm>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <cstdint>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace portico {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

/// Of an answer: it says "{}" or an error.
constexpr uint64_t kMaxAnswerBytes = 1 << 20;

/// One request: each step is asynchronous, because only those obey the stream's time limit, and run to its end before
/// the next.
class Post {
 public:
  Post(const HttpTarget& target, const std::string& body, absl::Duration timeout)
      : target_(target), body_(body), timeout_(timeout) {}

  absl::StatusOr<int> Run() {
    boost::system::error_code error;
    asio::ip::tcp::resolver resolver(io_);
    const auto endpoints = resolver.resolve(target_.host, target_.port, error);
    if (error) return Failed("look up", error);
    stream_.expires_after(absl::ToChronoNanoseconds(timeout_));
    stream_.async_connect(endpoints, [&](boost::system::error_code done, const auto&) { error = done; });
    RunStep();
    if (error) return Failed("connect to", error);

    http::request<http::string_body> request(http::verb::post, target_.path, 11, body_);
    request.set(http::field::host, absl::StrCat(target_.host, ":", target_.port));
    request.set(http::field::connection, "close");
    request.set(http::field::content_type, "application/json");
    request.prepare_payload();
    http::async_write(stream_, request, [&](boost::system::error_code done, size_t) { error = done; });
    RunStep();
    if (error) return Failed("send to", error);

    http::response_parser<http::string_body> response;
    response.body_limit(kMaxAnswerBytes);
    beast::flat_buffer buffer;
    http::async_read(stream_, buffer, response, [&](boost::system::error_code done, size_t) { error = done; });
    RunStep();
    if (error) return Failed("read from", error);
    return static_cast<int>(response.get().result_int());
  }

 private:
  void RunStep() {
    io_.restart();
    io_.run();
  }

  absl::Status Failed(absl::string_view what, const boost::system::error_code& error) const {
    const std::string message = absl::StrCat(what, " ", target_.host, ":", target_.port, ": ", error.message());
    if (error == beast::error::timeout) return absl::DeadlineExceededError(message);
    return absl::UnavailableError(message);
  }

  const HttpTarget& target_;
  const std::string& body_;
  const absl::Duration timeout_;
  asio::io_context io_{1};
  beast::tcp_stream stream_{io_};
};

/// Cuts ":PORT" off the end of `authority`; 80 where there is none. False for a port that is none.
bool TakePort(absl::string_view* authority, std::string* port) {
  const size_t colon = authority->rfind(':');
  if (colon == absl::string_view::npos || authority->find(']', colon) != absl::string_view::npos) {
    *port = "80";
    return true;
  }
  uint32_t number = 0;
  if (!absl::SimpleAtoi(authority->substr(colon + 1), &number) || number == 0 || number > 65535) return false;
  *port = absl::StrCat(number);
  *authority = authority->substr(0, colon);
  return true;
}

}  // namespace

absl::StatusOr<HttpTarget> HttpTarget::Parse(absl::string_view url) {
  absl::string_view rest = url;
  HttpTarget target;
  const auto refuse = [&] {
    return absl::InvalidArgumentError(absl::StrCat("got '", url, "', want http://HOST:PORT[/PATH]"));
  };
  if (!absl::ConsumePrefix(&rest, "http://") || rest.size() > 2048) return refuse();
  for (const char c : rest) {
    if (c <= ' ' || c == 127 || c == '@' || c == '?' || c == '#') return refuse();
  }
  const size_t slash = std::min(rest.find('/'), rest.size());
  target.path = std::string(rest.substr(slash));
  while (!target.path.empty() && target.path.back() == '/') target.path.pop_back();
  absl::string_view host = rest.substr(0, slash);
  if (!TakePort(&host, &target.port)) return refuse();
  if (absl::ConsumePrefix(&host, "[") && !absl::ConsumeSuffix(&host, "]")) return refuse();
  if (host.empty()) return refuse();
  target.host = std::string(host);
  return target;
}

absl::StatusOr<int> PostJson(const HttpTarget& target, const std::string& body, absl::Duration timeout) {
  try {
    return Post(target, body, timeout).Run();
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("HTTP to ", target.host, ":", target.port, ": ", error.what()));
  }
}

}  // namespace portico
