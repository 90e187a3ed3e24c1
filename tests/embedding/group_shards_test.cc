#include "embedding/group_shards.h"

#include <filesystem>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class GroupShardsTest : public ::testing::Test {
 protected:
  void Add(uint32_t shard, uint32_t shards) const {
    std::filesystem::create_directories(ShardPathOf(folder_.path(), shard, shards));
  }
  absl::StatusOr<uint32_t> Serving() const { return ServingShards(folder_.path()); }
  std::string Error() const { return std::string(Serving().status().message()); }

  const TempFolder folder_;
};

TEST_F(GroupShardsTest, TheOnlySetServes) {
  EXPECT_THAT(Error(), HasSubstr("got no shard"));
  Add(0, 3);
  Add(2, 3);
  EXPECT_THAT(Error(), AllOf(HasSubstr("1of3'"), HasSubstr("want one for each of 3 shards")));
  Add(1, 3);
  // What is none does not count.
  for (const char* name : {"3of3", "00of2", "of2", "1of", "xof2", "1of2000", ".staging"}) {
    std::filesystem::create_directories(folder_.File(name));
  }
  EXPECT_EQ(*Serving(), 3u);
}

TEST_F(GroupShardsTest, OfSeveralSetsTheCurrentOneServes) {
  for (uint32_t k = 0; k < 2; ++k) Add(k, 2);
  ASSERT_EQ(SetServingShards(folder_.path(), 2), absl::OkStatus());
  Add(0, 4);
  EXPECT_EQ(*Serving(), 2u);
  for (uint32_t k = 1; k < 4; ++k) Add(k, 4);
  EXPECT_EQ(*Serving(), 2u);
  ASSERT_EQ(SetServingShards(folder_.path(), 4), absl::OkStatus());
  EXPECT_EQ(*Serving(), 4u);
  ASSERT_EQ(SetServingShards(folder_.path(), 5), absl::OkStatus());
  EXPECT_THAT(Error(), HasSubstr("0of5'"));
  folder_.Write("current", "many\n");
  EXPECT_THAT(Error(), AllOf(HasSubstr("current': got 'many"), HasSubstr("want the number of shards")));
  std::filesystem::remove(folder_.File("current"));
  EXPECT_THAT(Error(), AllOf(HasSubstr("sets of 2 and of 4 shards"), HasSubstr("write it or remove one")));
}

}  // namespace
}  // namespace portico
