#include "node/frontend/http_server.h"

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "node/frontend/http_connection.h"
#include "node/frontend/http_loop.h"
#include "node/frontend/http_tls.h"

namespace portico {
namespace {

namespace asio = boost::asio;
using boost::asio::ip::tcp;
using boost::system::error_code;

/// Listens, lets connections in, closes those that have gone silent, and stops. All but Listen(), SetTls() and Stop()
/// is on the I/O thread, which it owns; the loop is shared with the connections.
class BeastServer final : public HttpServer {
 public:
  BeastServer(Options options, Handler handler)
      : loop_(std::make_shared<HttpLoop>(std::move(options), std::move(handler))),
        acceptor_(loop_->io()),
        sweep_timer_(loop_->io()),
        work_(loop_->io().get_executor()) {}
  ~BeastServer() override { Stop(absl::ZeroDuration()); }

  absl::Status Listen() {
    if (options().tls.enabled()) {
      ASSIGN_OR_RETURN(tls_, NewTlsContext(options().tls));
    }
    const std::string& wanted = options().address;
    const size_t colon = wanted.rfind(':');
    int port = 0;
    if (colon == std::string::npos || !absl::SimpleAtoi(wanted.substr(colon + 1), &port) || port < 0 || port > 65535) {
      return absl::InvalidArgumentError(absl::StrCat("HTTP address '", wanted, "': want HOST:PORT"));
    }
    std::string host = wanted.substr(0, colon);
    if (host.size() > 1 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
    error_code error;
    tcp::resolver resolver(loop_->io());
    const auto found = resolver.resolve(host, std::to_string(port), tcp::resolver::passive, error);
    if (error || found.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("HTTP address '", wanted, "': ", error.message()));
    }
    const tcp::endpoint endpoint = *found.begin();
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(asio::socket_base::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (error) {
      return absl::UnavailableError(
          absl::StrCat("HTTP address '", wanted, "': ", error.message(), "; choose a free port of this machine"));
    }
    address_ = absl::StrCat(wanted.substr(0, colon), ":", acceptor_.local_endpoint().port());
    return absl::OkStatus();
  }

  void Run() {
    asio::post(loop_->io(), [this] {
      Accept();
      Sweep();
    });
    thread_ = std::thread([this] { loop_->Run(); });
  }

  const std::string& address() const override { return address_; }

  absl::Status SetTls(const ServerTls& tls) override {
    const ServerTls& first = options().tls;
    if (!first.enabled() || tls.mutual() != first.mutual()) {
      return absl::FailedPreconditionError(
          "HTTP TLS: got keys that turn TLS or the check of clients' certificates on or off, want that as at the "
          "start; "
          "start the node again");
    }
    ASSIGN_OR_RETURN(std::unique_ptr<asio::ssl::context> context, NewTlsContext(tls));
    // Connections hold on to what they were made of.
    loop_->Post([this, context = std::move(context)]() mutable { tls_ = std::move(context); });
    return absl::OkStatus();
  }

  void Stop(absl::Duration timeout) override {
    if (!thread_.joinable()) return;
    loop_->gate().Close();
    asio::post(loop_->io(), [this] {
      error_code ignored;
      acceptor_.close(ignored);
      loop_->Drain();
      loop_->CloseWhere([](const HttpLoop::Peer& peer) { return peer.idle(); });
    });
    loop_->gate().Drain(timeout);
    asio::post(loop_->io(), [this] {
      sweep_timer_.cancel();
      loop_->CancelWatch();
      loop_->CloseWhere([](const HttpLoop::Peer&) { return true; });
    });
    // With every socket closed and no work promised, the thread runs out of things to do.
    work_.reset();
    thread_.join();
    loop_->End();
  }

 private:
  const Options& options() const { return loop_->options(); }

  void Accept() {
    acceptor_.async_accept([this](error_code error, tcp::socket socket) {
      if (error == asio::error::operation_aborted || !acceptor_.is_open()) return;
      if (error) {
        // Out of file descriptors, most likely: the next sweep tries again.
        accept_paused_ = true;
        return;
      }
      if (loop_->peers() < options().max_connections) StartHttpConnection(loop_, std::move(socket), tls_.get());
      Accept();
    });
  }

  /// Closes connections whose clients have gone silent. A timer per connection would cost each request two operations.
  void Sweep() {
    const absl::Duration shortest = std::min(options().idle_timeout, options().header_timeout);
    const HttpLoop::SteadyTime now = std::chrono::steady_clock::now();
    loop_->CloseWhere([now](const HttpLoop::Peer& peer) { return peer.Stuck(now); });
    if (std::exchange(accept_paused_, false)) Accept();
    sweep_timer_.expires_after(
        absl::ToChronoMilliseconds(std::clamp(shortest / 4, absl::Milliseconds(10), absl::Seconds(5))));
    sweep_timer_.async_wait([this](error_code error) {
      if (!error && !loop_->draining()) Sweep();
    });
  }

  const std::shared_ptr<HttpLoop> loop_;
  tcp::acceptor acceptor_;
  asio::steady_timer sweep_timer_;
  bool accept_paused_ = false;
  /// Null: plain.
  std::unique_ptr<asio::ssl::context> tls_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::string address_;
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(Options options, Handler handler) {
  auto server = std::make_unique<BeastServer>(std::move(options), std::move(handler));
  RETURN_IF_ERROR(server->Listen());
  server->Run();
  return server;
}

}  // namespace portico
