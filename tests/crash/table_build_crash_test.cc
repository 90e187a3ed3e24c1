// Builds tables with a checkpoint every few rows, and lets the process die in front of each call that changes a file,
// one after the other, and lets the disk be full from each such call on. Until the last one nothing is there; the same
// command given again, or again and again, ends with the very bytes of a build that nobody disturbed.

#include <sys/stat.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/table_build.h"
#include "embedding/build_checkpoint.h"
#include "gtest/gtest.h"
#include "tests/cli/resumed_build.h"
#include "tests/crash/fault_injection.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

/// Exit codes of the process that a fault is planned for.
enum Exit { kDone = 0, kNoRoom = 2, kOtherError = 3 };

absl::Status RunBuild(const TableBuild& build, std::string* note = nullptr) {
  return BuildTable(
             build, [](uint64_t, uint64_t) {},
             [note](const std::string& text) {
               if (note != nullptr) *note += text;
             })
      .status();
}

int ExitCode(const TableBuild& build) {
  const absl::Status status = RunBuild(build);
  if (status.ok()) return kDone;
  if (absl::IsResourceExhausted(status)) return kNoRoom;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return kOtherError;
}

class TableBuildCrashTest : public ::testing::Test {
 protected:
  /// Every fault at every call of a build that `prepare` made ready.
  template <typename Prepare>
  void Enumerate(FaultPlan::Kind kind, TableBuild build, const Prepare& prepare) {
    build.checkpoint_bytes = 240;
    TableBuild whole = build;
    whole.out = folder_.File("whole");
    build.out = folder_.File("parts");
    fs::remove_all(whole.out);
    ASSERT_EQ(RunBuild(whole), absl::OkStatus());
    const auto want = FilesAt(whole.out);
    int resumed = 0, done = 0;
    for (long at = 1;; ++at) {
      SCOPED_TRACE(absl::StrCat("call ", at));
      for (const char* end : {"", ".unfinished"}) fs::remove_all(build.out + end);
      prepare(build);
      if (::testing::Test::HasFatalFailure()) return;
      long calls = 0;
      const int code = RunWithFaults(
          {kind, at}, [&] { return ExitCode(build); }, &calls);
      if (calls < at) {
        EXPECT_EQ(code, kDone);
        EXPECT_GT(resumed, 10);
        EXPECT_GT(done, 0);
        std::printf("%ld calls; %d times it went on, %d times it was done\n", at - 1, resumed, done);
        return;
      }
      ASSERT_TRUE(kind == FaultPlan::Kind::kDie ? code == kDiedByPlan : code == kNoRoom || code == kDone) << code;
      // Nothing that is served is there, or all of it.
      const auto left = FilesAt(build.out);
      if (!build.package || left.size() == want.size()) {
        ASSERT_TRUE(left.empty() || left == want);
      }
      const bool had_checkpoint = fs::exists(absl::StrCat(Unfinished(build), "/", kCheckpointFile));
      const uint64_t in_place = InodeOf(build.out);
      std::string note;
      const absl::Status again = RunBuild(build, &note);
      ASSERT_TRUE(again.ok() || absl::IsAlreadyExists(again)) << again;
      // Of what is on the disk nothing is lost, whenever that was.
      ASSERT_TRUE(!had_checkpoint || note.find("beginning anew") == std::string::npos) << note;
      if (had_checkpoint && !build.package && in_place != 0) {
        ASSERT_EQ(InodeOf(build.out), in_place) << "what was whole was built again";
        ++done;
      }
      if (absl::IsAlreadyExists(again)) ++done;
      if (note.find("going on") != std::string::npos) ++resumed;
      ASSERT_TRUE(FilesAt(build.out) == want);
      ASSERT_EQ(Leftovers(build), std::vector<std::string>());
    }
  }
  /// 0 where there is nothing.
  static uint64_t InodeOf(const std::string& path) {
    struct stat info {};
    return stat(path.c_str(), &info) == 0 ? info.st_ino : 0;
  }
  static std::string Unfinished(const TableBuild& build) {
    return build.package ? absl::StrCat(build.out, "/.unfinished-", build.shards, "-", build.version)
                         : build.out + ".unfinished";
  }
  static std::vector<std::string> Leftovers(const TableBuild& build) {
    std::vector<std::string> left;
    if (fs::exists(build.out + ".unfinished")) left.push_back(build.out + ".unfinished");
    if (!build.package) return left;
    for (const auto& entry : fs::directory_iterator(build.out)) {
      const std::string name = entry.path().filename().string();
      if (name[0] == '.' && name != ".lock") left.push_back(name);
    }
    return left;
  }
  static void Nothing(const TableBuild&) {}

  const TempFolder folder_;
  /// Three checkpoints or four.
  const BuildInputs inputs_{folder_, 60, 4};
};

TEST_F(TableBuildCrashTest, AFile) {
  Enumerate(FaultPlan::Kind::kDie, inputs_.string(), Nothing);
  Enumerate(FaultPlan::Kind::kDiskFull, inputs_.sparse(), Nothing);
}

TEST_F(TableBuildCrashTest, AFileThatWasInterruptedBefore) {
  Enumerate(FaultPlan::Kind::kDie, inputs_.string(), [](const TableBuild& of) {
    // With a checkpoint and rows behind it.
    long calls = 0;
    ASSERT_EQ(RunWithFaults(
                  {}, [&] { return ExitCode(of); }, &calls),
              kDone);
    fs::remove_all(of.out);
    ASSERT_EQ(RunWithFaults({FaultPlan::Kind::kDie, calls / 2}, [&] { return ExitCode(of); }), kDiedByPlan);
    ASSERT_TRUE(fs::exists(absl::StrCat(Unfinished(of), "/", kCheckpointFile)));
  });
}

TEST_F(TableBuildCrashTest, AGroup) {
  const auto group = [](TableBuild build) {
    build.package = true;
    build.shards = 2;
    return build;
  };
  Enumerate(FaultPlan::Kind::kDie, group(inputs_.string()), Nothing);
  Enumerate(FaultPlan::Kind::kDiskFull, group(inputs_.dense()), Nothing);
}

TEST_F(TableBuildCrashTest, AGroupThatWasInterruptedBefore) {
  TableBuild build = inputs_.sparse();
  build.package = true;
  build.shards = 2;
  Enumerate(FaultPlan::Kind::kDie, build, [](const TableBuild& of) {
    // In the middle of making the files whole: all rows are there.
    long calls = 0;
    ASSERT_EQ(RunWithFaults(
                  {}, [&] { return ExitCode(of); }, &calls),
              kDone);
    fs::remove_all(of.out);
    ASSERT_EQ(RunWithFaults({FaultPlan::Kind::kDie, calls * 2 / 3}, [&] { return ExitCode(of); }), kDiedByPlan);
  });
}

}  // namespace
}  // namespace portico
