#pragma once

#include <cstdint>
#include <string>

#include "base/tensor.h"

namespace portico {

/// Floating point may differ by absolute + relative · |wanted|. Integers, booleans and strings may not.
struct Tolerance {
  double relative = 0;
  double absolute = 0;
};

/// How one tensor differs from another.
struct TensorComparison {
  enum class Outcome : uint8_t { kEqual, kWithin, kDifferent };

  Outcome outcome = Outcome::kEqual;
  /// Largest among elements; infinite where a number meets NaN or an infinity.
  double max_absolute = 0;
  /// Relative to the wanted one.
  double max_relative = 0;
  /// Elements beyond tolerance.
  uint64_t different = 0;
  /// The first of them, or how dtype or shape differ: "element 3: got 2, want 5".
  std::string first;
};

/// Values are compared, not bits: NaN equals NaN, −0 equals 0.
TensorComparison CompareTensorsWithin(const Tensor& got, const Tensor& want, const Tolerance& tolerance);

}  // namespace portico
