#include "models/calibrate/tunable_condition.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::HasSubstr;
using Op = Expression::Op;

TunableCondition Parse(absl::string_view text) {
  auto condition = TunableCondition::Parse(text);
  EXPECT_TRUE(condition.ok()) << condition.status();
  return condition.ok() ? *std::move(condition) : TunableCondition();
}

TEST(TunableCondition, FindsTheNumbersThatMayMove) {
  const TunableCondition condition = Parse("score > 0.1 && 0.9 >= score");
  ASSERT_EQ(condition.thresholds.size(), 2u);
  EXPECT_EQ(condition.thresholds[0].op, Op::kGreater);
  EXPECT_EQ(condition.thresholds[0].number, 0.1);
  EXPECT_EQ(condition.thresholds[1].op, Op::kLessOrEqual) << "the number stands left";
  EXPECT_EQ(condition.thresholds[1].number, 0.9);
  EXPECT_TRUE(condition.fixed.empty());
}

TEST(TunableCondition, WritesOtherNumbersInTheirPlaces) {
  EXPECT_EQ(Parse("score > 0.1 && score < 0.9").With({"0.25", "1e-3"}), "score > 0.25 && score < 1e-3");
  EXPECT_EQ(Parse("-0.5<logit").With({"2"}), "2<logit");
  EXPECT_EQ(Parse("logit < - 1.5e1 || kind == 3").With({"-0.125"}), "logit < -0.125 || kind == 3");
}

TEST(TunableCondition, WhatIsWrittenMeansTheSameMeasures) {
  for (const char* text : {"a.b[2] > .5", "`odd name` < 3 && max(x) > 0.5", "!(score <= 0.1 || score >= 0.9)"}) {
    const TunableCondition before = Parse(text);
    const TunableCondition after = Parse(before.With(std::vector<std::string>(before.thresholds.size(), "-7.5")));
    ASSERT_EQ(after.thresholds.size(), before.thresholds.size()) << text;
    for (const auto& threshold : after.thresholds) EXPECT_EQ(threshold.number, -7.5) << text;
  }
}

TEST(TunableCondition, JoinsWhatIsTrueAsTheTextSays) {
  const TunableCondition condition = Parse("isnan(score) || !(score <= 0.1 || score >= 0.9) && domain == \"x\"");
  ASSERT_EQ(condition.thresholds.size(), 2u);
  ASSERT_EQ(condition.fixed.size(), 2u);
  for (uint32_t thresholds = 0; thresholds < 4; ++thresholds) {
    for (uint32_t fixed = 0; fixed < 4; ++fixed) {
      EXPECT_EQ(condition.Holds(thresholds, fixed), (fixed & 1) != 0 || (thresholds == 0 && (fixed & 2) != 0))
          << thresholds << " " << fixed;
    }
  }
}

TEST(TunableCondition, EqualityAndSumsStayAsTheyAre) {
  const TunableCondition condition = Parse("label == 3 && score > 0 + 0.5 && margin(p) < 0.2");
  ASSERT_EQ(condition.thresholds.size(), 1u);
  EXPECT_EQ(condition.thresholds[0].number, 0.2);
  EXPECT_EQ(condition.fixed.size(), 2u);
}

TEST(TunableCondition, RefusesWhatCannotBeTuned) {
  const struct {
    const char* text;
    const char* want;
  } cases[] = {{"score >", "got the end"},
               {"label == 3", "got no number that could be moved"},
               {"a > 1 && b > 2 && c > 3", "got more than 2 numbers that could be moved"}};
  for (const auto& test : cases) {
    const auto condition = TunableCondition::Parse(test.text);
    ASSERT_FALSE(condition.ok()) << test.text;
    EXPECT_THAT(std::string(condition.status().message()), HasSubstr(test.want));
  }
}

}  // namespace
}  // namespace portico
