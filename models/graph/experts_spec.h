#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "models/graph/experts_watch.h"
#include "models/graph/portal_target.h"

namespace onnx {
class NodeProto;
}

namespace portico {

/// What an answer of an expert counts for.
enum class ExpertWeights : uint8_t {
  /// Softmax over the gates of those that answered.
  kSoftmax,
  /// Gates are weights from 0 on, divided by the sum over those that answered.
  kRenormalize,
  /// The gate itself.
  kNone,
};

/// What an `Experts` node says beside what all portals do (graph_plan.h). Inputs: the gate float[N,E], then those of
/// the experts; outputs: the experts' combined ones, float, then row_status where it is asked for. Attributes:
///   targets          strings: the experts, in the order of the gate's columns (instead of `target`)
///   digests          strings, one per target, "" for none; or absent
///   k                int, default 1: experts per row
///   k_min            int, default k: from k_min_after_ms on, rows do with so many
///   k_min_after_ms   int, default 0: counted from when the calls go out
///   weights          "softmax" (default), "renormalize" or "none"
///   on_expert_error  "next" (default), "renormalize" or "fail"
///   on_row_error     "mark" (default) or "fail"
///   capacity         float, default 0: an expert takes at most ceil(capacity · N · k / E) rows; 0: any
///   row_status       0 or 1, default 0: one more output, int8[N]; output_dtypes and output_shapes may leave it out
///   expected_…       what the gate is expected to do: ExpertsWatch
///   expected_…       see ExpertsWatch
struct ExpertsSpec {
  static constexpr int kMaxExperts = 1024;
  static constexpr int kMaxK = 64;

  enum class OnExpertError : uint8_t {
    /// Its rows go to their next best expert.
    kNext,
    /// The others of the row answer alone.
    kRenormalize,
    /// The row has failed.
    kFail,
  };
  enum class OnRowError : uint8_t {
    /// NaN in the row's outputs, 2 in row_status, and a row note.
    kMark,
    /// The request fails.
    kFail,
  };

  std::vector<PortalTarget> targets;
  int k = 1;
  int k_min = 1;
  absl::Duration k_min_after;
  ExpertWeights weights = ExpertWeights::kSoftmax;
  OnExpertError on_expert_error = OnExpertError::kNext;
  OnRowError on_row_error = OnRowError::kMark;
  float capacity = 0;
  /// The last output is int8[N]: 0 complete, 1 fewer than k experts, 2 none.
  bool row_status = false;
  ExpertsWatch watch;
};

/// INVALID_ARGUMENT, naming the attribute, where one is missing or out of bounds.
absl::StatusOr<ExpertsSpec> ReadExpertsSpec(const onnx::NodeProto& node);

}  // namespace portico
