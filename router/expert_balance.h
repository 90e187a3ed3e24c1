#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

namespace portico {

/// How evenly rows spread over the experts of one portal, window by window: a window is over once it has had some rows
/// per expert, so that what it says is not chance. Thread-safe, lock-free.
class ExpertBalance {
 public:
  static constexpr int64_t kRowsPerExpert = 64;

  explicit ExpertBalance(int experts)
      : rows_(static_cast<size_t>(experts)), window_(kRowsPerExpert * static_cast<int64_t>(experts)) {}

  struct Spread {
    /// Standard deviation of the experts' rows by their mean: 0 where all have the same, √(E−1) where one has all.
    double variation = 0;
    /// Rows of the busiest by the mean.
    double busiest = 0;
  };

  void Add(int32_t expert, int64_t rows) {
    rows_[static_cast<size_t>(expert)].fetch_add(rows, std::memory_order_relaxed);
    total_.fetch_add(rows, std::memory_order_relaxed);
  }
  /// The spread of the window that is over, once; nothing while it is not.
  std::optional<Spread> Take();

 private:
  std::vector<std::atomic<int64_t>> rows_;
  const int64_t window_;
  std::atomic<int64_t> total_{0};
};

}  // namespace portico
