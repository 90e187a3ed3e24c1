#pragma once

#include <cstdint>
#include <vector>

#include "absl/time/time.h"

namespace portico {

/// Learns from the times of runs how many rows a run should hold: the fewest at which a row costs at most a tenth more
/// than it does in the cheapest runs seen. Beyond that point a larger run answers no more rows a second, it only keeps
/// everybody waiting longer; that is where latency bends.
///
/// Sizes are powers of two. Now and then a run of half and of twice the size is let through, so that what was learnt
/// follows the machine. Not thread-safe.
class BatchSizeLearner {
 public:
  /// `max_rows` is the most it will ever say; at least 1.
  explicit BatchSizeLearner(int64_t max_rows);

  /// Rows that the next run may hold. Counts as a run.
  int64_t NextLimit();
  /// A run of `rows` rows took `time`.
  void Record(int64_t rows, absl::Duration time);
  /// Rows that a run should hold, by what is known.
  int64_t best() const { return best_; }

 private:
  struct Size {
    int64_t runs = 0;
    /// Seconds, a moving average.
    double cost_per_row = 0;
  };

  const int64_t max_rows_;
  int64_t best_;
  uint64_t runs_ = 0;
  /// [i]: runs of 2^i rows or more, less than 2^(i+1).
  std::vector<Size> sizes_;
};

}  // namespace portico
