#include "base/claimed_folder.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <optional>
#include <string>

#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

class ClaimedFolderTest : public ::testing::Test {
 protected:
  std::string prefix() const { return folder_.path() + "/.2.portico-"; }
  size_t Entries() const {
    size_t entries = 0;
    for (const auto& entry : fs::directory_iterator(folder_.path())) entries += entry.exists() ? 1 : 0;
    return entries;
  }

  TempFolder folder_;
};

TEST_F(ClaimedFolderTest, WhatSomebodyHasStays) {
  std::optional<ClaimedFolder> own = *ClaimedFolder::Create(prefix());
  const fs::path path = own->path();
  EXPECT_FALSE(ClaimedFolder::TryClaim(path).has_value());
  ClaimedFolder::RemoveAbandoned(folder_.path(), ".portico-");
  EXPECT_TRUE(fs::is_directory(path));
  // Moved, it is still somebody's.
  std::optional<ClaimedFolder> moved = std::move(*own);
  own.reset();
  ClaimedFolder::RemoveAbandoned(folder_.path(), ".portico-");
  EXPECT_TRUE(fs::is_directory(path));
  moved.reset();
  EXPECT_TRUE(fs::is_directory(path));
  EXPECT_TRUE(ClaimedFolder::TryClaim(path).has_value());
  ClaimedFolder::RemoveAbandoned(folder_.path(), ".portico-");
  EXPECT_FALSE(fs::exists(path));
}

TEST_F(ClaimedFolderTest, WhatAKilledProcessHadIsRemovedWithAllThatIsInIt) {
  const pid_t child = fork();
  if (child == 0) {
    const auto claimed = ClaimedFolder::Create(prefix());
    if (claimed.ok()) fs::create_directories(claimed->path() / "assets");
    raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(Entries(), 1u);
  ClaimedFolder::RemoveAbandoned(folder_.path(), ".portico-");
  EXPECT_EQ(Entries(), 0u);
}

TEST_F(ClaimedFolderTest, WhatItDidNotMakeStays) {
  for (const char* name : {".2.backup", ".2.portico-", ".2.portico-12345", ".2.portico-1234567", "portico-abc.ef"})
    folder_.Folder(name);
  folder_.Write(".2.portico-file12", "no folder");
  folder_.Folder("elsewhere/kept");
  fs::create_directory_symlink(folder_.path() + "/elsewhere", folder_.path() + "/.2.portico-link12");
  const size_t before = Entries();
  ClaimedFolder::RemoveAbandoned(folder_.path(), ".portico-");
  EXPECT_EQ(Entries(), before);
  EXPECT_TRUE(fs::exists(folder_.path() + "/elsewhere/kept"));
  // Nothing there is no error.
  ClaimedFolder::RemoveAbandoned(folder_.path() + "/nowhere", ".portico-");
  EXPECT_FALSE(ClaimedFolder::TryClaim(folder_.path() + "/nowhere").has_value());
  EXPECT_FALSE(ClaimedFolder::Create(folder_.path() + "/nowhere/x").ok());
}

}  // namespace
}  // namespace portico
