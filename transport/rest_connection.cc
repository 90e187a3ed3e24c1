#include "transport/rest_connection.h"

#include <sys/socket.h>

#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/read.hpp>
#include <chrono>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "transport/http_status.h"
#include "transport/tls_host.h"

namespace portico {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;

/// A server that takes longer to let us in is not there.
constexpr std::chrono::seconds kConnectTimeout{5};
constexpr uint32_t kMaxHeaderBytes = 64 << 10;

/// A body that was received.
class BodyOrigin final : public TensorOrigin {
 public:
  explicit BodyOrigin(std::string body) : TensorOrigin(body.capacity()), body_(std::move(body)) {}
  absl::string_view bytes() const { return absl::string_view(body_).substr(0, body_.size() - kJsonPadding); }

 private:
  const std::string body_;
};

}  // namespace

RestConnection::RestConnection(asio::io_context& io, std::shared_ptr<const RestServer> server)
    : server_(std::move(server)), resolver_(io), socket_(io), connect_by_(io) {}

void RestConnection::Send(std::vector<asio::const_buffer> request, Done done) {
  request_ = std::move(request);
  done_ = std::move(done);
  connected_ ? Write() : Connect();
}

void RestConnection::Connect() {
  connect_by_.expires_after(kConnectTimeout);
  connect_by_.async_wait([self = shared_from_this()](error_code error) {
    if (!error && !self->connected_) self->Close();
  });
  resolver_.async_resolve(server_->host, server_->port,
                          [self = shared_from_this()](error_code error, const Tcp::resolver::results_type& endpoints) {
                            self->OnResolved(error, endpoints);
                          });
}

void RestConnection::OnResolved(error_code error, const Tcp::resolver::results_type& endpoints) {
  if (error || closed_) return Fail("look up the host", error);
  asio::async_connect(socket_, endpoints, [self = shared_from_this()](error_code failed, const Tcp::endpoint&) {
    self->OnConnected(failed);
  });
}

void RestConnection::OnConnected(error_code error) {
  if (error || closed_) return Fail("connect", error);
  error_code ignored;
  socket_.set_option(Tcp::no_delay(true), ignored);
  if (server_->tls == nullptr) {
    connected_ = true;
    connect_by_.cancel();
    return Write();
  }
  tls_.emplace(socket_, *server_->tls);
  ExpectTlsHost(tls_->native_handle(), server_->host);
  tls_->async_handshake(asio::ssl::stream_base::client, [self = shared_from_this()](error_code failed) {
    if (failed || self->closed_) return self->Fail("TLS handshake", failed);
    self->connected_ = true;
    self->connect_by_.cancel();
    self->Write();
  });
}

void RestConnection::Write() {
  const auto written = [self = shared_from_this()](error_code error, size_t) { self->OnWritten(error); };
  tls_.has_value() ? asio::async_write(*tls_, request_, written) : asio::async_write(socket_, request_, written);
}

void RestConnection::OnWritten(error_code error) {
  if (error || closed_) return Fail("send the request", error);
  parser_.emplace();
  parser_->header_limit(kMaxHeaderBytes);
  parser_->body_limit(server_->max_body_bytes);
  // By itself: a limit that Content-Length exceeds is lost where Beast reads on in the same buffer.
  const auto read = [self = shared_from_this()](error_code failed, size_t) { self->OnHeader(failed); };
  tls_.has_value() ? http::async_read_header(*tls_, buffer_, *parser_, read)
                   : http::async_read_header(socket_, buffer_, *parser_, read);
}

void RestConnection::OnHeader(error_code error) {
  if (error || closed_ || parser_->is_done()) return OnRead(error);
  const auto read = [self = shared_from_this()](error_code failed, size_t) { self->OnRead(failed); };
  tls_.has_value() ? http::async_read(*tls_, buffer_, *parser_, read)
                   : http::async_read(socket_, buffer_, *parser_, read);
}

void RestConnection::OnRead(error_code error) {
  if (error == http::error::body_limit || error == http::error::header_limit) {
    return Finish({absl::InternalError(absl::StrCat("the server's response: got over ",
                                                    error == http::error::body_limit
                                                        ? absl::StrCat(server_->max_body_bytes, " bytes")
                                                        : absl::StrCat(kMaxHeaderBytes, " bytes of header"),
                                                    ", want at most that"))});
  }
  // Beast's errors but for the two that mean an end are no HTTP.
  if (error && error.category() == make_error_code(http::error::bad_method).category() &&
      error != http::error::end_of_stream && error != http::error::partial_message) {
    return Finish({absl::InternalError(absl::StrCat("the server's response: not HTTP/1.1: ", error.message()))});
  }
  if (error || closed_) return Fail("read the answer", error);
  Finish(TakeAnswer());
}

RestConnection::Outcome RestConnection::TakeAnswer() {
  Outcome outcome{ReceivedMessage()};
  // Bytes behind the answer belong to nothing that was asked.
  outcome.reusable = parser_->keep_alive() && buffer_.size() == 0;
  const int code = static_cast<int>(parser_->get().result_int());
  const auto json = parser_->get().find("Inference-Header-Content-Length");
  ReceivedMessage message;
  if (json != parser_->get().end() &&
      (!absl::SimpleAtoi(absl::string_view(json->value().data(), json->value().size()), &message.json_bytes) ||
       message.json_bytes == 0)) {
    outcome.answer = absl::InternalError(
        "the server's response: got a header Inference-Header-Content-Length that is no length, want one");
    return outcome;
  }
  std::string body = std::move(parser_->get().body());
  // A response without a body may leave out its end.
  if (body.size() < kJsonPadding) body.append(kJsonPadding - body.size(), '\0');
  auto origin = MakeRef<BodyOrigin>(std::move(body));
  message.bytes = origin->bytes();
  message.origin = std::move(origin);
  if (code / 100 == 2) {
    outcome.answer = std::move(message);
  } else {
    outcome.answer = StatusOfHttp(code, message.bytes);
  }
  return outcome;
}

void RestConnection::Fail(absl::string_view step, error_code error) {
  Outcome outcome{absl::UnavailableError(
      absl::StrCat(step, ": ", closed_ ? "given up" : error.message(), connected_ ? "" : "; the call was not sent"))};
  outcome.unconnected = !connected_;
  outcome.stale = !closed_ && answered_ > 0 && (!parser_.has_value() || !parser_->got_some());
  Finish(std::move(outcome));
}

void RestConnection::Finish(Outcome outcome) {
  ++answered_;
  parser_.reset();
  request_.clear();
  if (!outcome.reusable) Close();
  std::exchange(done_, nullptr)(std::move(outcome));
}

void RestConnection::Close() {
  if (std::exchange(closed_, true)) return;
  error_code ignored;
  resolver_.cancel();
  connect_by_.cancel();
  socket_.close(ignored);
}

bool RestConnection::Quiet() {
  char byte;
  return recv(socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EINTR);
}

}  // namespace portico
