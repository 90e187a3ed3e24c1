#include "models/package/group_update.h"

#include <filesystem>
#include <random>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/package/package.h"
#include "tests/models/package/group_builder.h"
#include "tests/testing/fakes.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const TableSpec kDense{.name = "dense", .dim = 3, .unknown = UnknownId::kZeros};
const TableSpec kSparse{
    .name = "sparse", .dim = 4, .id_kind = IdKind::kSparse, .unknown = UnknownId::kZeros, .seed = 2};
const TableSpec kString{.name = "string", .dim = 2, .id_kind = IdKind::kString, .unknown = UnknownId::kZeros};
constexpr size_t kRows = 300;
constexpr size_t kEnd = 500;

class GroupUpdateTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const absl::Status built =
        BuildGroup(group_, 3, {{kDense, kRows}, {kSparse, kRows}, {kString, kRows}}, Sha256("model"));
    ASSERT_TRUE(built.ok()) << built;
  }
  int64_t Apply(ExpectedTable& table, const std::vector<RowChange>& changes) {
    const auto version = ApplyChanges(group_, table.spec().name, changes);
    EXPECT_TRUE(version.ok()) << version.status();
    table.Apply(changes);
    return version.value_or(-1);
  }
  void ExpectAll(std::optional<int64_t> version = {}) {
    const auto group = OpenGroup::Open(group_, version);
    ASSERT_TRUE(group.ok()) << group.status();
    for (const TableLookupSpec& spec : group->version().specs) EXPECT_EQ(spec.source, Sha256("model"));
    for (const ExpectedTable* table : {&dense_, &sparse_, &string_}) {
      EXPECT_EQ(table->FirstDifference(*group, kEnd), std::nullopt) << table->spec().name;
    }
  }
  std::vector<std::string> Hidden() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(group_)) {
      const std::string name = entry.path().filename().string();
      if (name[0] == '.' && name != ".lock" && name != ".compact") names.push_back(name);
    }
    return names;
  }
  static int64_t Rewrite(const std::string& group, const GroupRewriteOptions& options) {
    const auto version = RewriteGroup(group, options);
    EXPECT_TRUE(version.ok()) << version.status();
    return version.value_or(-1);
  }
  /// Some changes of each table, several versions.
  void ApplySome(int versions) {
    for (; versions > 0; --versions) {
      for (ExpectedTable* table : {&sparse_, &string_}) {
        std::vector<RowChange> changes;
        std::map<size_t, bool> rows;
        while (rows.size() < 40) rows[random_() % (kEnd - 50)] = random_() % 4 == 0;
        for (const auto& [row, gone] : rows) {
          changes.push_back({row, gone ? std::nullopt : std::optional<float>(static_cast<float>(random_() % 1000))});
        }
        Apply(*table, changes);
      }
      std::vector<RowChange> changes;
      for (size_t n = 0; n < 20; ++n) changes.push_back({n * 7, static_cast<float>(versions)});
      for (size_t n = 0; n < 5; ++n) changes.push_back({dense_rows_++, static_cast<float>(versions) + 0.5f});
      Apply(dense_, changes);
    }
  }

  const TempFolder folder_;
  const std::string group_ = folder_.path() + "/clicks";
  ExpectedTable dense_{kDense, kRows}, sparse_{kSparse, kRows}, string_{kString, kRows};
  size_t dense_rows_ = kRows;
  std::mt19937 random_{3};
};

TEST_F(GroupUpdateTest, MakesTheNextVersionOfAllShardsAndLeavesTheOldOnesAsTheyAre) {
  ExpectAll();
  const ExpectedTable before = sparse_;
  EXPECT_EQ(Apply(sparse_, {{5, 1.5f}, {6, std::nullopt}, {400, 2.5f}, {499, std::nullopt}}), 2);
  ExpectAll();
  const auto whole = WholeVersions(group_, 3);
  ASSERT_TRUE(whole.ok());
  EXPECT_THAT(*whole, ElementsAre(1, 2));
  const auto old = OpenGroup::Open(group_, 1);
  ASSERT_TRUE(old.ok()) << old.status();
  EXPECT_EQ(before.FirstDifference(*old, kEnd), std::nullopt);
  // The base is the same file.
  for (uint32_t shard = 0; shard < 3; ++shard) {
    EXPECT_TRUE(fs::equivalent(VersionFolderOf(group_, shard, 3, 1) + "/table.shard",
                               VersionFolderOf(group_, shard, 3, 2) + "/table.shard"));
  }
  EXPECT_THAT(Hidden(), IsEmpty());
}

