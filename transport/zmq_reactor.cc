#include "transport/zmq_reactor.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "base/check.h"

namespace portico {
namespace {

// Bounds the harm of a clock that jumps.
constexpr int kMaxSleepMs = 1'000;
constexpr int kEventsAtOnce = 64;
// Fewer: more messages through libzmq; more: the two sides take turns instead of working at the same time.
constexpr uint32_t kHandledPerSend = 16;

}  // namespace

void ZmqEndpoint::Kick() {
  pending_.store(true);
  if (!reactor_.asleep()) return;
  // Whoever holds the lock looks for pending work again after releasing it, so nothing is left behind when it is taken.
  while (pending_.load() && socket_mutex_.TryLock()) {
    pending_.store(false);
    SendQueued();
    // Sending may have used up the signal that a message has come in.
    const bool readable = socket_.Readable();
    socket_mutex_.Unlock();
    if (readable) Nudge();
    if (readable) return;
  }
}

void ZmqEndpoint::SendEarly() {
  if (++handled_ % kHandledPerSend != 0) return;
  MutexLock lock(&socket_mutex_);
  SendQueued();
}

void ZmqEndpoint::Nudge() {
  pending_.store(true);
  reactor_.Wake();
}

bool ZmqEndpoint::MoveDue(int64_t at_ns) {
  int64_t due = due_ns_.load(std::memory_order_relaxed);
  while (at_ns < due) {
    if (due_ns_.compare_exchange_weak(due, at_ns)) return true;
  }
  return false;
}

ZmqReactor::ZmqReactor(const Clock& clock) : clock_(clock), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  PORTICO_CHECK(epoll_ >= 0);
  epoll_event event{.events = EPOLLIN, .data = {.ptr = nullptr}};
  PORTICO_CHECK(epoll_ctl(epoll_, EPOLL_CTL_ADD, inbox_.fd(), &event) == 0);
  thread_ = std::thread([this] { Run(); });
  pthread_setname_np(thread_.native_handle(), "zmq-reactor");
}

ZmqReactor::~ZmqReactor() {
  Post([this] { stopping_ = true; });
  thread_.join();
  PORTICO_CHECK(entries_.empty());
  close(epoll_);
}

void ZmqReactor::Add(Ref<ZmqEndpoint> endpoint, absl::Span<const int> fds) {
  for (const int fd : fds) {
    epoll_event event{.events = EPOLLIN, .data = {.ptr = endpoint.get()}};
    PORTICO_CHECK(epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0);
  }
  entries_.push_back({std::move(endpoint), true});
}

void ZmqReactor::Remove(ZmqEndpoint& endpoint, absl::Span<const int> fds) {
  for (const int fd : fds) epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
  for (Entry& entry : entries_) {
    if (entry.endpoint.get() == &endpoint) entry.endpoint = nullptr;
  }
}

void ZmqReactor::Run() {
  while (!stopping_) {
    Sleep();
    inbox_.RunTasks();
    PumpEndpoints();
  }
}

int ZmqReactor::SleepMs() const {
  if (inbox_.has_tasks()) return 0;
  int64_t due = std::numeric_limits<int64_t>::max();
  for (const Entry& entry : entries_) {
    if (entry.endpoint->pending()) return 0;
    due = std::min(due, entry.endpoint->due_ns());
  }
  if (due == std::numeric_limits<int64_t>::max()) return kMaxSleepMs;
  const int64_t left_ns = due - absl::ToUnixNanos(clock_.Now());
  // Rounded up: to wake before the time would be to wake twice.
  return left_ns <= 0 ? 0 : static_cast<int>(std::min<int64_t>(left_ns / 1'000'000 + 1, kMaxSleepMs));
}

void ZmqReactor::Sleep() {
  // From here on, who adds work tells us or does it; what was added before, SleepMs() sees.
  inbox_.FallAsleep();
  const int timeout_ms = SleepMs();
  epoll_event events[kEventsAtOnce];
  const int count = epoll_wait(epoll_, events, kEventsAtOnce, timeout_ms);
  inbox_.AwakeAgain();
  for (int i = 0; i < count; ++i) {
    const void* endpoint = events[i].data.ptr;
    if (endpoint == nullptr) {
      inbox_.ClearSignal();
      continue;
    }
    for (Entry& entry : entries_) {
      if (entry.endpoint.get() == endpoint) entry.ready = true;
    }
  }
}

void ZmqReactor::PumpEndpoints() {
  const absl::Time now = clock_.Now();
  const int64_t now_ns = absl::ToUnixNanos(now);
  // By index: an endpoint's callbacks may add endpoints, and may remove any.
  for (size_t i = 0; i < entries_.size(); ++i) {
    const Ref<ZmqEndpoint> endpoint = entries_[i].endpoint;
    if (!endpoint || !(entries_[i].ready || endpoint->pending() || endpoint->due_ns() <= now_ns)) continue;
    entries_[i].ready = false;
    endpoint->Pump(now);
  }
  std::erase_if(entries_, [](const Entry& entry) { return !entry.endpoint; });
}

}  // namespace portico
