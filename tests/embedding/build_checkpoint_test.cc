#include "embedding/build_checkpoint.h"

#include <filesystem>
#include <string>

#include "embedding/shard_map.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

BuildCheckpoint Example() {
  BuildCheckpoint checkpoint;
  checkpoint.facts = {{"--type", "int8"}, {"--raw", ""}};
  checkpoint.position = {.rows = 12, .bytes = uint64_t{1} << 40, .lines = 13};
  checkpoint.done = 7;
  checkpoint.all = 9;
  checkpoint.shards = {{.rows = 5, .strings_bytes = 70, .checksum = 0xdeadbeef}, {.rows = 7}};
  return checkpoint;
}

TEST(BuildCheckpointTest, ItIsReadAsItWasWritten) {
  const TempFolder folder;
  EXPECT_TRUE(absl::IsNotFound(BuildCheckpoint::Read(folder.path()).status()));
  ASSERT_TRUE(Example().Write(folder.path()).ok());
  const auto read = BuildCheckpoint::Read(folder.path());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->facts, Example().facts);
  EXPECT_EQ(read->position, Example().position);
  EXPECT_EQ(read->done, 7u);
  EXPECT_EQ(read->all, 9u);
  ASSERT_EQ(read->shards.size(), 2u);
  EXPECT_EQ(read->shards[0].rows, 5u);
  EXPECT_EQ(read->shards[0].strings_bytes, 70u);
  EXPECT_EQ(read->shards[0].checksum, 0xdeadbeefu);
  ASSERT_TRUE(BuildCheckpoint::Remove(folder.path()).ok());
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(BuildCheckpointTest, EachChangedOrMissingByteIsNoticed) {
  const std::string good = Example().Encode();
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 1);
    EXPECT_TRUE(absl::IsDataLoss(BuildCheckpoint::Decode(bad).status())) << i;
    EXPECT_TRUE(absl::IsDataLoss(BuildCheckpoint::Decode(good.substr(0, i)).status())) << i;
  }
}

TEST(BuildCheckpointTest, AFileThatIsTooLongIsNoCheckpoint) {
  const TempFolder folder;
  folder.Write(kCheckpointFile, std::string(BuildCheckpoint::kMaxBytes + 1, 'x'));
  const absl::Status status = BuildCheckpoint::Read(folder.path()).status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
}

TEST(BuildCheckpointTest, WhatNoBuildWritesIsRefused) {
  BuildCheckpoint checkpoint = Example();
  checkpoint.shards.clear();
  EXPECT_THAT(std::string(BuildCheckpoint::Decode(checkpoint.Encode()).status().message()), HasSubstr("got 0 shards"));
  checkpoint.shards.resize(ShardMap::kMaxShards + 1);
  EXPECT_THAT(std::string(BuildCheckpoint::Decode(checkpoint.Encode()).status().message()),
              HasSubstr("got 1025 shards"));
  checkpoint = Example();
  checkpoint.position.rows = 13;
  EXPECT_THAT(std::string(BuildCheckpoint::Decode(checkpoint.Encode()).status().message()),
              HasSubstr("got 12 rows in the shards, want 13"));
  checkpoint.shards[0].rows = kMaxTableRows + 1;
  checkpoint.position.rows = kMaxTableRows + 8;
  EXPECT_TRUE(absl::IsDataLoss(BuildCheckpoint::Decode(checkpoint.Encode()).status()));
}

}  // namespace
}  // namespace portico
