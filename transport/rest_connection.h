#pragma once

#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "codec/http_body.h"
#include "codec/received_message.h"

namespace portico {

/// Where a REST server is, and what is the same for all connections to it.
struct RestServer {
  std::string host;
  std::string port;
  /// Null: plain.
  std::unique_ptr<boost::asio::ssl::context> tls;
  uint64_t max_body_bytes = 0;
};

/// One HTTP/1.1 connection to a foreign server: Send → Connect → Handshake → Write → Header → Read → Finish; then
/// Send() again, where the server keeps it open. For the loop's thread; kept alive by what it waits for.
class RestConnection : public std::enable_shared_from_this<RestConnection> {
 public:
  /// How an exchange has ended.
  struct Outcome {
    /// The server's answer, errors by StatusOfHttp(); UNAVAILABLE where there is none.
    absl::StatusOr<ReceivedMessage> answer;
    /// Another exchange may follow.
    bool reusable = false;
    /// No connection was made.
    bool unconnected = false;
    /// The server had closed the connection, which earlier exchanges left open: it saw nothing of this one, or wanted
    /// to hear nothing any more.
    bool stale = false;
  };
  using Done = absl::AnyInvocable<void(Outcome)>;

  /// `server` is not owned and must outlive it.
  RestConnection(boost::asio::io_context& io, std::shared_ptr<const RestServer> server);

  /// Connects where that is to be done, sends `request` as it is and reads an answer. `request` must live until `done`,
  /// which runs once, on the loop's thread, not inside the call. REQUIRES: the exchange before has ended.
  void Send(std::vector<boost::asio::const_buffer> request, Done done);
  /// Ends what is under way as UNAVAILABLE.
  void Close();
  /// Nothing has come since the last exchange: the server has not closed it.
  bool Quiet();

 private:
  using Tcp = boost::asio::ip::tcp;
  using Parser = boost::beast::http::response_parser<PaddedBody>;

  void Connect();
  void OnResolved(boost::system::error_code error, const Tcp::resolver::results_type& endpoints);
  void OnConnected(boost::system::error_code error);
  void Write();
  void OnWritten(boost::system::error_code error);
  void OnHeader(boost::system::error_code error);
  void OnRead(boost::system::error_code error);
  Outcome TakeAnswer();
  void Fail(absl::string_view step, boost::system::error_code error);
  void Finish(Outcome outcome);

  const std::shared_ptr<const RestServer> server_;
  Tcp::resolver resolver_;
  Tcp::socket socket_;
  std::optional<boost::asio::ssl::stream<Tcp::socket&>> tls_;
  boost::asio::steady_timer connect_by_;
  bool connected_ = false;
  bool closed_ = false;
  /// Exchanges that were answered.
  uint64_t answered_ = 0;
  std::vector<boost::asio::const_buffer> request_;
  boost::beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  Done done_;
};

}  // namespace portico
