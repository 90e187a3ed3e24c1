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

}  // namespace
}  // namespace portico
