#include "base/small_float.h"

#include <cmath>
#include <limits>

#include "gtest/gtest.h"

namespace portico {
namespace {

TEST(SmallFloatTest, EveryHalfSurvivesTheWayThere) {
  for (uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const float value = FloatFromHalf(static_cast<uint16_t>(bits));
    if (std::isnan(value)) continue;
    ASSERT_EQ(HalfFromFloat(value), bits);
  }
}

TEST(SmallFloatTest, HalfRoundsToNearestEvenAndOverflowsToInfinity) {
  EXPECT_EQ(HalfFromFloat(1.0f), 0x3c00);
  EXPECT_EQ(HalfFromFloat(2049.0f), HalfFromFloat(2048.0f));
  EXPECT_EQ(HalfFromFloat(2051.0f), HalfFromFloat(2052.0f));
  EXPECT_EQ(HalfFromFloat(65504.0f), 0x7bff);
  EXPECT_EQ(HalfFromFloat(65520.0f), 0x7c00);
  EXPECT_EQ(HalfFromFloat(-1e30f), 0xfc00);
  EXPECT_TRUE(std::isnan(FloatFromHalf(HalfFromFloat(std::numeric_limits<float>::quiet_NaN()))));
}

TEST(SmallFloatTest, BfloatIsTheUpperHalfOfAFloat) {
  EXPECT_EQ(BfloatFromFloat(1.0f), 0x3f80);
  EXPECT_EQ(FloatFromBfloat(0xc000), -2.0f);
  EXPECT_EQ(BfloatFromFloat(1.00390625f), 0x3f80);
  EXPECT_TRUE(std::isnan(FloatFromBfloat(BfloatFromFloat(std::numeric_limits<float>::quiet_NaN()))));
}

}  // namespace
}  // namespace portico
