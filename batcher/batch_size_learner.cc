#include "batcher/batch_size_learner.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace portico {
namespace {

/// Of a new measurement in the moving average.
constexpr double kWeight = 0.1;
/// Runs before a size is judged.
constexpr int64_t kMinRuns = 8;
/// What a row may cost beside the cheapest.
constexpr double kSlack = 1.1;
/// Every so many runs one is of another size.
constexpr uint64_t kExplore = 32;

size_t SizeOf(int64_t rows) { return static_cast<size_t>(std::bit_width(static_cast<uint64_t>(rows))) - 1; }

}  // namespace

BatchSizeLearner::BatchSizeLearner(int64_t max_rows)
    : max_rows_(std::max<int64_t>(max_rows, 1)), best_(max_rows_), sizes_(SizeOf(max_rows_) + 1) {}

int64_t BatchSizeLearner::NextLimit() {
  ++runs_;
  if (runs_ % kExplore == 0) return std::min(2 * best_, max_rows_);
  if (runs_ % kExplore == kExplore / 2) return std::max<int64_t>(best_ / 2, 1);
  return best_;
}

void BatchSizeLearner::Record(int64_t rows, absl::Duration time) {
  if (rows < 1) return;
  Size& size = sizes_[SizeOf(std::min(rows, max_rows_))];
  const double cost = absl::ToDoubleSeconds(time) / static_cast<double>(rows);
  size.cost_per_row = size.runs == 0 ? cost : (1 - kWeight) * size.cost_per_row + kWeight * cost;
  ++size.runs;
  double cheapest = std::numeric_limits<double>::infinity();
  for (const Size& known : sizes_) {
    if (known.runs >= kMinRuns) cheapest = std::min(cheapest, known.cost_per_row);
  }
  for (size_t i = 0; i < sizes_.size(); ++i) {
    if (sizes_[i].runs < kMinRuns || sizes_[i].cost_per_row > kSlack * cheapest) continue;
    // The whole of the last size: it may end between two powers.
    best_ = i + 1 == sizes_.size() ? max_rows_ : int64_t{1} << i;
    return;
  }
}

}  // namespace portico
