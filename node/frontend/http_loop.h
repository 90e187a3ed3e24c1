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

/// The I/O thread of an HTTP server and what its connections share: which there are, the bytes of bodies they hold, the
/// requests in hand. A request meets it when it is counted, and where an answer that another thread has made goes back
/// to the I/O thread.
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

  HttpLoop(HttpServer::Options options, HttpServer::Handler handler);

  const HttpServer::Options& options() const { return options_; }
  const HttpServer::Handler& handler() const { return handler_; }
  boost::asio::io_context& io() { return io_; }
  /// Requests in hand.
  Gate& gate() { return gate_; }

  /// Makes this thread the I/O thread, until there is nothing left to do.
  void Run();
  bool OnThread() const { return std::this_thread::get_id() == thread_; }
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
    if (!ended_) options_.executor->Schedule(std::move(task));
  }
  /// Calls OnAnswered() on the I/O thread, which is woken once for all that come until it looks.
  void Answered(std::shared_ptr<Peer> peer);

  // On the I/O thread.
  void Add(std::shared_ptr<Peer> peer) { peers_.insert(std::move(peer)); }
  void Remove(const std::shared_ptr<Peer>& peer) { peers_.erase(peer); }
  size_t peers() const { return peers_.size(); }
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
  void CountBodies(uint64_t before, uint64_t now) { body_bytes_ += now - before; }
  bool bodies_full() const { return body_bytes_ > options_.max_total_body_bytes; }

 private:
  void TakeAnswered();

  const HttpServer::Options options_;
  const HttpServer::Handler handler_;
  boost::asio::io_context io_{1};
  boost::asio::steady_timer watch_timer_;
  bool watch_pending_ = false;
  absl::flat_hash_set<std::shared_ptr<Peer>> peers_;
  Gate gate_;
  uint64_t body_bytes_ = 0;
  std::atomic<bool> draining_{false};
  std::thread::id thread_;
  Mutex mutex_;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::shared_ptr<Peer>> answered_ ABSL_GUARDED_BY(mutex_);
  /// Empty but in TakeAnswered(): kept for its memory.
  std::vector<std::shared_ptr<Peer>> taken_;
};

}  // namespace portico
