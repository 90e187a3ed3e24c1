#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "transport/foreign_wire.h"
#include "transport/rest_connection.h"
#include "transport/rest_loop.h"
#include "transport/tls_client_context.h"

namespace portico {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using SteadyClock = std::chrono::steady_clock;

/// Calls at once to one server; more wait for a connection.
constexpr size_t kMaxConnections = 64;
/// One that nobody needs for so long is closed.
constexpr std::chrono::seconds kMaxIdle{30};
/// Between tries to connect, for calls that may wait for the first connection.
constexpr std::chrono::milliseconds kConnectAgain{100};

class RestPool;

/// One request and its answer; all but construction on the loop's thread.
class RestExchange final : public ForeignExchange {
 public:
  RestExchange(std::shared_ptr<RestPool> pool, ForeignRequest request, std::string head, Done done)
      : pool_(std::move(pool)), request_(std::move(request)), head_(std::move(head)), done_(std::move(done)) {}

  void Start(absl::Duration timeout, bool wait) override;
  void Cancel() override;

  bool is_get() const { return request_.body.bytes.empty(); }
  std::vector<asio::const_buffer> Buffers() const;

 private:
  friend class RestPool;

  const std::shared_ptr<RestPool> pool_;
  const ForeignRequest request_;
  const std::string head_;
  Done done_;
  std::optional<asio::steady_timer> deadline_;
  /// Until the next try.
  std::optional<asio::steady_timer> pause_;
  std::shared_ptr<RestConnection> connection_;
  bool wait_ = false;
  bool started_ = false;
  bool cancelled_ = false;
  bool ended_ = false;
};

/// Connections to one server that are kept open, and who waits for one. On the loop's thread.
class RestPool : public std::enable_shared_from_this<RestPool> {
 public:
  RestPool(asio::io_context& io, std::shared_ptr<const RestServer> server) : io_(io), server_(std::move(server)) {}

  asio::io_context& io() { return io_; }

  void Begin(const Ref<RestExchange>& exchange, absl::Duration timeout) {
    if (exchange->ended_) return;
    exchange->started_ = true;
    if (exchange->cancelled_) return End(exchange, absl::CancelledError("the call was cancelled"));
    if (timeout < absl::InfiniteDuration()) {
      exchange->deadline_.emplace(io_, absl::ToChronoNanoseconds(std::min(timeout, absl::Hours(24))));
      exchange->deadline_->async_wait([self = shared_from_this(), exchange](error_code error) {
        if (!error) self->End(exchange, absl::DeadlineExceededError("the deadline passed before the answer"));
      });
    }
    Assign(exchange);
  }

  void Cancel(const Ref<RestExchange>& exchange) {
    exchange->cancelled_ = true;
    if (exchange->started_) End(exchange, absl::CancelledError("the call was cancelled"));
  }

  void Close() {
    closed_ = true;
    for (const Idle& idle : idle_) idle.connection->Close();
    idle_.clear();
  }

 private:
  struct Idle {
    std::shared_ptr<RestConnection> connection;
    SteadyClock::time_point since;
  };

  void Assign(const Ref<RestExchange>& exchange) {
    std::shared_ptr<RestConnection> connection = TakeIdle();
    // Questions whether the server is there do not wait behind calls that take long.
    if (connection == nullptr && (open_ < kMaxConnections || exchange->is_get())) {
      connection = std::make_shared<RestConnection>(io_, server_);
      ++open_;
    }
    if (connection == nullptr) {
      waiting_.push_back(exchange);
      return;
    }
    Run(exchange, std::move(connection));
  }

  /// The one that was used last and is open; null: none.
  std::shared_ptr<RestConnection> TakeIdle() {
    while (!idle_.empty()) {
      std::shared_ptr<RestConnection> connection = std::move(idle_.back().connection);
      idle_.pop_back();
      if (connection->Quiet()) return connection;
      Discard(*connection);
    }
    return nullptr;
  }

  void Run(const Ref<RestExchange>& exchange, std::shared_ptr<RestConnection> connection) {
    exchange->connection_ = connection;
    connection->Send(exchange->Buffers(),
                     [self = shared_from_this(), exchange, connection](RestConnection::Outcome outcome) {
                       self->OnOutcome(exchange, connection, std::move(outcome));
                     });
  }

  void OnOutcome(const Ref<RestExchange>& exchange, const std::shared_ptr<RestConnection>& connection,
                 RestConnection::Outcome outcome) {
    exchange->connection_ = nullptr;
    if (outcome.reusable && !closed_ && open_ <= kMaxConnections) {
      idle_.push_back({connection, SteadyClock::now()});
    } else {
      Discard(*connection);
    }
    if (!exchange->ended_) {
      if (outcome.stale) {
        // Computing twice does no harm; failing for a connection that was closed while it was idle would.
        Assign(exchange);
      } else if (outcome.unconnected && exchange->wait_) {
        TryLater(exchange);
      } else {
        End(exchange, std::move(outcome.answer));
      }
    }
    Serve();
    Prune();
  }

  void TryLater(const Ref<RestExchange>& exchange) {
    exchange->pause_.emplace(io_, kConnectAgain);
    exchange->pause_->async_wait([self = shared_from_this(), exchange](error_code error) {
      if (!error && !exchange->ended_) self->Assign(exchange);
    });
  }

