#include "node/servables/servable_stats.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

TEST(ServableStatsTest, NothingAtFirst) {
  const ServableStats stats;
  const auto read = stats.Read();
  EXPECT_EQ(read.succeeded.count + read.failed.count + read.rows + read.runs, 0);
  EXPECT_TRUE(read.batch_sizes.empty());
}

TEST(ServableStatsTest, RequestsCountOnceAndRowsOnlyWhenAnswered) {
  ServableStats stats;
  const absl::Time now = absl::FromUnixSeconds(1000);
  stats.RequestDone(true, absl::Milliseconds(2), 5, now);
  stats.RequestDone(false, absl::Milliseconds(3), 7, now + absl::Seconds(1));
  const auto read = stats.Read();
  EXPECT_EQ(read.succeeded.count, 1);
  EXPECT_EQ(read.succeeded.time, absl::Milliseconds(2));
  EXPECT_EQ(read.failed.time, absl::Milliseconds(3));
  EXPECT_EQ(read.rows, 5);
  EXPECT_EQ(read.last_request, now + absl::Seconds(1));
}

TEST(ServableStatsTest, SizesAreExactToALimitAndPowersOfTwoBeyond) {
  ServableStats stats;
  for (const int64_t rows : {0, 1, 1, 128, 129, 256, 257, 1 << 20, (1 << 20) + 1}) {
    stats.OnRun({.rows = rows, .calls = 2, .queued = absl::Microseconds(3), .time = absl::Microseconds(10)});
  }
  const auto read = stats.Read();
  EXPECT_EQ(read.runs, 9);
  EXPECT_EQ(read.queued.count, 18);
  EXPECT_EQ(read.queued.time, absl::Microseconds(27));
  EXPECT_EQ(read.computed.time, absl::Microseconds(180));
  std::vector<std::pair<int64_t, uint64_t>> sizes;
  for (const auto& size : read.batch_sizes) sizes.emplace_back(size.rows, size.runs.count);
  EXPECT_THAT(sizes, testing::ElementsAre(testing::Pair(0, 1), testing::Pair(1, 2), testing::Pair(128, 1),
                                          testing::Pair(256, 2), testing::Pair(512, 1), testing::Pair(1 << 20, 1),
                                          testing::Pair(1 << 21, 1)));
}

}  // namespace
}  // namespace portico
