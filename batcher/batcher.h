#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/clock.h"
#include "base/executor.h"
#include "base/metric.h"
#include "base/request_context.h"
#include "base/row_partition.h"
#include "base/tensor.h"
#include "base/timer.h"
#include "batcher/products.h"

namespace portico {

/// Is told of every run of a batcher, on the worker that ran it. Thread-safe; returns fast.
class BatchObserver {
 public:
  struct Run {
    int64_t rows = 0;
    int64_t calls = 0;
    /// Sum of the times that the calls waited.
    absl::Duration queued;
    /// From its inputs to its outputs, joining and scattering included.
    absl::Duration time;
  };
  virtual void OnRun(const Run& run) = 0;

 protected:
  ~BatchObserver() = default;
};

/// Two inputs of a function that are one ragged tensor: its values, and what says where its rows begin and end. Several
/// values may go by one partition.
struct RaggedInput {
  size_t values = 0;
  size_t partition = 0;
  RowPartition kind = RowPartition::kRowSplits;
};

/// Rows of many requests around one function over batches. Stands in front of a segment: gathers the rows of all
/// waiting requests (of all callers, all products), runs once, scatters the results.
///
/// A run starts as soon as a worker is free: the first waiting call schedules a run on the executor, and everything
/// that is there when the run begins goes with it, up to max_batch_rows. Batches grow while workers are busy, and only
/// then (or for max_delay where set). Calls join when the inner shapes of their `rows` inputs agree (or are padded) and
/// their shared inputs are equal. A call alone is passed on without a copy; a joined batch is gathered with exactly
/// one. When a joined run fails, its calls are run one by one, so that one caller's bad rows fail nobody else.
///
/// Runs that are known to be short (30 µs by what rows have taken) stay on a thread that has turns (base/turn.h): it
/// runs what it has submitted at the end of its round, and completes it. They go to a worker after all where more has
/// gathered meanwhile, or where another thread submits and finds that round 200 µs old.
///
/// Of what waits for one product, the call of the highest priority goes first; each step of it is worth
/// WaitingCalls::kHeadStart. Where more waits than a run holds, the rows of several products (RequestContext::product)
/// go in proportion to their shares; a product takes what others leave.
///
/// Dropped before they run: calls whose deadline has passed (DEADLINE_EXCEEDED; they leave the queue some 5 ms later,
/// wherever they stand in it) and, as soon as that is known, those that are cancelled (CANCELLED). The next free worker
/// completes them.
/// Refused at once: calls beyond max_queue_rows (RESOURCE_EXHAUSTED, naming the queue, its limit and its fill), unless
/// others fill it and the call's product has less there than its share.
/// When the executor drops a scheduled run, what waits for it fails with UNAVAILABLE.
///
/// Thread-safe. The destructor waits until nothing is queued or running; `done`s may still be under way then, and use
/// nothing of the batcher. It may run inside a `done`.
class Batcher {
 public:
  using Done = absl::AnyInvocable<void(absl::StatusOr<std::vector<Tensor>>)>;
  /// Called on a worker or at the end of a turn, possibly on several threads at once. Output dim 0 = rows where outputs
  /// count rows.
  using Function = absl::AnyInvocable<absl::StatusOr<std::vector<Tensor>>(absl::Span<const Tensor>) const>;

  struct Options {
    /// "digit:1/segment_0": for messages.
    std::string name;
    /// Of its metrics. Empty: {"queue", name}.
    MetricLabels labels;
    /// Of the span around the queue and the batch of a call that is traced.
    std::string span_name = "segment";
    /// Not owned, must outlive the batcher. Null: nobody.
    BatchObserver* observer = nullptr;
    /// Per input: whether dim 0 counts rows. All false: nothing is ever joined.
    std::vector<bool> row_inputs;
    /// Inputs that are ragged: values are joined one after the other, and what divides them goes on counting where the
    /// call before ended. Calls whose partitions are wrong are not joined.
    std::vector<RaggedInput> ragged;
    /// Whether every output's dim 0 counts rows. False: nothing is ever joined.
    bool row_outputs = false;
    /// Rows a joined run may hold; a call with more runs alone. 1: nothing is joined.
    int64_t max_batch_rows = 64;
    /// Rows that runs are padded to where rows may be joined: the least of these that holds them, rising. The last one
    /// limits joined runs, too. Padding rows repeat the first row, and are cut off the outputs. Empty: no padding.
    std::vector<int64_t> allowed_batch_rows;
    /// A call with more rows than a joined run may hold is run in pieces, and their outputs are joined.
    bool split_large_calls = false;
    /// Calls whose rows differ in inner extents join: the shorter ones are padded with their tensor's first element.
    /// Outputs are as the function gives them for what is padded.
    bool pad_inner = false;
    /// Learns how many rows a run should hold (BatchSizeLearner), up to max_batch_rows.
    bool adaptive = false;
    /// Rows that may wait; a call without rows counts as one. A call with more is let in when nothing waits. A product
    /// that has less than its share of them, or nothing at all, is let in beyond that, up to twice as many together.
    int64_t max_queue_rows = 16384;
    /// Of products that have not 1; see SetShares().
    Products::Shares shares;
    /// How long an underfull batch may wait for more. 0: not at all.
    absl::Duration max_delay = absl::ZeroDuration();
    /// Runs at the same time; at least 1.
    int max_running = 1;
    /// Ends the delays and finds late calls; goes by the batcher's clock. Not owned, must outlive the batcher. Null:
    /// Timer::Real().
    Timer* timer = nullptr;
  };

  /// `executor`, `clock` and `metrics` are not owned and must outlive the batcher.
  Batcher(Options options, Function function, Executor& executor, const Clock& clock, MetricRegistry& metrics);
  ~Batcher();
  Batcher(const Batcher&) = delete;
  Batcher& operator=(const Batcher&) = delete;

  /// Never blocks. `done` runs once, on a worker, at the end of a turn, or inside the call when refused. REQUIRES: as
  /// many inputs as row_inputs, those that count rows of rank ≥ 1 and with one number of rows.
  void Submit(Ref<const RequestContext> context, std::vector<Tensor> inputs, Done done);
  /// What products get beside each other from the next run on; those that are not named have 1.
  void SetShares(const Products::Shares& shares);

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace portico
