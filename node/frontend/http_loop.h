#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "base/gate.h"
#include "base/mutex.h"
#include "node/frontend/http_server.h"

namespace portico {

/// What all I/O threads of an HTTP server share: how it is set, whom it asks, and what its connections hold together.
struct HttpShared {
  HttpServer::Options options;
  HttpServer::Handler handler;
  std::atomic<uint64_t> body_bytes{0};
  std::atomic<uint32_t> connections{0};
};

/// An I/O thread of an HTTP server and what its connections share: which there are, the requests in hand. A request
/// meets it when it is counted, and where an answer that another thread has made goes back to the I/O thread.
///
/// Threads: the I/O thread is the one that Run()s; only Post(), Offload(), Answered(), OnThread(), draining() and
/// gate() are for others. Kept alive by its connections: an answer may come long after the server has gone.
class HttpLoop {
 public:
  using SteadyTime = std::chrono::steady_clock::time_point;

  /// A connection as the loop holds it, whatever it runs over. On the I/O thread.
  class Peer {
   public:
    virtual ~Peer() = default;
    /// Nothing of a request has come, or none of it will be answered.
    virtual bool idle() const = 0;
    /// Waits for its client for longer than it may; never true while the handler has the request.
    virtual bool Stuck(SteadyTime now) const = 0;
    virtual void Close() = 0;
    /// Another thread has made the answer and sent what the socket took of it.
    virtual void OnAnswered() = 0;
    /// Sees from now on whether the client goes, where its request is with the handler.
    virtual void Watch() = 0;
  };

  explicit HttpLoop(std::shared_ptr<HttpShared> shared);

  const HttpServer::Options& options() const { return shared_->options; }
  const HttpServer::Handler& handler() const { return shared_->handler; }
  boost::asio::io_context& io() { return io_; }
  /// Requests in hand.
  Gate& gate() { return gate_; }

  /// Makes this thread the I/O thread, until there is nothing left to do.
  void Run();
  bool OnThread() const { return std::this_thread::get_id() == thread_.load(std::memory_order_relaxed); }
  /// Once Run() has returned: drops what is posted from then on, and does what came in between.
  void End();

  /// Answers end their connections from now on.
  void Drain() { draining_ = true; }
  bool draining() const { return draining_; }

  /// Runs `task` on the I/O thread; drops it when the loop has ended.
  template <typename Task>
  void Post(Task task) {
    MutexLock lock(&mutex_);
    if (!ended_) boost::asio::post(io_, std::move(task));
  }
  /// Runs `task` on the executor, which may be gone once the loop has ended: then drops it.
  template <typename Task>
  void Offload(Task task) {
    MutexLock lock(&mutex_);
    if (!ended_) options().executor->Schedule(std::move(task));
  }
  /// Calls OnAnswered() on the I/O thread, which is woken once for all that come until it looks.
  void Answered(std::shared_ptr<Peer> peer);

  // On the I/O thread.
  void Add(std::shared_ptr<Peer> peer) { peers_.insert(std::move(peer)); }
  void Remove(const std::shared_ptr<Peer>& peer) {
    if (peers_.erase(peer) > 0) shared_->connections.fetch_sub(1, std::memory_order_relaxed);
  }
  template <typename Condition>
  void CloseWhere(Condition condition) {
    std::vector<std::shared_ptr<Peer>> chosen;
    for (const auto& peer : peers_) {
      if (condition(*peer)) chosen.push_back(peer);
    }
    for (const auto& peer : chosen) peer->Close();
  }
  /// In a while, Watch() of all that are with the handler then.
  void WatchSoon();
  void CancelWatch() { watch_timer_.cancel(); }
  /// A connection that held `before` bytes of bodies holds `now`.
  void CountBodies(uint64_t before, uint64_t now) {
    if (now != before) shared_->body_bytes.fetch_add(now - before, std::memory_order_relaxed);
  }
  bool bodies_full() const {
    return shared_->body_bytes.load(std::memory_order_relaxed) > options().max_total_body_bytes;
  }

 private:
  void TakeAnswered();

  const std::shared_ptr<HttpShared> shared_;
  boost::asio::io_context io_{1};
  boost::asio::steady_timer watch_timer_;
  bool watch_pending_ = false;
  absl::flat_hash_set<std::shared_ptr<Peer>> peers_;
  Gate gate_;
  std::atomic<bool> draining_{false};
  std::atomic<std::thread::id> thread_{};
  Mutex mutex_;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::shared_ptr<Peer>> answered_ ABSL_GUARDED_BY(mutex_);
  /// Empty but in TakeAnswered(): kept for its memory.
  std::vector<std::shared_ptr<Peer>> taken_;
};

}  // namespace portico
