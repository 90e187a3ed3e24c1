#include "embedding/staging_folder.h"

#include <filesystem>
#include <optional>
#include <string>
#include <thread>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

class StagingFolderTest : public ::testing::Test {
 protected:
  const TempFolder folder_;
  const std::string path_ = folder_.path() + "/users.unfinished";
};

TEST_F(StagingFolderTest, WhatBuildsWriteIsTakenOverAndRemoved) {
  for (const char* name : {"0.rows", "0.strings", "0.whole", "12.rows", "checkpoint.tmp.77", "1of2/table.shard"})
    folder_.Write(absl::StrCat("users.unfinished/", name), "x");
  folder_.Folder("users.unfinished/0of2");
  ASSERT_EQ(StagingFolder::Open(path_).status(), absl::OkStatus());
  EXPECT_FALSE(fs::exists(path_));
}

TEST_F(StagingFolderTest, WhoHasItIsWaitedForAndNamedInTheEnd) {
  std::optional<StagingFolder> other = StagingFolder::TryLock(folder_.Folder("users.unfinished"));
  ASSERT_TRUE(other.has_value());
  const absl::Status refused = StagingFolder::Open(path_, absl::ZeroDuration()).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("another build at work"));
  std::thread lets_go([&other] {
    absl::SleepFor(absl::Milliseconds(50));
    // The folder goes, too.
    other.reset();
  });
  const auto open = StagingFolder::Open(path_, absl::Seconds(60));
  EXPECT_EQ(open.status(), absl::OkStatus());
  EXPECT_TRUE(fs::exists(path_));
  lets_go.join();
}

TEST_F(StagingFolderTest, ACheckpointKeepsIt) {
  folder_.Write("users.unfinished/0.rows", "x");
  folder_.Write("users.unfinished/checkpoint", "x");
  ASSERT_EQ(StagingFolder::Open(path_).status(), absl::OkStatus());
  EXPECT_TRUE(fs::exists(path_ + "/0.rows"));
}

TEST_F(StagingFolderTest, WhatNoBuildWroteIsRefusedAndStays) {
  for (const char* name : {"notes.txt", "rows", ".rows", "a.rows", "0.rows.old", "0.rows/x", "users",
                           "0of2/1/table.shard", "2of2/x", ".hidden"}) {
    SCOPED_TRACE(name);
    folder_.Write("users.unfinished/0.rows", "");
    if (absl::string_view(name) == "0.rows/x") fs::remove(path_ + "/0.rows");
    folder_.Write(absl::StrCat("users.unfinished/", name), "x");
    const absl::Status status = StagingFolder::Open(path_).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("users.unfinished': got '"), HasSubstr("move it")));
    EXPECT_TRUE(fs::exists(path_ + "/" + name));
    // Nor does a writer that cleans up take it.
    EXPECT_TRUE(StagingFolder::TryLock(path_).has_value());
    EXPECT_TRUE(fs::exists(path_ + "/" + name));
    fs::remove_all(path_);
  }
}

TEST_F(StagingFolderTest, WhatCameWhileItWasOpenStays) {
  {
    const auto open = StagingFolder::Open(path_);
    ASSERT_TRUE(open.ok()) << open.status();
    folder_.Write("users.unfinished/notes.txt", "x");
  }
  EXPECT_EQ(folder_.Read("users.unfinished/notes.txt"), "x");
}

}  // namespace
}  // namespace portico
