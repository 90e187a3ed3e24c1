#include "models/package/folder_transaction.h"

#include <filesystem>

#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

/// Goes into a folder, and back at the end.
class WorkingFolder {
 public:
  explicit WorkingFolder(const fs::path& folder) : before_(fs::current_path()) { fs::current_path(folder); }
  ~WorkingFolder() { fs::current_path(before_); }

 private:
  const fs::path before_;
};

TEST(FolderTransactionTest, FoldersBesideTheWorkingFoldersOwnAreCommitted) {
  const TempFolder folder;
  const WorkingFolder here(folder.path());
  for (const char* const path : {"2", "deep/3"}) {
    FolderTransaction transaction;
    ASSERT_TRUE(transaction.Begin(path).ok());
    const absl::Status committed = transaction.Commit();
    EXPECT_TRUE(committed.ok()) << committed;
    EXPECT_TRUE(fs::is_directory(path));
  }
}

TEST(FolderTransactionTest, WhatIsNotCommittedLeavesNothing) {
  const TempFolder folder;
  const WorkingFolder here(folder.path());
  {
    FolderTransaction transaction;
    ASSERT_TRUE(transaction.Begin("2").ok());
    ASSERT_TRUE(transaction.Begin("deep/3").ok());
  }
  EXPECT_TRUE(fs::is_empty("."));
}

TEST(FolderTransactionTest, WhatKilledOnesLeftGoesWithTheNextAndWhatIsUnderWayStays) {
  const TempFolder folder;
  folder.Write(".1.portico-a1B2c3/model.onnx", "half");
  folder.Write(".2.backup/model.onnx", "somebody's own");
  FolderTransaction other;
  const auto under_way = other.Begin(fs::path(folder.path()) / "2");
  ASSERT_TRUE(under_way.ok()) << under_way.status();
  EXPECT_FALSE(fs::exists(folder.path() + "/.1.portico-a1B2c3"));
  FolderTransaction transaction;
  ASSERT_TRUE(transaction.Begin(fs::path(folder.path()) / "3").ok());
  EXPECT_TRUE(fs::is_directory(*under_way));
  EXPECT_TRUE(transaction.Commit().ok());
  EXPECT_TRUE(other.Commit().ok());
  EXPECT_TRUE(fs::is_directory(folder.path() + "/2"));
  EXPECT_TRUE(fs::exists(folder.path() + "/.2.backup/model.onnx"));
}

}  // namespace
}  // namespace portico
