#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/executor.h"
#include "base/metric.h"
#include "batcher/batcher.h"
#include "models/graph/graph_plan.h"
#include "models/graph/op.h"
#include "models/package/package.h"
#include "models/runtime/declared_axes.h"
#include "models/runtime/row_check.h"
#include "models/runtime/session.h"

namespace portico {

/// A step of ordinary ops: an ONNX Runtime session behind a batcher. Thread-safe.
class SegmentOp : public AsyncOp {
 public:
  struct Options {
    /// "digit:1/serving_default/segment_0", for messages and spans.
    std::string name;
    BatchingOptions batching;
    int intra_op_threads = 1;
    /// What the session runs by; empty: cpu.
    std::vector<ExecutionProvider> providers;
    /// Workers of the node: the upper limit of runs at once.
    int workers = 1;
    /// What servable.yaml declares of rows; nothing: found out by running.
    DeclaredRows declared;
    /// Of its metrics: model, version, signature, segment.
    MetricLabels labels;
    /// Told of its runs; not owned, must outlive the op. May be null.
    BatchObserver* observer = nullptr;
  };

  /// Makes the session and finds out which rows may be joined. References are not owned and must outlive the op.
  static absl::StatusOr<std::unique_ptr<SegmentOp>> Create(SegmentSpec spec, const Options& options, Executor& workers,
                                                           const Clock& clock, MetricRegistry& metrics);

  /// Whether requests' rows are joined in front of it, and why not where they are not.
  virtual const RowAxes& axes() const = 0;
  /// As Batcher::SetShares().
  virtual void SetShares(const Products::Shares& shares) = 0;
};

}  // namespace portico