TEST_F(GroupUpdateTest, ManyVersionsOfAllKindsOfIds) {
  ApplySome(4);
  ExpectAll();
  EXPECT_EQ(OpenGroup::Open(group_)->version().version, 13);
}

TEST_F(GroupUpdateTest, ThePackagesDigestIsAnotherWhereTheShardGotRowsAndTheSameElsewhere) {
  Apply(sparse_, {{5, 1.5f}});
  WeightStore store;
  int other = 0;
  for (uint32_t shard = 0; shard < 3; ++shard) {
    const auto one = LoadPackage("s", VersionFolderOf(group_, shard, 3, 1), store);
    const auto two = LoadPackage("s", VersionFolderOf(group_, shard, 3, 2), store);
    ASSERT_TRUE(one.ok() && two.ok()) << two.status();
    other += one->digest == two->digest ? 0 : 1;
  }
  EXPECT_EQ(other, 1);
}

TEST_F(GroupUpdateTest, VersionsOpenInOneProcessShareBaseAndRows) {
  Apply(sparse_, {{5, 1.5f}, {6, 2.5f}, {7, 3.5f}, {8, 4.5f}});
  ShardStore store;
  const auto one = OpenGroup::Open(group_, 1, &store), two = OpenGroup::Open(group_, 2, &store);
  ASSERT_TRUE(one.ok() && two.ok());
  for (size_t shard = 0; shard < 3; ++shard) {
    EXPECT_EQ(&one->shards()[shard]->base(), &two->shards()[shard]->base());
  }
}

TEST_F(GroupUpdateTest, WhatCannotBeAppliedChangesNothing) {
  const auto error = [this](const std::string& table, const std::vector<RowChange>& changes) {
    const absl::Status status = ApplyChanges(group_, table, changes).status();
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(Hidden(), IsEmpty());
    return status.ToString();
  };
  EXPECT_THAT(error("other", {{1, 1.0f}}), HasSubstr("table 'other': not in group"));
  EXPECT_THAT(error("sparse", {}), HasSubstr("got nothing to apply"));
  EXPECT_THAT(error("sparse", {{1, 1.0f}, {1, 2.0f}}), HasSubstr("twice"));
  EXPECT_THAT(error("dense", {{1, std::nullopt}}), HasSubstr("to delete, want none"));
  EXPECT_THAT(error("dense", {{kRows + 1, 1.0f}}), HasSubstr("want all from row 300 on"));
  EXPECT_THAT(error("sparse", {{1, std::numeric_limits<float>::infinity()}}), HasSubstr("want a finite number"));
  const auto whole = WholeVersions(group_, 3);
  EXPECT_THAT(*whole, ElementsAre(1));
  ExpectAll();
}

TEST_F(GroupUpdateTest, OneAtATime) {
  const auto first = GroupUpdate::Begin(group_);
  ASSERT_TRUE(first.ok()) << first.status();
  const absl::Status second = GroupUpdate::Begin(group_).status();
  EXPECT_EQ(second.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(second.message()), HasSubstr("got another apply, compact or reshard at work"));
}

TEST_F(GroupUpdateTest, AVersionThatOneShardLacksDoesNotCount) {
  Apply(sparse_, {{5, 1.5f}});
  fs::rename(VersionFolderOf(group_, 1, 3, 2), folder_.path() + "/gone");
  EXPECT_EQ(OpenGroup::Open(group_)->version().version, 1);
}

