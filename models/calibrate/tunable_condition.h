#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "models/compose/expression.h"

namespace portico {

/// A condition of a cascade seen as something to tune: the numbers in it that something is compared with by <, <=, >
/// or >= are *thresholds*, which may be moved; everything else stays. `domain == "x.com" || (score > 0.1 && score <
/// 0.9)` has two, 0.1 and 0.9, and a fixed part. Immutable, thread-safe.
struct TunableCondition {
  static constexpr size_t kMaxThresholds = 2;
  static constexpr size_t kMaxFixed = 8;

  /// `measure op number`: whether the number stands left or right is no matter.
  struct Threshold {
    /// Term of the expression.
    int measure = 0;
    /// kLess, kLessOrEqual, kGreater, kGreaterOrEqual.
    Expression::Op op = Expression::Op::kLess;
    double number = 0;
    /// Where the number stands in the text.
    size_t begin = 0;
    size_t length = 0;

    /// Whether it holds for measures below a threshold, not for those above.
    bool below() const { return op == Expression::Op::kLess || op == Expression::Op::kLessOrEqual; }
  };

  /// INVALID_ARGUMENT as Expression::Parse(), and where there is no threshold, or more than can be tuned.
  static absl::StatusOr<TunableCondition> Parse(absl::string_view text);

  /// The text with `numbers` for its thresholds. REQUIRES: as many.
  std::string With(absl::Span<const std::string> numbers) const;

  /// Whether it holds, by what is true of it: bit i of `thresholds` says so of threshold i, of `fixed` of fixed part i.
  bool Holds(uint32_t thresholds, uint32_t fixed) const;

  Expression expression;
  /// In the order of the text.
  std::vector<Threshold> thresholds;
  /// Terms that are true or false of a row and hold no threshold.
  std::vector<int> fixed;

 private:
  friend class ConditionAnalysis;
  /// What joins them, operands first.
  struct Step {
    enum class Kind { kThreshold, kFixed, kConstant, kNot, kAnd, kOr };
    Kind kind;
    uint32_t index;
  };
  std::vector<Step> steps_;
};

}  // namespace portico
