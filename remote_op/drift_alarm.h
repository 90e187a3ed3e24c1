#pragma once

#include <atomic>
#include <cstdint>

#include "remote_op/share_window.h"

namespace portico {

/// Whether a share that is measured has left what was expected of it. Thread-safe.
///
/// It has where all that the measurement speaks for (WilsonBounds(), kDeviations) lies beyond what is allowed, so that
/// neither chance nor few rows make an alarm; it is back where the share itself is within what is allowed again. In
/// between nothing changes, so that it does not come and go.
class DriftAlarm {
 public:
  /// Of a share that has not drifted, chance alone goes further once in 2000 looks.
  static constexpr double kDeviations = 3.29;
  /// Nothing is said of fewer.
  static constexpr int64_t kMinTrials = 100;

  enum class Change : uint8_t { kNone, kDrifted, kBack };

  /// Shares from `low` to `high` are allowed.
  DriftAlarm(double low, double high) : low_(low), high_(high) {}

  /// Looks at what was measured. What it says has changed it says once.
  Change Judge(const ShareWindow::Counts& counts) {
    if (counts.trials < kMinTrials) return Change::kNone;
    const ShareBounds bounds = WilsonBounds(counts, kDeviations);
    if (bounds.low > high_ || bounds.high < low_) {
      return drifted_.exchange(true, std::memory_order_relaxed) ? Change::kNone : Change::kDrifted;
    }
    const double share = counts.share();
    if (share < low_ || share > high_) return Change::kNone;
    return drifted_.exchange(false, std::memory_order_relaxed) ? Change::kBack : Change::kNone;
  }
  bool drifted() const { return drifted_.load(std::memory_order_relaxed); }

 private:
  const double low_;
  const double high_;
  std::atomic<bool> drifted_{false};
};

}  // namespace portico
