#include "deploy/restart_delay.h"

#include "gtest/gtest.h"

namespace portico {
namespace {

TEST(RestartDelayTest, DoublesUpToTenSeconds) {
  RestartDelay delay;
  EXPECT_EQ(delay.Next(absl::ZeroDuration()), absl::Milliseconds(100));
  EXPECT_EQ(delay.Next(absl::ZeroDuration()), absl::Milliseconds(200));
  for (int i = 0; i < 20; ++i) delay.Next(absl::Seconds(9));
  EXPECT_EQ(delay.Next(absl::ZeroDuration()), absl::Seconds(10));
}

TEST(RestartDelayTest, BeginsAgainAfterAHealthyRun) {
  RestartDelay delay;
  for (int i = 0; i < 20; ++i) delay.Next(absl::ZeroDuration());
  EXPECT_EQ(delay.Next(absl::Seconds(10)), absl::Milliseconds(100));
  EXPECT_EQ(delay.Next(absl::ZeroDuration()), absl::Milliseconds(200));
}

}  // namespace
}  // namespace portico
