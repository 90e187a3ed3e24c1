#pragma once

#include <cstdint>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "bench/latency_histogram.h"

namespace portico::bench {

/// What a load generator goes by; a test's fake neither sleeps nor waits.
class LoadTime {
 public:
  virtual ~LoadTime() = default;
  virtual absl::Time Now() = 0;
  virtual void Sleep(absl::Duration duration) = 0;
  static LoadTime& Real();
};

/// An open loop: calls leave at times that were drawn beforehand, whether or not earlier ones have been answered, and a
/// call's latency counts from the time it was meant to leave. So a server that stalls is seen to stall.
struct OpenLoad {
  /// On average; gaps are exponentially distributed (Poisson arrivals), the same in every run with the same seed.
  double calls_per_second = 1000;
  absl::Duration duration = absl::Seconds(1);
  /// Calls that may be unanswered at once; what would be one more waits, and that wait counts.
  int64_t max_unanswered = 4096;
  uint64_t seed = 1;
  /// Not owned, must outlive every answer.
  LoadTime* time = &LoadTime::Real();
};

struct LoadResult {
  int64_t sent = 0;
  int64_t failed = 0;
  /// Of calls that succeeded.
  LatencyHistogram latency;
};

/// Sends by calling `send` on the calling thread; it starts a call, returns at once and calls its argument when the
/// answer has come, from any thread. Goes on until `duration` has passed (or `stop` says so), then waits for the
/// answers. The thread gets real-time priority where that is permitted: clients are meant to be elsewhere.
using SendCall = absl::FunctionRef<void(absl::AnyInvocable<void(const absl::Status&)> done)>;
void GenerateLoad(const OpenLoad& load, SendCall send, absl::FunctionRef<bool()> stop, LoadResult* result);
void GenerateLoad(const OpenLoad& load, SendCall send, LoadResult* result);

}  // namespace portico::bench