TEST_F(GroupUpdateTest, CompactingKeepsEveryRowAndTakesTheDeltasAway) {
  ApplySome(3);
  std::vector<uint64_t> seen;
  GroupRewriteOptions options;
  options.progress = [&](uint64_t done, uint64_t) { seen.push_back(done); };
  EXPECT_EQ(Rewrite(group_, options), 11);
  ExpectAll();
  const auto group = OpenGroup::Open(group_);
  for (const ShardParts& parts : group->version().parts) EXPECT_TRUE(parts.deltas.empty());
  ExpectAll(10);
  ApplySome(1);
  ExpectAll();
}

TEST_F(GroupUpdateTest, OneDeltaOfAllKeepsEveryRowAndTheBases) {
  ApplySome(3);
  GroupRewriteOptions options;
  options.keep_bases = true;
  options.before_tail = [this] { ApplySome(1); };
  EXPECT_EQ(Rewrite(group_, options), 14);
  ExpectAll();
  const auto group = OpenGroup::Open(group_);
  // One of those that were there, one of those that came meanwhile.
  for (const ShardParts& parts : group->version().parts) EXPECT_EQ(parts.deltas.size(), 2u);
  EXPECT_TRUE(fs::equivalent(VersionFolderOf(group_, 0, 3, 1) + "/table.shard",
                             VersionFolderOf(group_, 0, 3, 14) + "/table.shard"));
  ApplySome(1);
  ExpectAll();
}

TEST_F(GroupUpdateTest, CompactingKeepsRowsThatWillExpireInADeltaAndDropsThoseThatHave) {
  FakeClock clock(absl::FromUnixSeconds(1000));
  const auto version = ApplyChanges(group_, "sparse", {{5, 1.5f, 1500}, {6, 2.5f, 900}, {400, 3.5f, 1500}});
  ASSERT_TRUE(version.ok()) << version.status();
  GroupRewriteOptions options;
  options.clock = &clock;
  EXPECT_EQ(Rewrite(group_, options), 3);
  ShardStore store({.clock = &clock});
  const auto group = OpenGroup::Open(group_, {}, &store);
  ASSERT_TRUE(group.ok()) << group.status();
  EXPECT_EQ(group->Row("sparse", 5), std::vector<float>(4, 1.5f));
  EXPECT_EQ(group->Row("sparse", 400), std::vector<float>(4, 3.5f));
  EXPECT_EQ(group->Row("sparse", 6), std::nullopt);
  clock.Advance(absl::Seconds(500));
  EXPECT_EQ(group->Row("sparse", 5), std::nullopt);
  EXPECT_EQ(group->Row("sparse", 400), std::nullopt);
  EXPECT_EQ(group->Row("sparse", 7), RowValues(7, 4));
}

TEST_F(GroupUpdateTest, ReshardingKeepsEveryRowInAnyNumberOfShards) {
  ApplySome(2);
  for (const uint32_t shards : {2u, 4u, 7u, 1u, 3u}) {
    GroupRewriteOptions options;
    options.shards = shards;
    EXPECT_EQ(Rewrite(group_, options), OpenGroup::Open(group_)->version().version) << shards;
    EXPECT_EQ(*ServingShards(group_), shards);
    ExpectAll();
    ApplySome(1);
    ExpectAll();
  }
  EXPECT_THAT(Hidden(), IsEmpty());
}

TEST_F(GroupUpdateTest, WhatIsAppliedWhileRowsAreWrittenFollows) {
  ApplySome(1);
  GroupRewriteOptions options;
  options.shards = 4;
  options.before_tail = [this] { ApplySome(2); };
  EXPECT_EQ(Rewrite(group_, options), 10);
  ExpectAll();
  ApplySome(1);
  options.shards = 0;
  EXPECT_EQ(Rewrite(group_, options), 20);
  ExpectAll();
}

