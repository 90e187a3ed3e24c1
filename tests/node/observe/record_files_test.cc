#include "node/observe/record_files.h"

#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "base/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "node/observe/tf_record.h"
#include "tests/testing/fakes.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::ElementsAre;

class RecordFilesTest : public ::testing::Test {
 protected:
  RecordFilesTest() {
    options_.folder = folder_.path() + "/logs/node";
    options_.file_bytes = 200;
    options_.total_bytes = 500;
  }
  /// A record that takes `bytes` of a file.
  static std::string Record(size_t bytes, char fill) { return std::string(bytes - kTfRecordFrameBytes, fill); }
  std::vector<std::string> Paths() const {
    std::set<std::string> paths;
    for (const auto& entry : std::filesystem::directory_iterator(options_.folder)) paths.insert(entry.path().string());
    return {paths.begin(), paths.end()};
  }
  /// The first letter of each record of each file, oldest file first.
  std::vector<std::string> Contents() const {
    std::vector<std::string> contents;
    for (const std::string& path : Paths()) {
      const std::string bytes = *ReadFile(path, 1 << 20);
      TfRecordReader reader(bytes);
      std::string& letters = contents.emplace_back();
      while (true) {
        const auto record = reader.Next();
        EXPECT_TRUE(record.ok()) << path << ": " << record.status();
        if (!record.ok() || !record->has_value()) break;
        letters += (**record)[0];
      }
    }
    return contents;
  }

  const TempFolder folder_;
  FakeClock clock_;
  RecordFiles::Options options_;
};

TEST_F(RecordFilesTest, AFileIsFollowedByAnotherBySizeAndAge) {
  RecordFiles files(options_, clock_);
  for (const char c : {'a', 'b', 'c'}) ASSERT_TRUE(files.Append(Record(90, c)).ok());
  EXPECT_THAT(Contents(), ElementsAre("ab", "c"));
  clock_.Advance(options_.file_age);
  ASSERT_TRUE(files.Append(Record(90, 'd')).ok());
  EXPECT_THAT(Contents(), ElementsAre("ab", "c", "d"));
  EXPECT_EQ(files.total_bytes(), 360u);
  EXPECT_EQ(std::filesystem::status(options_.folder).permissions(), std::filesystem::perms::owner_all);
}

TEST_F(RecordFilesTest, TheOldestGoWhenAllTogetherAreTooLarge) {
  folder_.Write("logs/node/notes.txt", std::string(1000, 'n'));
  {
    RecordFiles files(options_, clock_);
    for (const char c : {'a', 'b', 'c', 'd'}) ASSERT_TRUE(files.Append(Record(100, c)).ok());
  }
  std::filesystem::remove(options_.folder + "/notes.txt");
  // Those of an earlier process count, too.
  clock_.Advance(absl::Seconds(1));
  RecordFiles files(options_, clock_);
  ASSERT_TRUE(files.Append(Record(100, 'e')).ok());
  EXPECT_THAT(Contents(), ElementsAre("ab", "cd", "e"));
  ASSERT_TRUE(files.Append(Record(100, 'f')).ok());
  EXPECT_THAT(Contents(), ElementsAre("cd", "ef"));
  EXPECT_EQ(files.total_bytes(), 400u);
}

TEST_F(RecordFilesTest, OtherFilesOfTheFolderStay) {
  folder_.Write("logs/node/notes.txt", std::string(1000, 'n'));
  RecordFiles files(options_, clock_);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(files.Append(Record(150, 'a')).ok());
  EXPECT_TRUE(std::filesystem::exists(options_.folder + "/notes.txt"));
  EXPECT_EQ(Paths().size(), 4u);
}

TEST_F(RecordFilesTest, ARecordThatNoFileHoldsIsRefused) {
  RecordFiles files(options_, clock_);
  ASSERT_TRUE(files.Append(Record(200, 'a')).ok());
  EXPECT_EQ(files.Append(Record(201, 'b')).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Contents(), ElementsAre("a"));
}

TEST_F(RecordFilesTest, AFileThatSomebodyRemovesIsFollowedByAnother) {
  RecordFiles files(options_, clock_);
  ASSERT_TRUE(files.Append(Record(50, 'a')).ok());
  std::filesystem::remove_all(options_.folder);
  ASSERT_TRUE(files.Append(Record(50, 'b')).ok());
  EXPECT_THAT(Contents(), ElementsAre("b"));
}

TEST_F(RecordFilesTest, AFolderThatCannotBeMadeIsAnErrorUntilItCan) {
  folder_.Write("logs", "no folder");
  RecordFiles files(options_, clock_);
  EXPECT_FALSE(files.Append(Record(50, 'a')).ok());
  std::filesystem::remove(folder_.path() + "/logs");
  EXPECT_TRUE(files.Append(Record(50, 'b')).ok());
  EXPECT_THAT(Contents(), ElementsAre("b"));
}

/// A limit of the process stands in for a disk that is full: the write stops in the middle of a record.
TEST_F(RecordFilesTest, HalfARecordIsTakenBack) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const absl::Cleanup restore = [&] {
    setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, handler);
  };
  RecordFiles files(options_, clock_);
  ASSERT_TRUE(files.Append(Record(90, 'a')).ok());
  rlimit full = before;
  full.rlim_cur = 130;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &full), 0);
  EXPECT_FALSE(files.Append(Record(90, 'b')).ok());
  EXPECT_THAT(Contents(), ElementsAre("a"));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  ASSERT_TRUE(files.Append(Record(90, 'c')).ok());
  EXPECT_THAT(Contents(), ElementsAre("ac"));
}

}  // namespace
}  // namespace portico
