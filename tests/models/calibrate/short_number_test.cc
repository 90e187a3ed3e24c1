#include "models/calibrate/short_number.h"

#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>

#include "gtest/gtest.h"

namespace portico {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(ShortNumber, TakesTheFewestDigitsBetweenTheTwo) {
  EXPECT_EQ(ShortNumber({.low = 0.31, .high = 0.52}), "0.4");
  EXPECT_EQ(ShortNumber({.low = 0.41, .high = 0.42}), "0.415");
  EXPECT_EQ(ShortNumber({.low = -3, .high = 5}), "1");
  EXPECT_EQ(ShortNumber({.low = -5, .high = 5}), "0");
  EXPECT_EQ(ShortNumber({.low = 2, .high = 3, .takes_low = true}), "2");
}

TEST(ShortNumber, HasSomethingToSayBeyondTheLastValue) {
  EXPECT_EQ(ShortNumber({.low = -kInfinity, .high = 0.25}), "0");
  EXPECT_EQ(ShortNumber({.low = 0.75, .high = kInfinity}), "2");
  EXPECT_EQ(ShortNumber({.low = -kInfinity, .high = kInfinity}), "0");
  EXPECT_EQ(ShortNumber({.low = -kInfinity, .high = -4}), "-8");
}

TEST(ShortNumber, TellsNeighbouringFloatsApart) {
  std::mt19937_64 bits(7);
  for (int i = 0; i < 20000; ++i) {
    const auto exponent = static_cast<int>(bits() % 60) - 30;
    float low = std::ldexp(static_cast<float>(bits() % 2000001) / 1e6f - 1.0f, exponent);
    const float high = std::nextafter(low, std::numeric_limits<float>::infinity());
    const bool takes_low = bits() % 2 == 0;
    const std::string text = ShortNumber({.low = low, .high = high, .takes_low = takes_low});
    const auto number = static_cast<float>(std::strtod(text.c_str(), nullptr));
    EXPECT_EQ(number, takes_low ? low : high) << text;
  }
}

TEST(ShortNumber, TellsNeighbouringDoublesApart) {
  for (const double low : {0.1, -0.1, 1e-300, 123456789.0123}) {
    const double high = std::nextafter(low, kInfinity);
    for (const bool takes_low : {false, true}) {
      const std::string text = ShortNumber({.low = low, .high = high, .takes_low = takes_low, .is_float32 = false});
      EXPECT_EQ(std::strtod(text.c_str(), nullptr), takes_low ? low : high) << text;
    }
  }
}

}  // namespace
}  // namespace portico
