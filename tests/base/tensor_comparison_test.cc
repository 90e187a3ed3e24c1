#include "base/tensor_comparison.h"

#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using Outcome = TensorComparison::Outcome;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

TensorComparison Floats(std::initializer_list<float> got, std::initializer_list<float> want, Tolerance tolerance = {}) {
  return CompareTensorsWithin(Tensor::Of<float>({static_cast<int64_t>(got.size())}, got),
                              Tensor::Of<float>({static_cast<int64_t>(want.size())}, want), tolerance);
}

TEST(TensorComparisonTest, ValuesAreComparedNotBits) {
  EXPECT_EQ(Floats({1, kNan, -0.0f, kInf}, {1, kNan, 0.0f, kInf}).outcome, Outcome::kEqual);
  EXPECT_EQ(Floats({}, {}).outcome, Outcome::kEqual);
}

TEST(TensorComparisonTest, DifferencesAreMeasured) {
  const TensorComparison comparison = Floats({1, 2.5f, 4}, {1, 2, 5});
  EXPECT_EQ(comparison.outcome, Outcome::kDifferent);
  EXPECT_EQ(comparison.max_absolute, 1);
  EXPECT_EQ(comparison.max_relative, 0.25);
  EXPECT_EQ(comparison.different, 2u);
  EXPECT_EQ(comparison.first, "element 1: got 2.5, want 2");
}

TEST(TensorComparisonTest, ToleranceIsAbsoluteAndRelative) {
  EXPECT_EQ(Floats({1.5f}, {1}, {.absolute = 0.5}).outcome, Outcome::kWithin);
  EXPECT_EQ(Floats({1.5f}, {1}, {.relative = 0.5}).outcome, Outcome::kWithin);
  EXPECT_EQ(Floats({1.5f}, {1}, {.relative = 0.2, .absolute = 0.2}).outcome, Outcome::kDifferent);
  const TensorComparison some = Floats({1.5f, 9, 1}, {1, 1, 1}, {.absolute = 0.5});
  EXPECT_EQ(some.outcome, Outcome::kDifferent);
  EXPECT_EQ(some.different, 1u);
  EXPECT_EQ(some.first, "element 1: got 9, want 1");
  EXPECT_EQ(some.max_absolute, 8);
}

TEST(TensorComparisonTest, NoToleranceCoversNanAndInfinity) {
  const Tolerance wide = {.relative = 1e300, .absolute = 1e300};
  EXPECT_EQ(Floats({kNan}, {1}, wide).outcome, Outcome::kDifferent);
  EXPECT_EQ(Floats({1}, {kNan}, wide).outcome, Outcome::kDifferent);
  EXPECT_EQ(Floats({1}, {kInf}, wide).outcome, Outcome::kDifferent);
  EXPECT_EQ(Floats({kInf}, {-kInf}, wide).outcome, Outcome::kDifferent);
}

TEST(TensorComparisonTest, SmallFloatsAreNumbers) {
  // 1 and the next float16 above it.
  const TensorComparison comparison =
      CompareTensorsWithin(Tensor::CopyOf(DType::kFloat16, {1}, absl::string_view("\x01\x3c", 2)),
                           Tensor::CopyOf(DType::kFloat16, {1}, absl::string_view("\x00\x3c", 2)), {.relative = 1e-3});
  EXPECT_EQ(comparison.outcome, Outcome::kWithin);
  EXPECT_EQ(comparison.max_absolute, 1.0 / 1024);
}

TEST(TensorComparisonTest, IntegersHaveNoTolerance) {
  const TensorComparison comparison =
      CompareTensorsWithin(Tensor::Of<int64_t>({2}, {std::numeric_limits<int64_t>::max(), 7}),
                           Tensor::Of<int64_t>({2}, {std::numeric_limits<int64_t>::max() - 1, 7}), {1, 1});
  EXPECT_EQ(comparison.outcome, Outcome::kDifferent);
  EXPECT_EQ(comparison.max_absolute, 1);
  EXPECT_EQ(comparison.first, "element 0: got 9223372036854775807, want 9223372036854775806");
  EXPECT_EQ(CompareTensorsWithin(Tensor::Of<int8_t>({1}, {-128}), Tensor::Of<int8_t>({1}, {127}), {}).max_absolute,
            255);
}

TEST(TensorComparisonTest, StringsShapesAndDtypes) {
  const std::vector<std::string> a = {"same", "one"}, b = {"same", "two\n"};
  EXPECT_EQ(CompareTensorsWithin(Tensor::OfStrings({2}, a), Tensor::OfStrings({2}, b), {}).first,
            "element 1: got 'one', want 'two\\n'");
  const Tensor two = Tensor::Of<float>({2}, {1, 2});
  EXPECT_EQ(CompareTensorsWithin(two, *two.Reshaped({2, 1}), {1, 1}).first, "got float32[2], want float32[2,1]");
  EXPECT_EQ(CompareTensorsWithin(two, Tensor::Of<int32_t>({2}, {1, 2}), {1, 1}).outcome, Outcome::kDifferent);
}

}  // namespace
}  // namespace portico
