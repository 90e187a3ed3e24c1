#include "gtest/gtest.h"
#include "node/servables/served_shard.h"
#include "tests/models/package/group_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

std::unique_ptr<const ServedShard> Serve(const std::string& group, int64_t version, ShardStore& store) {
  const std::string folder = VersionFolderOf(group, 0, 1, version);
  const auto spec = ReadShardPackage(folder);
  EXPECT_TRUE(spec.ok()) << spec.status();
  auto shard = ServedShard::Open(folder, *spec, {.scrub = false}, store, Clock::Real());
  EXPECT_TRUE(shard.ok()) << shard.status();
  return shard.ok() ? *std::move(shard) : nullptr;
}

std::vector<float> Row(const ServedShard& shard, int64_t id) {
  const std::vector<int64_t> ids = {id};
  std::vector<float> out(2);
  EXPECT_TRUE(shard.version().Find("t")->Lookup({.ids = ids}, Pooling::kNone, absl::MakeSpan(out)).ok());
  return out;
}

TEST(ServedShardVersionsTest, VersionsServedSideBySideHaveTheirOwnRowsAndOneBase) {
  const TempFolder folder;
  const std::string group = folder.path() + "/clicks";
  const TableSpec spec{.name = "t", .dim = 2, .id_kind = IdKind::kSparse, .unknown = UnknownId::kZeros};
  ASSERT_TRUE(BuildGroup(group, 1, {{spec, 50}}).ok());
  ASSERT_TRUE(ApplyChanges(group, "t", {{3, 9.0f}, {4, std::nullopt}}).ok());
  ShardStore store;
  const auto one = Serve(group, 1, store), two = Serve(group, 2, store);
  ASSERT_TRUE(one != nullptr && two != nullptr);
  EXPECT_EQ(&one->file(), &two->file());
  EXPECT_EQ(Row(*one, SparseId(3)), RowValues(3, 2));
  EXPECT_EQ(Row(*two, SparseId(3)), std::vector<float>(2, 9.0f));
  EXPECT_EQ(Row(*one, SparseId(4)), RowValues(4, 2));
  EXPECT_EQ(Row(*two, SparseId(4)), std::vector<float>(2, 0.0f));
}

}  // namespace
}  // namespace portico
