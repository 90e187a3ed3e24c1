#include "codec/json_text.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "gtest/gtest.h"

namespace portico {
namespace {

std::string Float(float value) {
  std::string out;
  AppendJsonFloat(value, &out);
  return out;
}

std::string Double(double value) {
  std::string out;
  AppendJsonDouble(value, &out);
  return out;
}

std::string String(absl::string_view text) {
  std::string out;
  AppendJsonString(text, &out);
  return out;
}

TEST(JsonTextTest, FloatsAreWrittenShortestFirst) {
  EXPECT_EQ(Float(9e6f), "9e+06");
  EXPECT_EQ(Float(999999), "999999.0");
  EXPECT_EQ(Float(0.5f), "0.5");
  EXPECT_EQ(Float(0.0003f), "0.0003");
  EXPECT_EQ(Float(3e-5f), "3e-05");
  EXPECT_EQ(Float(555557.5f), "555557.5");
  EXPECT_EQ(Float(0), "0.0");
  EXPECT_EQ(Float(-0.0f), "-0.0");
  EXPECT_EQ(Float(1), "1.0");
  EXPECT_EQ(Float(-12.25f), "-12.25");
  EXPECT_EQ(Float(16777216), "16777216.0");
  EXPECT_EQ(Float(1e10f), "1e+10");
  EXPECT_EQ(Float(std::numeric_limits<float>::max()), "3.4028235e+38");
  EXPECT_EQ(Double(0.1), "0.1");
  EXPECT_EQ(Double(1.0 / 3), "0.3333333333333333");
  EXPECT_EQ(Double(123456789012.0), "123456789012.0");
  EXPECT_EQ(Double(1e300), "1e+300");
  EXPECT_EQ(Double(1e-300), "1e-300");
  EXPECT_EQ(Float(NAN), "NaN");
  EXPECT_EQ(Float(HUGE_VALF), "Infinity");
  EXPECT_EQ(Double(-HUGE_VAL), "-Infinity");
}

TEST(JsonTextTest, SixDigitsAreThoseOfPrintf) {
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    const uint32_t bits = random();
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    if (!std::isnormal(value)) continue;
    EXPECT_EQ(std::strtof(Float(value).c_str(), nullptr), value);
    // A value of few digits: exactly what %g prints, but for ".0".
    char text[32];
    std::snprintf(text, sizeof(text), "%.6g", static_cast<double>(value));
    const float short_value = std::strtof(text, nullptr);
    std::snprintf(text, sizeof(text), "%.6g", static_cast<double>(short_value));
    std::string want = text;
    if (want.find_first_of(".e") == want.npos) want += ".0";
    if (std::isnormal(short_value)) {
      EXPECT_EQ(Float(short_value), want);
    }
  }
}

TEST(JsonTextTest, StringsAreEscaped) {
  EXPECT_EQ(String("a\"b\\c\n\r\t\x1f"), R"("a\"b\\c\n\r\t\u001f")");
  EXPECT_EQ(String("\xc3\xa9"), "\"\xc3\xa9\"");
  EXPECT_EQ(String("a\xff"
                   "b"),
            "\"a?b\"");
  EXPECT_EQ(String(""), "\"\"");
  EXPECT_EQ(ErrorJson("no \"x\""), R"({"error": "no \"x\""})");
}

}  // namespace
}  // namespace portico
