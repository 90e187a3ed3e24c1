#include "node/tenant_quotas.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/fakes.h"

namespace portico {
namespace {

class TenantQuotasTest : public ::testing::Test {
 protected:
  FakeClock clock_;
  TenantQuotas quotas_{clock_};
};

TEST_F(TenantQuotasTest, WithoutLimitsEverybodyGetsIn) {
  const auto place = quotas_.Enter("a", 1);
  ASSERT_TRUE(place.ok());
  quotas_.Leave(*place, 1);
  quotas_.SetLimits({{"b", {.max_requests = 1}}});
  EXPECT_TRUE(quotas_.Enter("a", 1).ok());
}

TEST_F(TenantQuotasTest, RequestsInsideAreLimitedPerTenant) {
  quotas_.SetLimits({{"a", {.max_requests = 2}}, {"b", {.max_requests = 1}}});
  const auto first = quotas_.Enter("a", 1);
  ASSERT_TRUE(first.ok() && quotas_.Enter("a", 1).ok());
  const auto refused = quotas_.Enter("a", 1);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(refused.status().message(),
            "tenant 'a': got 2 requests inside, want at most 2; try again later or ask for a larger quota");
  EXPECT_TRUE(quotas_.Enter("b", 1).ok());
  quotas_.Leave(*first, 1);
  EXPECT_TRUE(quotas_.Enter("a", 1).ok());
}

TEST_F(TenantQuotasTest, BytesInsideAreLimited) {
  quotas_.SetLimits({{"a", {.max_bytes = 100}}});
  const auto first = quotas_.Enter("a", 60);
  ASSERT_TRUE(first.ok());
  const auto refused = quotas_.Enter("a", 50);
  EXPECT_EQ(refused.status().message(),
            "tenant 'a': got 50 bytes of inputs while 60 are inside, want at most 100; try again later or ask for a "
            "larger quota");
  quotas_.Leave(*first, 60);
  EXPECT_TRUE(quotas_.Enter("a", 50).ok());
}

TEST_F(TenantQuotasTest, RateAllowsASecondsWorthAtOnceAndFillsAgain) {
  quotas_.SetLimits({{"a", {.requests_per_second = 3}}});
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(quotas_.Enter("a", 1).ok());
  EXPECT_EQ(quotas_.Enter("a", 1).status().message(),
            "tenant 'a': got more than 3 requests a second, want at most 3; try again later or ask for a larger quota");
  clock_.Advance(absl::Milliseconds(334));
  EXPECT_TRUE(quotas_.Enter("a", 1).ok());
  EXPECT_FALSE(quotas_.Enter("a", 1).ok());
  clock_.Advance(absl::Seconds(100));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(quotas_.Enter("a", 1).ok());
  EXPECT_FALSE(quotas_.Enter("a", 1).ok());
}

TEST_F(TenantQuotasTest, NewLimitsKeepWhatIsInsideCounted) {
  quotas_.SetLimits({{"a", {.max_requests = 5}}});
  const auto inside = quotas_.Enter("a", 1);
  quotas_.SetLimits({{"a", {.max_requests = 1}}});
  EXPECT_FALSE(quotas_.Enter("a", 1).ok());
  quotas_.SetLimits({});
  EXPECT_TRUE(quotas_.Enter("a", 1).ok());
  quotas_.Leave(*inside, 1);
}

TEST_F(TenantQuotasTest, TenantThatLeftIsForgottenWithItsLastRequest) {
  quotas_.SetLimits({{"a", {.max_requests = 5}}, {"b", {.max_requests = 5}}, {"c", {.max_requests = 5}}});
  const auto first = quotas_.Enter("a", 1), second = quotas_.Enter("a", 1), other = quotas_.Enter("b", 1);
  ASSERT_TRUE(first.ok() && second.ok() && other.ok());
  quotas_.SetLimits({{"d", {.max_requests = 5}}});
  EXPECT_EQ(quotas_.size(), 3u) << "c had nothing inside";
  quotas_.Leave(*first, 1);
  EXPECT_EQ(quotas_.size(), 3u);
  quotas_.Leave(*second, 1);
  EXPECT_EQ(quotas_.size(), 2u);
  // One that comes back in between stays.
  quotas_.SetLimits({{"b", {.max_requests = 1}}});
  EXPECT_FALSE(quotas_.Enter("b", 1).ok()) << "what was inside stayed counted";
  quotas_.Leave(*other, 1);
  EXPECT_TRUE(quotas_.Enter("b", 1).ok());
  EXPECT_EQ(quotas_.size(), 1u);
}

TEST_F(TenantQuotasTest, ReadingTheSameLimitsAgainGivesNoRequests) {
  quotas_.SetLimits({{"a", {.requests_per_second = 1}}});
  EXPECT_TRUE(quotas_.Enter("a", 1).ok());
  quotas_.SetLimits({{"a", {.requests_per_second = 1}}, {"b", {}}});
  EXPECT_FALSE(quotas_.Enter("a", 1).ok());
}

}  // namespace
}  // namespace portico
