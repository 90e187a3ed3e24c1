#include "node/frontend/http_server.h"

#include <algorithm>
#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "node/frontend/http_connection.h"
#include "node/frontend/http_loop.h"
#include "node/frontend/http_tls.h"

namespace portico {
namespace {

namespace asio = boost::asio;
using boost::asio::ip::tcp;
using boost::system::error_code;

/// An I/O thread, its loop, and the timer that closes connections that have gone silent.
class HttpLine {
 public:
  explicit HttpLine(std::shared_ptr<HttpShared> shared)
      : loop_(std::make_shared<HttpLoop>(std::move(shared))),
        sweep_timer_(loop_->io()),
        work_(loop_->io().get_executor()) {}

  const std::shared_ptr<HttpLoop>& loop() const { return loop_; }

  /// `on_sweep` runs on the thread now and then.
  void Run(absl::AnyInvocable<void()> on_sweep) {
    on_sweep_ = std::move(on_sweep);
    asio::post(loop_->io(), [this] { Sweep(); });
    thread_ = std::thread([this] { loop_->Run(); });
  }

  /// Lets no request in, and closes what waits for one.
  void Drain() {
    loop_->gate().Close();
    asio::post(loop_->io(), [this] {
      loop_->Drain();
      loop_->CloseWhere([](const HttpLoop::Peer& peer) { return peer.idle(); });
    });
  }
  /// Waits for requests in hand until `end`, then closes all connections and ends the thread.
  void Join(absl::Time end) {
    loop_->gate().Drain(std::max(end - absl::Now(), absl::ZeroDuration()));
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
  /// A timer per connection would cost each request two operations.
  void Sweep() {
    const HttpServer::Options& options = loop_->options();
    const absl::Duration shortest = std::min(options.idle_timeout, options.header_timeout);
    const HttpLoop::SteadyTime now = std::chrono::steady_clock::now();
    loop_->CloseWhere([now](const HttpLoop::Peer& peer) { return peer.Stuck(now); });
    if (on_sweep_) on_sweep_();
    sweep_timer_.expires_after(
        absl::ToChronoMilliseconds(std::clamp(shortest / 4, absl::Milliseconds(10), absl::Seconds(5))));
    sweep_timer_.async_wait([this](error_code error) {
      if (!error && !loop_->draining()) Sweep();
    });
  }

  const std::shared_ptr<HttpLoop> loop_;
  asio::steady_timer sweep_timer_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  absl::AnyInvocable<void()> on_sweep_;
  std::thread thread_;
};

/// Listens, hands the connections it lets in to its lines in turn, and stops. Accepts on the first line's thread;
/// connections stay where they are.
class BeastServer final : public HttpServer {
 public:
  BeastServer(Options options, Handler handler) : shared_(std::make_shared<HttpShared>()) {
    const int threads = options.threads > 0
                            ? options.threads
                            : std::clamp(static_cast<int>(std::thread::hardware_concurrency()) / 4, 1, 16);
    shared_->options = std::move(options);
    shared_->handler = std::move(handler);
    for (int i = 0; i < threads; ++i) lines_.push_back(std::make_unique<HttpLine>(shared_));
    acceptor_.emplace(io());
  }
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
    tcp::resolver resolver(io());
    const auto found = resolver.resolve(host, std::to_string(port), tcp::resolver::passive, error);
    if (error || found.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("HTTP address '", wanted, "': ", error.message()));
    }
    const tcp::endpoint endpoint = *found.begin();
    acceptor_->open(endpoint.protocol(), error);
    if (!error) acceptor_->set_option(asio::socket_base::reuse_address(true), error);
    if (!error) acceptor_->bind(endpoint, error);
    if (!error) acceptor_->listen(asio::socket_base::max_listen_connections, error);
    if (error) {
      return absl::UnavailableError(
          absl::StrCat("HTTP address '", wanted, "': ", error.message(), "; choose a free port of this machine"));
    }
    address_ = absl::StrCat(wanted.substr(0, colon), ":", acceptor_->local_endpoint().port());
    return absl::OkStatus();
  }

  void Run() {
    asio::post(io(), [this] { Accept(); });
    for (const auto& line : lines_) {
      line->Run(line == lines_.front() ? [this] { if (std::exchange(accept_paused_, false)) Accept(); }
                                       : absl::AnyInvocable<void()>());
    }
    running_ = true;
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
    ASSIGN_OR_RETURN(std::shared_ptr<asio::ssl::context> context, NewTlsContext(tls));
    // Connections hold on to what they were made of.
    lines_.front()->loop()->Post([this, context = std::move(context)]() mutable { tls_ = std::move(context); });
    return absl::OkStatus();
  }

  void Stop(absl::Duration timeout) override {
    if (!std::exchange(running_, false)) return;
    const absl::Time end = absl::Now() + timeout;
    asio::post(io(), [this] {
      error_code ignored;
      acceptor_->close(ignored);
    });
    for (const auto& line : lines_) line->Drain();
    // The first is where the others' connections come from.
    for (const auto& line : lines_) line->Join(end);
  }

 private:
  const Options& options() const { return shared_->options; }
  asio::io_context& io() { return lines_.front()->loop()->io(); }

  void Accept() {
    const std::shared_ptr<HttpLoop>& loop = lines_[next_++ % lines_.size()]->loop();
    acceptor_->async_accept(loop->io(), [this, loop](error_code error, tcp::socket socket) {
      if (error == asio::error::operation_aborted || !acceptor_->is_open()) return;
      if (error) {
        // Out of file descriptors, most likely: the next sweep tries again.
        accept_paused_ = true;
        return;
      }
      Let(loop, std::move(socket));
      Accept();
    });
  }

  void Let(const std::shared_ptr<HttpLoop>& loop, tcp::socket socket) {
    if (shared_->connections.load(std::memory_order_relaxed) >= options().max_connections) return;
    shared_->connections.fetch_add(1, std::memory_order_relaxed);
    if (loop->OnThread()) return StartHttpConnection(loop, std::move(socket), tls_.get());
    loop->Post([loop, socket = std::move(socket), tls = tls_]() mutable {
      if (!loop->draining()) StartHttpConnection(loop, std::move(socket), tls.get());
    });
  }

  const std::shared_ptr<HttpShared> shared_;
  std::vector<std::unique_ptr<HttpLine>> lines_;
  std::optional<tcp::acceptor> acceptor_;
  size_t next_ = 0;
  bool accept_paused_ = false;
  /// Null: plain.
  std::shared_ptr<asio::ssl::context> tls_;
  std::string address_;
  bool running_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(Options options, Handler handler) {
  auto server = std::make_unique<BeastServer>(std::move(options), std::move(handler));
  RETURN_IF_ERROR(server->Listen());
  server->Run();
  return server;
}

}  // namespace portico
