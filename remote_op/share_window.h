#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "absl/time/time.h"

namespace portico {

/// How many of the trials of the last while were hits: a ring of slices of time, of which the oldest is begun anew when
/// its turn comes. Thread-safe, lock-free; threads that meet where a slice begins may lose a count.
class ShareWindow {
 public:
  struct Counts {
    int64_t trials = 0;
    int64_t hits = 0;

    /// 0 where there are no trials.
    double share() const { return trials > 0 ? static_cast<double>(hits) / static_cast<double>(trials) : 0; }
  };
  static constexpr int kSlices = 10;

  /// `over`: how far it looks back, give or take a slice; positive.
  explicit ShareWindow(absl::Duration over);

  void Add(absl::Time now, int64_t trials, int64_t hits);
  Counts Sum(absl::Time now) const;

 private:
  static constexpr int64_t kBeginning = -1;
  struct Slice {
    /// Which slice of time since the epoch it counts; kBeginning while it is emptied.
    std::atomic<int64_t> number{0};
    std::atomic<int64_t> trials{0};
    std::atomic<int64_t> hits{0};
  };

  int64_t NumberOf(absl::Time time) const { return absl::ToUnixMicros(time) / slice_us_; }

  const int64_t slice_us_;
  std::array<Slice, kSlices> slices_;
};

/// Where the share lies that hits among trials speak for.
struct ShareBounds {
  double low = 0;
  double high = 1;
};

/// The score interval of E. B. Wilson ("Probable Inference, the Law of Succession, and Statistical Inference", Journal
/// of the American Statistical Association 22, 1927, 209-212): holds the true share unless chance was further off than
/// `z` standard deviations. Good for few trials, and for shares near 0 and 1. (0, 1) without trials.
ShareBounds WilsonBounds(const ShareWindow::Counts& counts, double z);

}  // namespace portico
