#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "examples/model_calls.h"

namespace portico::dlrm {

/// Clicks that the model was not trained on, as train.py wrote them.
struct Clicks {
  /// numbers, ids, seen.
  examples::Rows inputs;
  std::vector<bool> clicked;
  /// What one would say who knows how the clicks were made.
  std::vector<float> odds;

  int64_t size() const { return static_cast<int64_t>(clicked.size()); }
  /// The share of pairs, one clicked and one not, that `scores` puts in order; of equal ones half.
  double Auc(absl::Span<const float> scores) const;
};

absl::StatusOr<Clicks> ReadClicks(const std::string& folder);

}  // namespace portico::dlrm
