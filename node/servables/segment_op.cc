#include "node/servables/segment_op.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "batcher/batcher.h"

namespace portico {
namespace {

class BatchedSegment final : public SegmentOp {
 public:
  BatchedSegment(absl::string_view segment, std::unique_ptr<Session> session, RowAxes axes, const Options& options,
                 Executor& workers, const Clock& clock, MetricRegistry& metrics)
      : name_(options.name),
        session_(std::move(session)),
        axes_(std::move(axes)),
        batcher_(
            BatcherOptions(segment, options, axes_),
            [session = session_.get()](absl::Span<const Tensor> inputs) { return session->Run(inputs); }, workers,
            clock, metrics) {}

  void Run(const Ref<const RequestContext>& context, std::vector<Tensor> inputs, OpDone done) override {
    if (absl::Status status = CheckRows(inputs); !status.ok()) {
      done(std::move(status));
      return;
    }
    batcher_.Submit(context, std::move(inputs), std::move(done));
  }

  const RowAxes& axes() const override { return axes_; }
  void SetShares(const Products::Shares& shares) override { batcher_.SetShares(shares); }

 private:
  static Batcher::Options BatcherOptions(absl::string_view segment, const Options& options, const RowAxes& axes) {
    Batcher::Options result;
    result.name = options.name;
    result.labels = options.labels;
    result.span_name = absl::StrCat("segment ", segment);
    result.observer = options.observer;
    for (const AxisKind kind : axes.inputs) result.row_inputs.push_back(axes.joinable && kind == AxisKind::kRows);
    for (const RowAxes::Ragged& ragged : axes.ragged) {
      result.ragged.push_back({ragged.values, ragged.partition, ragged.kind});
    }
    result.row_outputs = axes.joinable;
    result.max_batch_rows = options.batching.max_batch_size;
    result.allowed_batch_rows = options.batching.allowed_batch_sizes;
    result.split_large_calls = options.batching.enable_large_batch_splitting;
    result.pad_inner = options.batching.pad_variable_length_inputs;
    result.adaptive = options.batching.adaptive;
    result.shares = options.batching.shares;
    result.max_queue_rows = options.batching.max_queue_rows;
    result.max_delay = absl::Microseconds(options.batching.max_delay_us);
    result.max_running =
        options.batching.max_running > 0 ? std::min(options.batching.max_running, options.workers) : options.workers;
    return result;
  }

  /// Tensors that came through a portal may disagree with those that did not.
  absl::Status CheckRows(absl::Span<const Tensor> inputs) const {
    if (!axes_.joinable) return absl::OkStatus();
    int64_t rows = -1;
    const auto refuse = [&](size_t input, absl::string_view got) {
      return absl::InvalidArgumentError(absl::StrCat("segment '", name_, "': input '", session_->inputs()[input].name,
                                                     "': got ", got, ", want ", rows,
                                                     " rows as its other inputs have"));
    };
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (axes_.inputs[i] != AxisKind::kRows) continue;
      const int64_t own = inputs[i].shape().empty() ? -1 : inputs[i].rows();
      if (rows == -1) rows = own;
      if (own != rows || own < 0) return refuse(i, absl::StrCat("shape ", ShapeString(inputs[i].shape())));
    }
    for (const RowAxes::Ragged& ragged : axes_.ragged) {
      const int64_t own = RowsOfPartition(ragged.kind, inputs[ragged.partition]);
      if (ragged.kind == RowPartition::kSegmentIds) continue;
      if (rows == -1) rows = own;
      if (own != rows || own < 0) return refuse(ragged.partition, absl::StrCat(own, " rows"));
    }
    return absl::OkStatus();
  }

  const std::string name_;
  const std::unique_ptr<Session> session_;
  const RowAxes axes_;
  Batcher batcher_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<SegmentOp>> SegmentOp::Create(SegmentSpec spec, const Options& options,
                                                             Executor& workers, const Clock& clock,
                                                             MetricRegistry& metrics) {
  Session::Options session_options;
  session_options.intra_op_threads = options.intra_op_threads;
  session_options.providers = options.providers;
  session_options.name = options.name;
  ASSIGN_OR_RETURN(std::unique_ptr<Session> session,
                   Session::Create(spec.model, std::move(spec.weights), session_options));
  RowAxes axes = SegmentRowAxes(*session, options.declared);
  return std::make_unique<BatchedSegment>(spec.name, std::move(session), std::move(axes), options, workers, clock,
                                          metrics);
}

}  // namespace portico
