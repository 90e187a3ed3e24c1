#include "node/frontend/http_loop.h"

#include "base/turn.h"

namespace portico {
namespace {

/// How long a request is with its handler before anybody looks whether its client is still there: a look costs a system
/// call, and most are answered sooner.
constexpr std::chrono::milliseconds kWatchAfter{10};

}  // namespace

HttpLoop::HttpLoop(std::shared_ptr<HttpShared> shared) : shared_(std::move(shared)), watch_timer_(io_) {}

void HttpLoop::Run() {
  // Other loops' threads hand over connections already, and ask.
  thread_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  Turn turn([this, &turn] { boost::asio::post(io_, [&turn] { turn.Finish(); }); });
  io_.run();
}

void HttpLoop::End() {
  {
    MutexLock lock(&mutex_);
    ended_ = true;
  }
  io_.restart();
  io_.poll();  // Replies that came in between: their writes fail at once.
}

void HttpLoop::Answered(std::shared_ptr<Peer> peer) {
  MutexLock lock(&mutex_);
  if (ended_) return;
  answered_.push_back(std::move(peer));
  if (answered_.size() == 1) boost::asio::post(io_, [this] { TakeAnswered(); });
}

void HttpLoop::TakeAnswered() {
  {
    MutexLock lock(&mutex_);
    taken_.swap(answered_);
  }
  for (const std::shared_ptr<Peer>& peer : taken_) peer->OnAnswered();
  taken_.clear();
}

void HttpLoop::WatchSoon() {
  if (std::exchange(watch_pending_, true)) return;
  watch_timer_.expires_after(kWatchAfter);
  watch_timer_.async_wait([this](boost::system::error_code error) {
    watch_pending_ = false;
    if (error) return;
    for (const std::shared_ptr<Peer>& peer : peers_) peer->Watch();
  });
}

}  // namespace portico
