#include "base/file.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "base/digest.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

TEST(FileTest, WrittenFileIsReadBackAndMapped) {
  TempFolder folder;
  const std::string path = folder.path() + "/file";
  ASSERT_TRUE(WriteFileAtomically(path, "one").ok());
  ASSERT_TRUE(WriteFileAtomically(path, "two!").ok());
  EXPECT_EQ(*ReadFile(path, 4), "two!");
  const auto mapped = MappedFile::Open(path);
  ASSERT_TRUE(mapped.ok());
  EXPECT_EQ((*mapped)->bytes(), "two!");
}

TEST(FileTest, NothingIsLeftBehindWhenAWriteFails) {
  TempFolder folder;
  const std::string path = folder.path() + "/target";
  ASSERT_EQ(mkdir(path.c_str(), 0700), 0);
  ASSERT_EQ(mkdir((path + "/inside").c_str(), 0700), 0);
  EXPECT_FALSE(WriteFileAtomically(path, "x").ok());
  int entries = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder.path())) ++entries;
  EXPECT_EQ(entries, 1);
}

TEST(FileTest, ErrorsNameTheFile) {
  TempFolder folder;
  const auto missing = ReadFile(folder.path() + "/none", 10);
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_NE(missing.status().message().find("/none"), std::string::npos);
  ASSERT_TRUE(WriteFileAtomically(folder.path() + "/long", "0123456789").ok());
  EXPECT_EQ(ReadFile(folder.path() + "/long", 9).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadFile(folder.path(), 9).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(MappedFile::Open(folder.path()).ok());
}

TEST(FileTest, UniqueFoldersAreNewAndPrivate) {
  TempFolder folder;
  const auto one = MakeUniqueFolder(folder.path() + "/run-"), other = MakeUniqueFolder(folder.path() + "/run-");
  ASSERT_TRUE(one.ok() && other.ok()) << one.status() << other.status();
  EXPECT_NE(*one, *other);
  EXPECT_EQ(one->find(folder.path() + "/run-"), 0u);
  EXPECT_EQ(std::filesystem::status(*one).permissions(), std::filesystem::perms::owner_all);
  EXPECT_EQ(MakeUniqueFolder(folder.path() + "/none/run-").status().code(), absl::StatusCode::kNotFound);
}

TEST(FileTest, TemporaryFoldersAreWhereSuchAre) {
  const auto made = MakeTemporaryFolder("portico-file-test-");
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(std::filesystem::path(*made).parent_path(), std::filesystem::temp_directory_path());
  EXPECT_TRUE(std::filesystem::remove(*made));
}

TEST(DigestTest, MatchesTheKnownValueOfSha256) {
  EXPECT_EQ(Sha256("abc").Hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(DigestTest, PiecesAreToldApart) {
  EXPECT_NE(Hasher().Add("ab").Add("c").Finish(), Hasher().Add("a").Add("bc").Finish());
  EXPECT_EQ(Hasher().Add("ab").Add("c").Finish(), Hasher().Add("ab").Add("c").Finish());
}

TEST(DigestTest, HexIsReadBackAndCheckedOnTheWay) {
  const Digest digest = Sha256("x");
  EXPECT_EQ(*Digest::FromHex(digest.Hex()), digest);
  EXPECT_EQ(*Digest::FromBytes(digest.View()), digest);
  EXPECT_TRUE(Digest::FromBytes("")->empty());
  EXPECT_FALSE(Digest::FromHex("12").ok());
  EXPECT_FALSE(Digest::FromHex(std::string(64, 'g')).ok());
  EXPECT_FALSE(Digest::FromBytes("short").ok());
}

}  // namespace
}  // namespace portico