TEST_F(GroupUpdateTest, TwoSetsOfShardsWithoutAWordWhichCountsAreAnError) {
  GroupRewriteOptions options;
  options.shards = 2;
  Rewrite(group_, options);
  fs::remove(group_ + "/current");
  EXPECT_THAT(std::string(ServingShards(group_).status().message()), HasSubstr("got sets of 2 and of 3 shards"));
  folder_.Write("clicks/current", "nonsense\n");
  EXPECT_EQ(ServingShards(group_).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(GroupUpdateTest, ASetThatHasTheVersionIsTakenForItOnlyWhereItsRowsAreTheSame) {
  ApplySome(1);  // version 4
  GroupRewriteOptions two{.shards = 2}, three{.shards = 3};
  ASSERT_EQ(Rewrite(group_, two), 4);
  // Back and forth: nothing is written, since each was made of the other.
  EXPECT_EQ(Rewrite(group_, three), 4);
  EXPECT_EQ(Rewrite(group_, two), 4);
  EXPECT_EQ(*ServingShards(group_), 2u);
  ExpectAll();
  // Both get a version 5, of other rows.
  Apply(sparse_, {{5, 1.5f}});
  ASSERT_TRUE(SetServingShards(group_, 3).ok());
  ASSERT_TRUE(ApplyChanges(group_, "sparse", {{5, 2.5f}}).ok());
  const absl::Status refused = RewriteGroup(group_, two).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("/clicks/0of2' to '"));
  EXPECT_EQ(*ServingShards(group_), 3u);
  EXPECT_EQ(OpenGroup::Open(group_)->Row("sparse", 5), std::vector<float>(4, 2.5f));
}

TEST_F(GroupUpdateTest, MessagesAndReportsNameDenseIdsAsCallersKnowThem) {
  EXPECT_THAT(ApplyChanges(group_, "dense", {{250, 1.0f}, {250, 2.0f}}).status().ToString(),
              HasSubstr("got id '250' twice"));
  EXPECT_THAT(ApplyChanges(group_, "dense", {{250, std::nullopt}}).status().ToString(),
              HasSubstr("got id 250 to delete"));
  ASSERT_TRUE(BuildGroup(folder_.path() + "/empty", 2, {{kDense, 0}}).ok());
  EXPECT_THAT(ApplyChanges(folder_.path() + "/empty", "dense", {{static_cast<size_t>(-3), 1.0f}}).status().ToString(),
              HasSubstr("got id -3, want one of its 0 rows"));
}

TEST_F(GroupUpdateTest, ShardsOfAnotherNumberThatAreBuiltLeaveThoseThatServe) {
  ASSERT_TRUE(BuildGroup(group_, 5, {{kDense, 20}}).ok());
  EXPECT_EQ(*ServingShards(group_), 3u);
  ExpectAll();
}

TEST_F(GroupUpdateTest, WithoutDeltasThereIsNothingToCompact) {
  GroupRewriteOptions keep;
  keep.keep_bases = true;
  EXPECT_EQ(Rewrite(group_, {}), 1);
  EXPECT_EQ(Rewrite(group_, keep), 1);
  ApplySome(1);
  const int64_t compacted = Rewrite(group_, {});
  EXPECT_EQ(Rewrite(group_, {}), compacted);
  EXPECT_EQ(WholeVersions(group_, 3)->back(), compacted);
  ExpectAll();
}

TEST_F(GroupUpdateTest, CompactedMeanwhileMeansToRunAgain) {
  ApplySome(1);
  GroupRewriteOptions options;
  options.shards = 2;
  // Only one can be at work; that there are two none the less takes another file of that name.
  options.before_tail = [this] {
    EXPECT_EQ(RewriteGroup(group_, {}).status().code(), absl::StatusCode::kFailedPrecondition);
    fs::remove(group_ + "/.compact");
    Rewrite(group_, {});
  };
  EXPECT_EQ(RewriteGroup(group_, options).status().code(), absl::StatusCode::kAborted);
  EXPECT_EQ(*ServingShards(group_), 3u);
  EXPECT_THAT(Hidden(), IsEmpty());
  options.before_tail = [] {};
  Rewrite(group_, options);
  ExpectAll();
}

}  // namespace
}  // namespace portico
