#pragma once

#include <string>
#include <utility>

#include "absl/time/time.h"
#include "remote_op/drift_alarm.h"
#include "remote_op/share_window.h"

namespace portico {

/// A DriftAlarm that tells: one line in the log at each change says what, got, wanted, and what to do about it. Also
/// for a mean of numbers from 0 to 1, as a share of what would be 1: their variance is at most that of yes and no with
/// the same mean (R. Bhatia, C. Davis, "A Better Bound on the Variance", American Mathematical Monthly 107, 2000), so
/// that an alarm comes later rather than sooner. Thread-safe.
class DriftWatch {
 public:
  struct Options {
    /// "portal 'moe' to a and b: rows that are sent to 'a'".
    std::string what;
    double expected = 0;
    double within = 0;
    /// Where more of it is no harm.
    bool only_less = false;
    /// How far back what is judged was counted.
    absl::Duration over;
    /// "what comes in is not …: do …".
    std::string remedy;
  };

  explicit DriftWatch(Options options)
      : options_(std::move(options)),
        alarm_(options_.expected - options_.within, options_.only_less ? 1 : options_.expected + options_.within) {}

  /// Looks at what was counted of late; returns whether it has drifted.
  bool Judge(const ShareWindow::Counts& counts);

 private:
  const Options options_;
  DriftAlarm alarm_;
};

}  // namespace portico