  /// Gives what is free to those that wait.
  void Serve() {
    while (!waiting_.empty() && (open_ < kMaxConnections || !idle_.empty())) {
      const Ref<RestExchange> next = std::move(waiting_.front());
      waiting_.pop_front();
      if (!next->ended_) Assign(next);
    }
  }

  void Prune() {
    const SteadyClock::time_point before = SteadyClock::now() - kMaxIdle;
    while (!idle_.empty() && idle_.front().since < before) {
      Discard(*idle_.front().connection);
      idle_.pop_front();
    }
  }

  void Discard(RestConnection& connection) {
    connection.Close();
    --open_;
  }

  void End(const Ref<RestExchange>& exchange, absl::StatusOr<ReceivedMessage> answer) {
    if (std::exchange(exchange->ended_, true)) return;
    if (exchange->deadline_.has_value()) exchange->deadline_->cancel();
    if (exchange->pause_.has_value()) exchange->pause_->cancel();
    // The server sees that nobody wants the answer.
    if (exchange->connection_ != nullptr) exchange->connection_->Close();
    std::exchange(exchange->done_, nullptr)(std::move(answer));
  }

  asio::io_context& io_;
  const std::shared_ptr<const RestServer> server_;
  /// Idle and in use.
  size_t open_ = 0;
  bool closed_ = false;
  /// The one that was used last is last.
  std::deque<Idle> idle_;
  std::deque<Ref<RestExchange>> waiting_;
};

void RestExchange::Start(absl::Duration timeout, bool wait) {
  wait_ = wait;
  asio::post(pool_->io(), [self = Ref<RestExchange>(this), timeout] { self->pool_->Begin(self, timeout); });
}

void RestExchange::Cancel() {
  asio::post(pool_->io(), [self = Ref<RestExchange>(this)] { self->pool_->Cancel(self); });
}

std::vector<asio::const_buffer> RestExchange::Buffers() const {
  std::vector<asio::const_buffer> buffers = {asio::buffer(head_)};
  const std::string& bytes = request_.body.bytes;
  size_t at = 0;
  for (const SplicedMessage::Splice& splice : request_.body.splices) {
    buffers.push_back(asio::buffer(bytes.data() + at, splice.at - at));
    buffers.push_back(asio::buffer(splice.tensor.bytes().data(), splice.tensor.bytes().size()));
    at = splice.at;
  }
  buffers.push_back(asio::buffer(bytes.data() + at, bytes.size() - at));
  return buffers;
}

/// Values that came from elsewhere must not end their line.
bool IsHeaderValue(absl::string_view value) {
  return absl::c_all_of(value, [](unsigned char c) { return c >= 0x20 && c != 0x7f; });
}

class RestWire final : public ForeignWire {
 public:
  RestWire(std::string address, std::shared_ptr<const RestServer> server, RestLoop& loop)
      : address_(std::move(address)), pool_(std::make_shared<RestPool>(loop.io(), std::move(server))) {}
  ~RestWire() override {
    asio::post(pool_->io(), [pool = pool_] { pool->Close(); });
  }

  Ref<ForeignExchange> NewExchange(ForeignRequest request, const ForeignHeaders& headers,
                                   ForeignExchange::Done done) override {
    std::string head = HeadFor(request, headers);
    return MakeRef<RestExchange>(pool_, std::move(request), std::move(head), std::move(done));
  }

 private:
  std::string HeadFor(const ForeignRequest& request, const ForeignHeaders& headers) const {
    uint64_t bytes = request.body.bytes.size();
    for (const SplicedMessage::Splice& splice : request.body.splices) bytes += splice.tensor.bytes().size();
    std::string head = absl::StrCat(bytes == 0 ? "GET " : "POST ", request.target, " HTTP/1.1\r\nHost: ", address_,
                                    "\r\nUser-Agent: portico\r\nAccept: */*\r\n");
    if (bytes != 0) {
      absl::StrAppend(&head,
                      "Content-Type: ", request.json_bytes == 0 ? "application/json" : "application/octet-stream",
                      "\r\nContent-Length: ", bytes, "\r\n");
    }
    if (request.json_bytes != 0) {
      absl::StrAppend(&head, "Inference-Header-Content-Length: ", request.json_bytes, "\r\n");
    }
    for (const auto& [name, value] : headers) {
      if (IsHeaderValue(value)) absl::StrAppend(&head, name, ": ", value, "\r\n");
    }
    return head + "\r\n";
  }

  const std::string address_;
  const std::shared_ptr<RestPool> pool_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ForeignWire>> NewForeignRestWire(const ForeignWireOptions& options, RestLoop& loop) {
  auto server = std::make_shared<RestServer>();
  const size_t colon = options.address.rfind(':');
  server->port = options.address.substr(colon + 1);
  absl::string_view host = absl::string_view(options.address).substr(0, colon);
  if (absl::ConsumePrefix(&host, "[")) absl::ConsumeSuffix(&host, "]");
  server->host = std::string(host);
  server->max_body_bytes = options.max_message_bytes;
  if (options.tls) {
    ASSIGN_OR_RETURN(server->tls,
                     NewTlsClientContext({options.root_certificates, options.own_certificate, options.own_key}));
  }
  return std::make_unique<RestWire>(options.address, std::move(server), loop);
}

}  // namespace portico
