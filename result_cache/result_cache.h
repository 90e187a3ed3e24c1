#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/executor.h"
#include "base/metric.h"
#include "base/request_context.h"
#include "base/tensor.h"
#include "base/timer.h"
#include "result_cache/answer_store.h"
#include "result_cache/row_digests.h"
#include "result_cache/row_flights.h"
#include "result_cache/wait_deadlines.h"

namespace portico {

/// Stands in front of one signature: answers rows that it has seen from memory, has those that it has not run, once
/// however many calls ask for them, and puts the outputs together in the call's order.
///
/// A call whose rows are all there is answered inside Run(). Of another call the rows that miss are gathered with one
/// copy and run as one call of the function; a call of which nothing is there passes through as it is. Rows that
/// another call is computing are waited for, without a thread; its own deadline and cancellation end the wait. Where
/// the one that computes fails, nobody else fails for that: those that wait compute their rows themselves, or, where it
/// ran out of time, was cancelled or refused for overload, one of them does for the others. Nobody waits for a call of
/// a lower priority, of another product, or of far more rows.
///
/// Kept is what was answered without an error, a fallback or a row note. Inputs of more than kInlineBytes or
/// kInlineRows are hashed on a worker. Calls without rows or with more than RowDigests::kMaxRows, and outputs that
/// cannot be taken apart, pass through.
///
/// Thread-safe. Outlives its calls: whoever calls keeps it until `done` has been called, and it is not used after that.
class ResultCache {
 public:
  /// Runs exactly once.
  using Done = absl::AnyInvocable<void(absl::StatusOr<std::vector<Tensor>>)>;
  using Function = std::function<void(Ref<const RequestContext>, std::vector<Tensor>, Done)>;

  static constexpr size_t kInlineBytes = 64 << 10;
  static constexpr int64_t kInlineRows = 64;
  /// How often a row is waited for whose leader leaves, before it is run anyway.
  static constexpr int kMaxWaits = 3;

  struct Options {
    /// What the function is, exactly.
    Digest model;
    std::string signature;
    /// Per input whether dim 0 counts rows; one does.
    std::vector<bool> row_inputs;
    /// Rows that one run of the function holds: a call waits for rows of another that has no more of them.
    size_t batch_rows = 64;
    /// Of each call that was looked for: whether all of its rows were there, and how long hashing and looking took.
    /// Must not block; may be null.
    std::function<void(bool all, absl::Duration took)> on_looked = nullptr;
    /// Of its metrics: model, version, signature.
    MetricLabels labels;
    /// Of those of the store: model, version.
    MetricLabels store_labels;
  };

  /// `store` may be shared with other signatures. The other references are not owned and must outlive it.
  ResultCache(Options options, std::shared_ptr<AnswerStore> store, Function function, Executor& workers, Timer& timer,
              const Clock& clock, MetricRegistry& metrics);
  ~ResultCache();
  ResultCache(const ResultCache&) = delete;
  ResultCache& operator=(const ResultCache&) = delete;

  /// Never blocks. `done` runs once, inside the call or on whichever thread had the last row.
  void Run(Ref<const RequestContext> context, std::vector<Tensor> inputs, Done done);

 private:
  class Call;

  /// Tells the metrics of the store how it is.
  void ShowStore();

  const RowDigests digests_;
  const std::shared_ptr<AnswerStore> store_;
  const Function function_;
  const std::function<void(bool all, absl::Duration took)> on_looked_;
  Executor& workers_;
  const Clock& clock_;
  /// Whose dim 0 is the rows of calls that pass.
  const size_t first_row_input_;
  RowFlights flights_;
  WaitDeadlines deadlines_;
  Counter& hits_;
  Counter& misses_;
  Counter& coalesced_;
  Counter& passed_;
  Counter& evictions_;
  Gauge& bytes_;
  std::atomic<uint64_t> shown_bytes_{0};
};

}  // namespace portico
