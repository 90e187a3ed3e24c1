#include "cli/table_files.h"

#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/package/group_version.h"
#include "tests/models/package/group_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

/// A group of two shards whose newest version has a delta in each.
class TableFilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const TableSpec users{.name = "users", .dim = 4};
    ASSERT_EQ(BuildGroup(group_, 2, {{users, 2000}}), absl::OkStatus());
    ASSERT_TRUE(ApplyChanges(group_, "users", {{3, 1.0f}, {4, 2.0f}}).ok());
    auto newest = GroupVersion::Newest(group_);
    ASSERT_TRUE(newest.ok()) << newest.status();
    parts_ = newest->parts;
    ASSERT_EQ(parts_[1].deltas.size(), 1u);
  }
  static void Damage(const std::string& path, std::streamoff at) {
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(at);
    file.write("????", 4);
    ASSERT_TRUE(file.good());
  }
  std::string Printed(const std::string& path, absl::Status (*run)(const std::string&)) {
    ::testing::internal::CaptureStdout();
    status_ = run(path);
    return ::testing::internal::GetCapturedStdout();
  }
  std::string VersionFolder(int shard) const { return VersionFolderOf(group_, static_cast<uint32_t>(shard), 2, 2); }

  const TempFolder folder_;
  const std::string group_ = folder_.path() + "/clicks";
  std::vector<ShardParts> parts_;
  absl::Status status_;
};

TEST_F(TableFilesTest, AGroupIsAllFilesOfItsNewestVersion) {
  const std::string text = Printed(group_, VerifyTableFiles);
  EXPECT_EQ(status_, absl::OkStatus());
  EXPECT_THAT(text, HasSubstr("version 2, 2 shards"));
  for (const ShardParts& parts : parts_) {
    EXPECT_THAT(text, HasSubstr(parts.base_path + ": all "));
    EXPECT_THAT(text, HasSubstr(parts.deltas[0].path + ": all 1 rows are as they were written"));
  }
  const std::string inspected = Printed(group_, InspectTableFiles);
  EXPECT_EQ(status_, absl::OkStatus());
  EXPECT_THAT(inspected, HasSubstr(parts_[1].base_path + ": shard 1 of 2"));
  EXPECT_THAT(inspected, HasSubstr(parts_[1].deltas[0].path + ": rows on top"));
}

TEST_F(TableFilesTest, ABrokenDeltaIsFoundInGroupAndVersionFolder) {
  Damage(parts_[1].deltas[0].path, 40);
  for (const std::string& path : {group_, VersionFolder(1)}) {
    EXPECT_THAT(Printed(path, VerifyTableFiles), HasSubstr("blocks are as they were written"));
    EXPECT_EQ(status_.code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(status_.message()),
                AllOf(HasSubstr("files are broken"), HasSubstr("got digest"), HasSubstr(parts_[1].deltas[0].path)));
  }
  EXPECT_EQ(VerifyTableFiles(VersionFolder(0)), absl::OkStatus());
  // By itself, too.
  EXPECT_EQ(VerifyTableFiles(parts_[1].deltas[0].path).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(VerifyTableFiles(parts_[0].deltas[0].path), absl::OkStatus());
}

TEST_F(TableFilesTest, OneOfTwoSuperblocksThatIsGoneIsSaid) {
  for (const int at : {0, 4096}) {
    const ShardParts& parts = parts_[at == 0 ? 0 : 1];
    Damage(parts.base_path, at + 100);
    const absl::Status status = VerifyTableFiles(parts.base_path);
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrCat("bytes ", at, " to ", at + 4096)));
    EXPECT_THAT(std::string(status.message()), HasSubstr("the other one serves; restore the file"));
    ::testing::internal::CaptureStderr();
    EXPECT_EQ(InspectTableFiles(parts.base_path), absl::OkStatus());
    EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("one of two superblocks"));
  }
}

TEST_F(TableFilesTest, AFolderOfNeitherKindIsRefused) {
  const absl::Status status = VerifyTableFiles(folder_.Folder("empty"));
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr("as the folder of a group"));
}

}  // namespace
}  // namespace portico
