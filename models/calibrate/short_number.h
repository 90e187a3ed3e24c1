#pragma once

#include <string>

namespace portico {

/// The numbers a threshold may be so that it tells what is measured as `low` from what is measured as `high`.
struct NumberRange {
  /// −∞, +∞: there is nothing below, above.
  double low = 0;
  double high = 0;
  /// Whether the threshold may be `low` itself, and not `high` (`m > t`, `m <= t`); else the other way round.
  bool takes_low = false;
  /// Whether it is compared as float32.
  bool is_float32 = true;
};

/// A number of `range` in as few digits as there can be, near its middle: "0.37". REQUIRES: low < high, and not both
/// infinite with the same sign.
std::string ShortNumber(const NumberRange& range);

}  // namespace portico
