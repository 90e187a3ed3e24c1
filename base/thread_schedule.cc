#include "base/thread_schedule.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <ctime>

namespace portico {
namespace {

/// sched_attr of sched_setattr(2), first version; glibc 2.36 has none, and the kernel's header clashes with sched.h.
struct SchedAttributes {
  uint32_t size = sizeof(SchedAttributes);
  uint32_t policy = 0;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime_ns = 0;
  uint64_t deadline_ns = 0;
  uint64_t period_ns = 0;
};
static_assert(sizeof(SchedAttributes) == 48);

void AskForSlices(absl::Duration slice) {
  SchedAttributes attributes;
  if (syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0) != 0) return;
  // Realtime and batch threads are as somebody wanted them.
  if (attributes.policy != 0) return;
  attributes.size = sizeof(attributes);
  attributes.runtime_ns = static_cast<uint64_t>(absl::ToInt64Nanoseconds(slice));
  [[maybe_unused]] const long unknown = syscall(SYS_sched_setattr, 0, &attributes, 0);
}

// Who gets less of a core than this has to wait for it anyhow: yielding would only starve it.
constexpr double kLeastShare = 0.2;
constexpr double kWindowSeconds = 0.05;

double Seconds(clockid_t clock) {
  timespec time = {};
  clock_gettime(clock, &time);  // Safe in a signal handler.
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

/// What a thread had of its core in the last window. Touched by its own signal handler alone, once it is set.
struct Share {
  double wall = 0, used = 0;
  bool yields = true;
};
thread_local Share share;

void OnTimer(int) {
  const double wall = Seconds(CLOCK_MONOTONIC);
  if (wall - share.wall > kWindowSeconds) {
    const double used = Seconds(CLOCK_THREAD_CPUTIME_ID);
    share = {wall, used, used - share.used > kLeastShare * (wall - share.wall)};
  }
  if (share.yields) sched_yield();
}

}  // namespace

void AskForShortSlices(absl::Duration slice) { AskForSlices(slice); }

void YieldToServing(int nice) {
  setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), nice);
  AskForSlices(absl::ZeroDuration());
}

YieldOften::YieldOften() {
  static const bool handled = [] {
    struct sigaction action = {};
    if (sigaction(SIGURG, nullptr, &action) != 0 || action.sa_handler != SIG_DFL) return false;  // Somebody else's.
    action.sa_handler = OnTimer;
    action.sa_flags = SA_RESTART;
    return sigaction(SIGURG, &action, nullptr) == 0;
  }();
  if (!handled) return;
  share = {Seconds(CLOCK_MONOTONIC), Seconds(CLOCK_THREAD_CPUTIME_ID), true};
  sigevent event = {};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = SIGURG;
  event._sigev_un._tid = static_cast<pid_t>(syscall(SYS_gettid));
  if (timer_create(CLOCK_MONOTONIC, &event, &timer_) != 0) return;
  armed_ = true;
  itimerspec every = {};
  every.it_interval.tv_nsec = every.it_value.tv_nsec = 300'000;
  timer_settime(timer_, 0, &every, nullptr);
}

YieldOften::~YieldOften() {
  if (armed_) timer_delete(timer_);
}

}  // namespace portico
