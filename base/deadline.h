#pragma once

#include <algorithm>

#include "absl/time/time.h"
#include "base/clock.h"

namespace portico {

/// An absolute point in time by which an answer is of use. Travels between nodes as remaining time, never as a fresh
/// timeout. A value; copy it.
class Deadline {
 public:
  /// No limit.
  Deadline() : at_(absl::InfiniteFuture()) {}
  static Deadline At(absl::Time at) { return Deadline(at); }
  static Deadline In(absl::Duration timeout, const Clock& clock) { return Deadline(clock.Now() + timeout); }

  absl::Time at() const { return at_; }
  bool infinite() const { return at_ == absl::InfiniteFuture(); }
  bool Expired(const Clock& clock) const { return !infinite() && clock.Now() >= at_; }
  /// Never negative; infinite where there is no limit.
  absl::Duration Remaining(const Clock& clock) const {
    return infinite() ? absl::InfiniteDuration() : std::max(at_ - clock.Now(), absl::ZeroDuration());
  }
  /// The sooner of the two.
  Deadline Sooner(Deadline other) const { return Deadline(std::min(at_, other.at_)); }

 private:
  explicit Deadline(absl::Time at) : at_(at) {}
  absl::Time at_;
};

}  // namespace portico
