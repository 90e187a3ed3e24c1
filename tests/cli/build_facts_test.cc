#include "cli/build_facts.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class BuildFactsTest : public ::testing::Test {
 protected:
  BuildFactsTest() { build_.rows = rows_; }

  std::string DifferenceAfter(const std::function<void()>& change) {
    const auto before = FactsOf(build_);
    change();
    const auto now = FactsOf(build_);
    EXPECT_TRUE(before.ok() && now.ok()) << before.status() << now.status();
    return DifferenceOf(*before, *now);
  }
  /// When the system says that it was changed.
  static std::pair<int64_t, int64_t> ChangeOf(const std::string& path) {
    struct stat info {};
    EXPECT_EQ(stat(path.c_str(), &info), 0);
    return {info.st_ctim.tv_sec, info.st_ctim.tv_nsec};
  }

  const TempFolder folder_;
  /// More than the beginning whose digest is compared.
  const std::string rows_ = folder_.Write("rows.raw", std::string(2 << 20, 'a'));
  TableBuild build_;
};

TEST_F(BuildFactsTest, WhatIsAsItWasHasNoDifference) {
  EXPECT_EQ(DifferenceAfter([] {}), "");
}

TEST_F(BuildFactsTest, AByteFarInAFileThatIsDatedBackIsNoticed) {
  EXPECT_THAT(DifferenceAfter([this] {
                const fs::file_time_type time = fs::last_write_time(rows_);
                const auto changed = ChangeOf(rows_);
                // The clock of files has steps of some milliseconds.
                do {
                  std::fstream file(rows_, std::ios::in | std::ios::out | std::ios::binary);
                  file.seekp((2 << 20) - 1).put('b');
                  file.close();
                  fs::last_write_time(rows_, time);
                } while (ChangeOf(rows_) == changed);
              }),
              HasSubstr("rows.raw': got 2097152 bytes, changed "));
}

TEST_F(BuildFactsTest, AnotherFileOfTheSameNameIsNoticed) {
  EXPECT_THAT(DifferenceAfter([this] {
                const std::string other = folder_.Write("other", std::string(2 << 20, 'a'));
                fs::last_write_time(other, fs::last_write_time(rows_));
                fs::rename(other, rows_);
              }),
              HasSubstr("inode "));
}

}  // namespace
}  // namespace portico
