#include "transport/stream_loop.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/check.h"
#include "base/turn.h"

namespace portico {
namespace {

// Bounds the harm of a clock that jumps.
constexpr int kMaxSleepMs = 1'000;
constexpr int kEventsAtOnce = 64;
// Rounds of work that no event told of, before the kernel is asked for events again.
constexpr int kUnaskedAtMost = 8;
// A few times what it costs the two sides to sleep and to wake (docs/decisions/0011): the other one may be at its next
// batch of calls.
constexpr std::chrono::microseconds kLinger{30};

}  // namespace

StreamLoop::StreamLoop(const Clock& clock, absl::Duration spin)
    : clock_(clock), epoll_(epoll_create1(EPOLL_CLOEXEC)), spin_(spin) {
  PORTICO_CHECK(epoll_ >= 0);
  epoll_event event{.events = EPOLLIN, .data = {.ptr = nullptr}};
  PORTICO_CHECK(epoll_ctl(epoll_, EPOLL_CTL_ADD, inbox_.fd(), &event) == 0);
  thread_ = std::thread([this] { Run(); });
  pthread_setname_np(thread_.native_handle(), "stream-loop");
}

StreamLoop::~StreamLoop() {
  Post([this] { stopping_ = true; });
  thread_.join();
  DrainDirty();
  PORTICO_CHECK(timed_.empty());
  close(epoll_);
}

void StreamLoop::Watch(int fd, uint32_t events, Source& source) {
  epoll_event event{.events = events, .data = {.ptr = &source}};
  PORTICO_CHECK(epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0);
}

void StreamLoop::Rewatch(int fd, uint32_t events, Source& source) {
  epoll_event event{.events = events, .data = {.ptr = &source}};
  PORTICO_CHECK(epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event) == 0);
}

void StreamLoop::Drop(int fd, Ref<Source> source) {
  epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
  dropped_.push_back(std::move(source));
}

void StreamLoop::AddTimed(Ref<Source> source) { timed_.push_back(std::move(source)); }

void StreamLoop::RemoveTimed(Source& source) {
  // Its place goes at the end of the round, for RunDue() may be under way.
  for (Ref<Source>& timed : timed_) {
    if (timed.get() != &source) continue;
    dropped_.push_back(std::move(timed));
    timed = nullptr;
  }
}

void StreamLoop::Poll(Source& source) {
  if (std::exchange(source.polled_, true)) return;
  polled_.push_back(Ref<Source>(&source));
}

void StreamLoop::Unpoll(Source& source) {
  if (!std::exchange(source.polled_, false)) return;
  // Its place goes later, for RunPolled() may be under way.
  for (Ref<Source>& polled : polled_) {
    if (polled.get() != &source) continue;
    dropped_.push_back(std::move(polled));
    polled = nullptr;
  }
}

bool StreamLoop::AnyStirs() const {
  for (const Ref<Source>& polled : polled_) {
    if (polled && polled->Stirs()) return true;
  }
  return false;
}

void StreamLoop::RunPolled() {
  // By index: what is done may add sources.
  for (size_t i = 0; i < polled_.size(); ++i) {
    if (const Ref<Source> source = polled_[i]; source && source->Stirs()) source->OnStir();
  }
}

bool StreamLoop::StirsSoon() {
  if (!std::exchange(lingers_, false) || polled_.empty()) return false;
  const auto until = std::chrono::steady_clock::now() + kLinger;
  do {
    if (AnyStirs()) return true;
  } while (std::chrono::steady_clock::now() < until);
  return false;
}

bool StreamLoop::RestPolled() {
  std::erase_if(polled_, [](const Ref<Source>& polled) {
    if (polled && !polled->Rest()) return false;
    if (polled) polled->polled_ = false;
    return true;
  });
  return polled_.empty();
}

void StreamLoop::MarkDirty(Source& source) {
  if (source.dirty_.exchange(true)) return;
  source.kept_ = Ref<Source>(&source);
  Source* head = dirty_.load(std::memory_order_relaxed);
  do {
    source.next_dirty_ = head;
  } while (!dirty_.compare_exchange_weak(head, &source));
}

void StreamLoop::DrainDirty() {
  if (dirty_.load() == nullptr) return;
  Source* next = dirty_.exchange(nullptr);
  while (next != nullptr) {
    const Ref<Source> source = std::move(next->kept_);
    next = source->next_dirty_;
    // Before the look at what is queued: who queues something later marks it again.
    source->dirty_.store(false);
    source->OnDirty();
  }
}

int StreamLoop::SleepMs() const {
  if (inbox_.has_tasks() || dirty_.load() != nullptr) return 0;
  int64_t due = kNever;
  for (const Ref<Source>& timed : timed_) due = std::min(due, timed->due_ns());
  if (due == kNever) return kMaxSleepMs;
  const int64_t left_ns = due - absl::ToUnixNanos(clock_.Now());
  // Rounded up: to wake before the time would be to wake twice.
  return left_ns <= 0 ? 0 : static_cast<int>(std::min<int64_t>(left_ns / 1'000'000 + 1, kMaxSleepMs));
}

int StreamLoop::Wait(epoll_event* events) {
  const bool stirs = AnyStirs();
  if (stirs && ++rounds_unasked_ < kUnaskedAtMost) return 0;
  rounds_unasked_ = 0;
  const int timeout_ms = stirs ? 0 : SleepMs();
  if (timeout_ms > 0) {
    // As if asleep: who has something to say meanwhile writes by itself.
    for (Spin::Turn turn(spin_); turn.Goes();) {
      if (const int count = epoll_wait(epoll_, events, kEventsAtOnce, 0); count != 0) return count;
      if (AnyStirs()) return 0;
    }
    if (StirsSoon() || !RestPolled()) return 0;
  }
  return epoll_wait(epoll_, events, kEventsAtOnce, timeout_ms);
}

void StreamLoop::Run() {
  epoll_event events[kEventsAtOnce];
  Turn turn;
  while (!stopping_) {
    // From here on, who adds work tells us or does it; what was added before, SleepMs() sees.
    inbox_.FallAsleep();
    const int count = Wait(events);
    inbox_.AwakeAgain();
    for (int i = 0; i < count; ++i) {
      if (events[i].data.ptr == nullptr) {
        inbox_.ClearSignal();
        continue;
      }
      static_cast<Source*>(events[i].data.ptr)->OnReady(events[i].events);
    }
    RunPolled();
    inbox_.RunTasks();
    RunDue();
    // Short runs of what came in this round; their answers leave below, together.
    turn.Finish();
    DrainDirty();
    std::erase_if(timed_, [](const Ref<Source>& timed) { return !timed; });
    dropped_.clear();
  }
}

void StreamLoop::RunDue() {
  if (timed_.empty()) return;
  const absl::Time now = clock_.Now();
  const int64_t now_ns = absl::ToUnixNanos(now);
  // By index: a callback may add sources.
  for (size_t i = 0; i < timed_.size(); ++i) {
    const Ref<Source> source = timed_[i];
    if (source && source->due_ns() <= now_ns) source->OnDue(now);
  }
}

}  // namespace portico
