#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/metric.h"
#include "base/tensor.h"
#include "batcher/batcher.h"
#include "batcher/rows.h"
#include "batcher/waiting_call.h"

namespace portico {

/// What happens to calls that a batcher has taken from its queue: their rows are joined and padded, the function runs
/// once over them, and its outputs are taken apart; where that fails, the calls run one by one. Metrics, the observer
/// and traces are told. On the worker that took them; thread-safe, without a lock.
class BatchRunner {
 public:
  using Result = absl::StatusOr<std::vector<Tensor>>;

  /// References are not owned and must outlive it.
  BatchRunner(const Batcher::Options& options, const JoinRule& rule, Batcher::Function function, const Clock& clock,
              MetricRegistry& metrics);

  /// One result for each call. REQUIRES: the calls can be joined, and have `rows` rows together.
  std::vector<Result> Run(const std::vector<WaitingCall>& calls, int64_t rows) const;
  /// Completes a call that was cancelled, or whose deadline passed, before it could run.
  void CompleteDead(WaitingCall& call) const;

 private:
  void RunJoined(const std::vector<WaitingCall>& calls, int64_t rows, std::vector<Result>& results) const;
  /// One call by itself.
  Result RunAlone(const WaitingCall& call) const;
  int64_t PaddingFor(int64_t rows) const;

  const Batcher::Options& options_;
  const JoinRule& rule_;
  const Batcher::Function function_;
  const Clock& clock_;
  Histogram& rows_metric_;
  Histogram& queue_seconds_metric_;
  Histogram& run_seconds_metric_;
  Counter& expired_metric_;
};

}  // namespace portico
