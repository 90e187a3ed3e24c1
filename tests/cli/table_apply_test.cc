#include "cli/table_apply.h"

#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/npy_bytes.h"
#include "tests/models/package/group_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

class TableApplyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const TableSpec sparse{.name = "sparse", .dim = 2, .id_kind = IdKind::kSparse, .unknown = UnknownId::kZeros};
    const TableSpec string{.name = "string", .dim = 2, .id_kind = IdKind::kString, .unknown = UnknownId::kZeros};
    ASSERT_TRUE(BuildGroup(apply_.group, 2, {{sparse, 20}, {string, 20}}).ok());
    apply_.table = "sparse";
    apply_.upserts = folder_.Write("rows.npy", Npy<float>("<f4", "(3, 2)", {1, 1, 2, 2, 3, 3}));
    apply_.ids = folder_.Write("ids.npy", Npy<int64_t>("<i8", "(3,)", {SparseId(4), SparseId(30), SparseId(5)}));
  }
  std::string Error() {
    const absl::Status status = ApplyToTable(apply_, absl::FromUnixSeconds(1000)).status();
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(OpenGroup::Open(apply_.group)->version().version, 1);
    return status.ToString();
  }

  const TempFolder folder_;
  TableApply apply_{.group = folder_.path() + "/clicks"};
};

TEST_F(TableApplyTest, UpsertsAndDeletes) {
  apply_.deletes = folder_.Write("gone.npy", Npy<int64_t>("<i8", "(2,)", {SparseId(6), SparseId(99)}));
  const auto applied = ApplyToTable(apply_, absl::Now());
  ASSERT_TRUE(applied.ok()) << applied.status();
  EXPECT_EQ(applied->version, 2);
  EXPECT_EQ(applied->upserts, 3u);
  EXPECT_EQ(applied->deletes, 2u);
  const auto group = OpenGroup::Open(apply_.group);
  ASSERT_TRUE(group.ok()) << group.status();
  EXPECT_EQ(group->Row("sparse", 4), std::vector<float>(2, 1));
  EXPECT_EQ(group->Row("sparse", 30), std::vector<float>(2, 2));
  EXPECT_EQ(group->Row("sparse", 5), std::vector<float>(2, 3));
  EXPECT_EQ(group->Row("sparse", 6), std::nullopt);
  EXPECT_EQ(group->Row("sparse", 7), RowValues(7, 2));
}

TEST_F(TableApplyTest, ABrokenDeltaIsNotHandedOn) {
  ASSERT_TRUE(ApplyToTable(apply_, absl::Now()).ok());
  const auto newest = GroupVersion::Newest(apply_.group);
  ASSERT_TRUE(newest.ok()) << newest.status();
  std::string delta;
  for (const ShardParts& parts : newest->parts) {
    if (!parts.deltas.empty()) delta = parts.deltas[0].path;
  }
  ASSERT_FALSE(delta.empty());
  std::fstream file(delta, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(40);
  file.write("??", 2);
  file.close();
  const absl::Status status = ApplyToTable(apply_, absl::Now()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr(delta), HasSubstr("got digest"), HasSubstr("restore")));
  EXPECT_EQ(GroupVersion::Newest(apply_.group)->version, 2);
}

TEST_F(TableApplyTest, StringIdsAreLines) {
  apply_.table = "string";
  apply_.ids.clear();
  apply_.string_ids = folder_.Write("ids.txt", StringId(1) + "\n" + StringId(2) + "\n" + StringId(50) + "\n");
  apply_.string_deletes = folder_.Write("gone.txt", StringId(3) + "\n");
  ASSERT_TRUE(ApplyToTable(apply_, absl::Now()).ok());
  const auto group = OpenGroup::Open(apply_.group);
  EXPECT_EQ(group->Row("string", 50), std::vector<float>(2, 3));
  EXPECT_EQ(group->Row("string", 3), std::nullopt);
}

TEST_F(TableApplyTest, LinesMayEndInCarriageReturns) {
  apply_.table = "string";
  apply_.ids.clear();
  apply_.string_ids = folder_.Write("ids.txt", StringId(1) + "\r\n" + StringId(2) + "\r\n" + StringId(50));
  ASSERT_TRUE(ApplyToTable(apply_, absl::Now()).ok());
  EXPECT_EQ(OpenGroup::Open(apply_.group)->Row("string", 2), std::vector<float>(2, 2));
  // What cannot be read is no end.
  apply_.upserts = apply_.string_ids = "";
  apply_.string_deletes = folder_.path();
  EXPECT_FALSE(ApplyToTable(apply_, absl::Now()).ok());
}

TEST_F(TableApplyTest, RowsThatExpireDoSoThatLongAfterNow) {
  apply_.expire = absl::Hours(1);
  ASSERT_TRUE(ApplyToTable(apply_, absl::Now() - absl::Minutes(59)).ok());
  EXPECT_EQ(OpenGroup::Open(apply_.group)->Row("sparse", 4), std::vector<float>(2, 1));
  ASSERT_TRUE(ApplyToTable(apply_, absl::Now() - absl::Minutes(61)).ok());
  EXPECT_EQ(OpenGroup::Open(apply_.group)->Row("sparse", 4), std::nullopt);
}

TEST_F(TableApplyTest, WhatDoesNotFitIsRefusedAndNothingIsWritten) {
  const std::string ids = apply_.ids;
  apply_.ids = folder_.Write("few.npy", Npy<int64_t>("<i8", "(2,)", {1, 2}));
  EXPECT_THAT(Error(), HasSubstr("few.npy': got 2, want 3, one for each row"));
  apply_.ids = folder_.Write("many.npy", Npy<int64_t>("<i8", "(4,)", {1, 2, 3, 4}));
  EXPECT_THAT(Error(), HasSubstr("got more than 3, the rows"));
  apply_.ids = folder_.Write("twice.npy", Npy<int64_t>("<i8", "(3,)", {1, 2, 1}));
  EXPECT_THAT(Error(), HasSubstr("got id '1' twice"));
  apply_.ids = "";
  EXPECT_THAT(Error(), HasSubstr("has sparse ids, want --ids"));
  apply_.ids = ids;
  apply_.table = "";
  EXPECT_THAT(Error(), HasSubstr("--table: got none, want one of the 2"));
  apply_.table = "nobody's";
  EXPECT_THAT(Error(), HasSubstr("table 'nobody's': not in group"));
  apply_.table = "sparse";
  apply_.upserts = folder_.Write("wide.npy", Npy<float>("<f4", "(1, 3)", {1, 2, 3}));
  EXPECT_THAT(Error(), HasSubstr("got shape [1,3], want [rows, 2]"));
  apply_.upserts = "";
  EXPECT_THAT(Error(), HasSubstr("got no --upserts and no --deletes"));
  apply_.deletes = ids;
  EXPECT_THAT(Error(), HasSubstr("--expire: got one without --upserts"));
}

}  // namespace
}  // namespace portico
