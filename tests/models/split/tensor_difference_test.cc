#include "models/split/tensor_difference.h"

#include <cmath>
#include <limits>

#include "gtest/gtest.h"

namespace portico {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(TensorDifferenceTest, IsTheLargestOverAllElements) {
  EXPECT_EQ(MaxDifference(Tensor::Of<float>({3}, {1, 2, 3}), Tensor::Of<float>({3}, {1, 0.5, 4})), 1.5);
  EXPECT_EQ(MaxDifference(Tensor::Of<int64_t>({2}, {1, -7}), Tensor::Of<int64_t>({2}, {1, 3})), 10);
  EXPECT_EQ(MaxDifference(Tensor::Of<float>({0}, {}), Tensor::Of<float>({0}, {})), 0);
}

TEST(TensorDifferenceTest, EqualNansAndInfinitiesDoNotDiffer) {
  EXPECT_EQ(MaxDifference(Tensor::Of<float>({2}, {kNan, kInfinity}), Tensor::Of<float>({2}, {kNan, kInfinity})), 0);
  EXPECT_TRUE(std::isinf(MaxDifference(Tensor::Of<float>({1}, {kNan}), Tensor::Of<float>({1}, {1}))));
}

TEST(TensorDifferenceTest, ReadsHalfPrecision) {
  const uint16_t one = 0x3c00, two = 0x4000;
  const auto half = [](const uint16_t& bits) {
    return Tensor::CopyOf(DType::kFloat16, {1}, {reinterpret_cast<const char*>(&bits), 2});
  };
  EXPECT_EQ(MaxDifference(half(one), half(two)), 1);
}

TEST(TensorDifferenceTest, OtherTypesShapesAndStringsAreInfinitelyFar) {
  const Tensor a = Tensor::Of<float>({1}, {1});
  EXPECT_TRUE(std::isinf(MaxDifference(a, Tensor::Of<float>({1, 1}, {1}))));
  EXPECT_TRUE(std::isinf(MaxDifference(a, Tensor::Of<int32_t>({1}, {1}))));
  const Tensor word = Tensor::OfStrings({1}, {absl::string_view("a")});
  EXPECT_EQ(MaxDifference(word, word), 0);
  EXPECT_TRUE(std::isinf(MaxDifference(word, Tensor::OfStrings({1}, {absl::string_view("b")}))));
}

}  // namespace
}  // namespace portico
