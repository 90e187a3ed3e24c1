#pragma once

#include <algorithm>
#include <cstdint>

namespace portico {

/// Which share of the rows that want the full model stays away from it while that is overloaded, step by step (a tenth
/// of a second each). Rises by additions that reach the bound within kRise steps, falls by ones that take kFall; stays
/// where some calls are refused but few. Pure, for one thread.
class ShedLevel {
 public:
  static constexpr int kRise = 4;
  static constexpr int kFall = 50;
  /// Of the calls that ended, refused or late: from here on it is an overload.
  static constexpr double kOverload = 0.1;

  /// `max`: 0 to 1, which the level never exceeds.
  explicit ShedLevel(double max) : max_(max) {}

  double level() const { return level_; }
  /// `overloaded` of `calls` ended so in the `steps` (1 at least) since the last time. The new level.
  double Advance(int64_t calls, int64_t overloaded, int64_t steps) {
    if (overloaded > 0 && static_cast<double>(overloaded) >= kOverload * static_cast<double>(calls)) {
      level_ = std::min(level_ + max_ / kRise, max_);
    } else if (overloaded == 0) {
      level_ -= max_ / kFall * static_cast<double>(steps);
      // What rounding leaves over is nothing.
      if (level_ < max_ / kFall / 2) level_ = 0;
    }
    return level_;
  }

 private:
  const double max_;
  double level_ = 0;
};

}  // namespace portico
