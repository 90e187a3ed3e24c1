#include "embedding/shard_map.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace portico {
namespace {

class ShardMapTest : public testing::TestWithParam<uint32_t> {};

TEST_P(ShardMapTest, DenseIdsAreRowsOfTheirShardWithoutGaps) {
  const ShardMap map(GetParam());
  for (const uint64_t rows : {uint64_t{0}, uint64_t{1}, uint64_t{4095}, uint64_t{4096}, uint64_t{10'000}}) {
    std::vector<uint64_t> next(map.shards(), 0);
    for (uint64_t id = 0; id < rows; ++id) {
      const uint32_t shard = map.ShardOfDense(id);
      ASSERT_LT(shard, map.shards());
      ASSERT_EQ(map.LocalRow(id), next[shard]++) << "id " << id;
      ASSERT_EQ(map.DenseId(shard, map.LocalRow(id)), id);
    }
    for (uint32_t shard = 0; shard < map.shards(); ++shard) {
      EXPECT_EQ(map.RowsOf(shard, rows), next[shard]) << "shard " << shard << " of " << rows << " rows";
    }
  }
}

TEST_P(ShardMapTest, HashedIdsSpreadEvenly) {
  const ShardMap map(GetParam());
  constexpr int kIds = 200'000;
  std::vector<int> sparse(map.shards(), 0);
  std::vector<int> strings(map.shards(), 0);
  for (int id = 0; id < kIds; ++id) {
    ++sparse.at(map.ShardOfSparse(id - kIds / 2));
    ++strings.at(map.ShardOfString(absl::StrCat("user-", id)));
  }
  const double mean = static_cast<double>(kIds) / map.shards();
  for (uint32_t shard = 0; shard < map.shards(); ++shard) {
    // 4,096 buckets over so many shards differ by one bucket; six deviations on top.
    const double slack = mean * map.shards() / ShardMap::kBuckets + 6 * std::sqrt(mean);
    EXPECT_NEAR(sparse[shard], mean, slack);
    EXPECT_NEAR(strings[shard], mean, slack);
  }
}

INSTANTIATE_TEST_SUITE_P(Shards, ShardMapTest, testing::Values(1, 2, 3, 4, 7, 64, 1000, 1024));

TEST(ShardMapFormatTest, StaysAsItIs) {
  const ShardMap map(5);
  EXPECT_EQ(map.ShardOfDense(4097), 1u);
  EXPECT_EQ(ShardName("clicks", 1, 4), "clicks.1of4");
  std::string sparse;
  std::string strings;
  for (int id = 0; id < 8; ++id) {
    absl::StrAppend(&sparse, ShardMap(1024).ShardOfSparse(id), " ");
    absl::StrAppend(&strings, ShardMap(1024).ShardOfString(absl::StrCat(id)), " ");
  }
  EXPECT_EQ(sparse, "538 226 688 214 379 695 418 301 ");
  EXPECT_EQ(strings, "727 933 778 163 119 736 71 668 ");
}

}  // namespace
}  // namespace portico
