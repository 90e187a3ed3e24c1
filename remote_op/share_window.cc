#include "remote_op/share_window.h"

#include <algorithm>
#include <cmath>

namespace portico {

ShareWindow::ShareWindow(absl::Duration over)
    : slice_us_(std::max<int64_t>(absl::ToInt64Microseconds(over) / kSlices, 1)) {}

void ShareWindow::Add(absl::Time now, int64_t trials, int64_t hits) {
  const int64_t number = NumberOf(now);
  Slice& slice = slices_[static_cast<size_t>(number % kSlices)];
  int64_t counted = slice.number.load(std::memory_order_acquire);
  if (counted != number) {
    // Somebody empties it, or is ahead of this thread's clock.
    if (counted == kBeginning || counted > number) return;
    if (!slice.number.compare_exchange_strong(counted, kBeginning, std::memory_order_acq_rel)) return;
    slice.trials.store(0, std::memory_order_relaxed);
    slice.hits.store(0, std::memory_order_relaxed);
    slice.number.store(number, std::memory_order_release);
  }
  slice.trials.fetch_add(trials, std::memory_order_relaxed);
  slice.hits.fetch_add(hits, std::memory_order_relaxed);
}

ShareWindow::Counts ShareWindow::Sum(absl::Time now) const {
  const int64_t last = NumberOf(now);
  Counts sum;
  for (const Slice& slice : slices_) {
    const int64_t number = slice.number.load(std::memory_order_acquire);
    if (number <= last - kSlices || number > last) continue;
    sum.trials += slice.trials.load(std::memory_order_relaxed);
    sum.hits += slice.hits.load(std::memory_order_relaxed);
  }
  sum.hits = std::min(sum.hits, sum.trials);
  return sum;
}

ShareBounds WilsonBounds(const ShareWindow::Counts& counts, double z) {
  if (counts.trials <= 0) return {};
  const auto n = static_cast<double>(counts.trials);
  const double p = counts.share(), zz = z * z;
  const double middle = (p + zz / (2 * n)) / (1 + zz / n);
  const double half = z * std::sqrt(p * (1 - p) / n + zz / (4 * n * n)) / (1 + zz / n);
  return {std::max(middle - half, 0.0), std::min(middle + half, 1.0)};
}

}  // namespace portico
