#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace portico {

/// What becomes of each row with either answer: 0 or 1. All of one length.
struct RowOutcomes {
  /// The trigger answers as the full model does.
  std::vector<uint8_t> agrees;
  /// Each answers as the label says; empty where there are no labels.
  std::vector<uint8_t> trigger_right;
  std::vector<uint8_t> full_right;

  bool labelled() const { return !trigger_right.empty(); }
};

/// What a threshold is compared with.
struct SweepMeasure {
  /// A value per row. NaN is neither below nor above.
  std::vector<double> values;
  /// `m < t`, `m <= t` (true) or `m > t`, `m >= t`.
  bool holds_below = true;
  /// `<=`, `>=`.
  bool holds_equal = false;
  /// As what it is compared.
  bool is_float32 = true;
};

/// How a cascade does with one setting of its thresholds, counted in rows.
struct SweepPoint {
  /// Which place of each measure's the threshold has.
  uint32_t cuts[2] = {0, 0};
  int64_t escalated = 0;
  int64_t agreeing = 0;
  /// 0 without labels.
  int64_t right = 0;
};

/// How a cascade does with every setting of one or two thresholds of its condition. A threshold is put between any two
/// neighbouring values of its measure; where there are more places than `Options` allows, at so many that about
/// equally many rows lie between them.
///
/// Rows are sorted once for each measure, then counted into a table of places × places and summed up: O(N log N +
/// places²), whatever the condition. Immutable once made, thread-safe.
class ThresholdSweep {
 public:
  struct Options {
    /// Places of the threshold where there is one, and of each where there are two.
    size_t max_cuts_of_one = 1 << 16;
    size_t max_cuts_of_two = 512;
  };

  /// `measures`: one or two. `truths`, per row: bit (a + 2·b) says whether the row escalates where the comparison with
  /// the first threshold is a and that with the second is b (0 where there is none). REQUIRES: all of one length, at
  /// most 2^31 − 1 rows.
  ThresholdSweep(std::vector<SweepMeasure> measures, absl::Span<const uint8_t> truths, const RowOutcomes& outcomes,
                 const Options& options);
  ThresholdSweep(std::vector<SweepMeasure> measures, absl::Span<const uint8_t> truths, const RowOutcomes& outcomes)
      : ThresholdSweep(std::move(measures), truths, outcomes, Options()) {}

  const std::vector<SweepPoint>& points() const { return points_; }
  /// The thresholds of a point as they are written, in as few digits as tell the rows apart.
  std::vector<std::string> Numbers(const SweepPoint& point) const;

 private:
  /// The places of one threshold.
  struct Axis {
    /// Between which values each place is.
    std::vector<double> low;
    std::vector<double> high;
    /// Per row: the first place whose threshold is above its value. Rows with NaN stand where the comparison fails.
    std::vector<uint32_t> bins;
    bool holds_below = true;
    bool takes_low = false;
    bool is_float32 = true;
  };

  class Table;

  static Axis MakeAxis(const SweepMeasure& measure, size_t max_cuts);

  std::vector<Axis> axes_;
  std::vector<SweepPoint> points_;
};

}  // namespace portico
