#include "router/expert_balance.h"

#include <cmath>

#include "gtest/gtest.h"

namespace portico {
namespace {

TEST(ExpertBalanceTest, SaysNothingBeforeThereAreEnoughRows) {
  ExpertBalance balance(4);
  balance.Add(0, 4 * ExpertBalance::kRowsPerExpert - 1);
  EXPECT_FALSE(balance.Take().has_value());
  balance.Add(0, 1);
  const auto spread = balance.Take();
  ASSERT_TRUE(spread.has_value());
  EXPECT_NEAR(spread->variation, std::sqrt(3.0), 1e-9) << "one expert has all";
  EXPECT_NEAR(spread->busiest, 4, 1e-9);
  EXPECT_FALSE(balance.Take().has_value()) << "the next window begins";
}

TEST(ExpertBalanceTest, EqualLoadsDoNotVary) {
  ExpertBalance balance(3);
  for (int e = 0; e < 3; ++e) balance.Add(e, ExpertBalance::kRowsPerExpert);
  const auto spread = balance.Take();
  ASSERT_TRUE(spread.has_value());
  EXPECT_EQ(spread->variation, 0);
  EXPECT_EQ(spread->busiest, 1);
}

}  // namespace
}  // namespace portico
