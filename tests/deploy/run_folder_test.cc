#include "deploy/run_folder.h"

#include <sys/stat.h>

#include <filesystem>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

Revision TwoNodes() {
  Revision revision;
  revision.models = {{"m", "/m"}};
  revision.nodes = {{.name = "hub", .replica = 1, .serve = {"m"}},
                    {.name = "apps", .serve = {"m"}, .peer = "zmq+tcp://127.0.0.1:9000"}};
  return revision;
}

TEST(RunFolderTest, PointerLeadsToTheNewestRevisionAndOldOnesStay) {
  const TempFolder temp;
  const auto folder = RunFolder::Open(temp.path() + "/a/run");
  ASSERT_TRUE(folder.ok()) << folder.status();
  Revision revision = TwoNodes();
  revision.mesh = "first";
  ASSERT_TRUE((*folder)->Publish(&revision).ok());
  EXPECT_EQ(revision.number, 1u);
  revision.mesh = "second";
  ASSERT_TRUE((*folder)->Publish(&revision).ok());
  EXPECT_EQ(revision.number, 2u);
  const auto current = ReadRevision((*folder)->current());
  ASSERT_TRUE(current.ok()) << current.status();
  EXPECT_EQ(current->mesh, "second");
  EXPECT_EQ(ReadRevision((*folder)->path() + "/revisions/1.yaml")->mesh, "first");
}

TEST(RunFolderTest, NodesWithoutAPeerGetASocketInTheFolder) {
  const TempFolder temp;
  const auto folder = RunFolder::Open(temp.path() + "/run");
  ASSERT_TRUE(folder.ok());
  Revision revision = TwoNodes();
  ASSERT_TRUE((*folder)->AssignPeers(&revision).ok());
  EXPECT_EQ(revision.nodes[0].peer, "unix://" + temp.path() + "/run/hub-1.sock");
  EXPECT_EQ(revision.nodes[1].peer, "zmq+tcp://127.0.0.1:9000");
  EXPECT_EQ((*folder)->StatusFile(revision.nodes[0]), temp.path() + "/run/status/hub-1.json");
}

TEST(RunFolderTest, SocketPathThatUnixCannotTakeIsRefused) {
  const TempFolder temp;
  const auto folder = RunFolder::Open(temp.path() + "/" + std::string(100, 'x'));
  ASSERT_TRUE(folder.ok());
  Revision revision = TwoNodes();
  const absl::Status status = (*folder)->AssignPeers(&revision);
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("want at most 107; give a shorter --run-folder"));
}

TEST(RunFolderTest, OneSupervisorPerFolder) {
  const TempFolder temp;
  auto first = RunFolder::Open(temp.path());
  ASSERT_TRUE(first.ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(RunFolder::Open(temp.path()).status()));
  first->reset();
  EXPECT_TRUE(RunFolder::Open(temp.path()).ok());
}

TEST(RunFolderTest, TemporaryFolderIsPrivateAndRemovedAtTheEnd) {
  auto folder = RunFolder::Open("");
  ASSERT_TRUE(folder.ok());
  const std::string path = (*folder)->path();
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  folder->reset();
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace portico
