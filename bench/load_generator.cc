#include "bench/load_generator.h"

#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>

#include <atomic>
#include <cmath>
#include <random>

#include "absl/time/clock.h"

namespace portico::bench {
namespace {

class RealTime final : public LoadTime {
 public:
  absl::Time Now() override { return absl::Now(); }
  void Sleep(absl::Duration duration) override { absl::SleepFor(duration); }
};

}  // namespace

LoadTime& LoadTime::Real() {
  static RealTime time;
  return time;
}

void GenerateLoad(const OpenLoad& load, SendCall send, absl::FunctionRef<bool()> stop, LoadResult* result) {
  // The kernel rounds a sleep up by 50 µs unless it is told otherwise.
  prctl(PR_SET_TIMERSLACK, 1000);
  // A client on another machine would not wait for a core of this one. (Where that is not permitted, it does.)
  sched_param realtime{};
  realtime.sched_priority = 1;
  pthread_setschedparam(pthread_self(), SCHED_RR, &realtime);
  std::mt19937_64 random(load.seed);
  std::exponential_distribution<double> gap(load.calls_per_second);
  std::atomic<int64_t> unanswered{0};
  std::atomic<int64_t> failed{0};
  LoadTime& time = *load.time;
  const absl::Time start = time.Now();
  absl::Time intended = start;
  while (true) {
    intended += absl::Seconds(gap(random));
    if (intended - start > load.duration || stop()) break;
    if (const absl::Duration early = intended - time.Now(); early > absl::ZeroDuration()) time.Sleep(early);
    while (unanswered.load(std::memory_order_acquire) >= load.max_unanswered) time.Sleep(absl::Microseconds(100));
    unanswered.fetch_add(1, std::memory_order_relaxed);
    ++result->sent;
    send([&unanswered, &failed, &time, result, intended](const absl::Status& status) {
      if (status.ok()) {
        result->latency.Add(time.Now() - intended);
      } else {
        failed.fetch_add(1, std::memory_order_relaxed);
      }
      unanswered.fetch_sub(1, std::memory_order_release);
    });
  }
  while (unanswered.load(std::memory_order_acquire) > 0) time.Sleep(absl::Milliseconds(1));
  result->failed += failed.load(std::memory_order_relaxed);
}

void GenerateLoad(const OpenLoad& load, SendCall send, LoadResult* result) {
  GenerateLoad(
      load, send, [] { return false; }, result);
}

}  // namespace portico::bench
