#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/tensor.h"
#include "models/compose/member.h"
#include "models/runtime/session.h"

namespace portico {

/// One stage of a cascade run in this process, whole, by the calling thread: what its node would compute, without a
/// mesh around it. Names are the composition's. For one thread.
class StageRunner {
 public:
  /// `stage` was bound with its package. FAILED_PRECONDITION for a model with portals, which this process cannot
  /// answer.
  static absl::StatusOr<std::unique_ptr<StageRunner>> Create(BoundMember stage);

  const BoundMember& stage() const { return stage_; }

  /// What the stage answers to the inputs it takes of `tensors`, where there may be others; in the order of its
  /// outputs. INVALID_ARGUMENT that names the model and the input where one is missing or does not fit.
  absl::StatusOr<std::vector<Tensor>> Run(absl::Span<const NamedTensor> tensors);

  /// The median CPU time of runs over `tensors`, after one that is not counted: at least five runs, and for `time`.
  absl::StatusOr<absl::Duration> MeasureCpu(absl::Span<const NamedTensor> tensors, absl::Duration time);

 private:
  explicit StageRunner(BoundMember stage) : stage_(std::move(stage)) {}
  absl::StatusOr<std::vector<Tensor>> Inputs(absl::Span<const NamedTensor> tensors) const;

  const BoundMember stage_;
  std::unique_ptr<Session> session_;
  /// Of the session's outputs, those of the stage, in its order; the same of inputs, in the session's.
  std::vector<size_t> outputs_;
  std::vector<size_t> inputs_;
};

}  // namespace portico
