#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "cli/table_build.h"
#include "embedding/bucket_index.h"
#include "embedding/build_checkpoint.h"
#include "embedding/id_hash.h"
#include "embedding/staging_folder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/resumed_build.h"

namespace portico {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr size_t kRows = 300;
constexpr size_t kDim = 5;

class TableBuildResumeTest : public ::testing::Test {
 protected:
  /// Gives `build` a place of its own, of a file or a group.
  TableBuild At(TableBuild build, const std::string& name, bool group) const {
    build.out = folder_.File(name);
    build.package = group;
    build.shards = group ? 3 : 1;
    return build;
  }
  static std::string Unfinished(const TableBuild& build) {
    return build.package ? absl::StrCat(build.out, "/.unfinished-", build.shards, "-", build.version)
                         : build.out + ".unfinished";
  }
  /// In a process that dies when so many pieces were read.
  static void BuildAndDie(const TableBuild& build, int pieces) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      int left = pieces;
      (void)BuildTable(build, [&left](uint64_t, uint64_t) {
        if (--left == 0) _exit(9);
      });
      _exit(0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 9) << status;
  }
  absl::Status Build(const TableBuild& build) {
    note_.clear();
    const auto rows = BuildTable(
        build, [](uint64_t, uint64_t) {}, [this](const std::string& note) { note_ += note; });
    if (!rows.ok()) return rows.status();
    EXPECT_EQ(*rows, kRows);
    EXPECT_FALSE(fs::exists(Unfinished(build)));
    return absl::OkStatus();
  }

  const TempFolder folder_;
  const BuildInputs inputs_{folder_, kRows, kDim};
  std::string note_;
};

TEST_F(TableBuildResumeTest, WhatWasInterruptedEndsAsWhatWasNot) {
  int number = 0;
  for (const bool group : {false, true}) {
    for (const TableBuild& input : inputs_.all()) {
      SCOPED_TRACE(absl::StrCat(input.rows, " ", input.ids, input.string_ids, group ? ", group" : ", file"));
      const TableBuild whole = At(input, absl::StrCat("whole", number), group);
      const TableBuild build = At(input, absl::StrCat("parts", number++), group);
      ASSERT_EQ(Build(whole), absl::OkStatus());
      EXPECT_EQ(note_, "");
      // Again and again, each time a little further.
      for (int i = 0; i < 2; ++i) {
        BuildAndDie(build, 2);
        EXPECT_TRUE(FilesAt(build.out).empty());
      }
      ASSERT_EQ(Build(build), absl::OkStatus());
      EXPECT_THAT(note_, AllOf(StartsWith("going on at "), HasSubstr(" %")));
      EXPECT_TRUE(FilesAt(build.out) == FilesAt(whole.out));
      EXPECT_FALSE(FilesAt(build.out).empty());
    }
  }
}

TEST_F(TableBuildResumeTest, AnotherBuildBeginsAnewAndSaysWhy) {
  const auto change = [&](const std::string& name, const auto& changed) {
    TableBuild build = At(inputs_.sparse(), "t" + name, false);
    BuildAndDie(build, 4);
    EXPECT_TRUE(fs::exists(Unfinished(build)));
    changed(build);
    EXPECT_EQ(Build(build), absl::OkStatus());
    const TableBuild whole = [&] {
      TableBuild of = build;
      of.out += ".whole";
      return of;
    }();
    const std::string note = note_;
    EXPECT_EQ(Build(whole), absl::OkStatus());
    EXPECT_TRUE(FilesAt(build.out) == FilesAt(whole.out));
    return note;
  };
  EXPECT_EQ(change("type", [](TableBuild& build) { build.type = "float32"; }),
            "beginning anew: --type: got float32, was int8");
  EXPECT_THAT(change("ids", [](TableBuild& build) { build.ids = ""; }), HasSubstr("--ids: got none, was "));
  EXPECT_THAT(change("time",
                     [](TableBuild& build) {
                       fs::last_write_time(build.rows, fs::last_write_time(build.rows) + std::chrono::seconds(1));
                     }),
              AllOf(HasSubstr("beginning anew: file '"), HasSubstr("rows.npy': got "), HasSubstr(", was ")));
  EXPECT_THAT(change("damaged",
                     [](TableBuild& build) {
                       const std::string path = Unfinished(build) + "/0.rows";
                       std::string rows = *ReadFile(path, uint64_t{1} << 30);
                       rows[ShardLayout::kSectionAlignment + 100] ^= 1;
                       ASSERT_TRUE(WriteFileAtomically(path, rows).ok());
                     }),
              HasSubstr("beginning anew: file '"));
  EXPECT_THAT(change("lost", [](TableBuild& build) { fs::remove(Unfinished(build) + "/0.rows"); }),
              HasSubstr("got 0 bytes, want at least "));
  EXPECT_THAT(change("checkpoint",
                     [](TableBuild& build) {
                       ASSERT_TRUE(WriteFileAtomically(Unfinished(build) + "/checkpoint", "PORTCKPTxxxxxxxx").ok());
                     }),
              HasSubstr("checkpoint': checkpoint: got CRC-32C"));
  EXPECT_THAT(change("long",
                     [](TableBuild& build) {
                       ASSERT_TRUE(WriteFileAtomically(Unfinished(build) + "/checkpoint",
                                                       std::string(BuildCheckpoint::kMaxBytes + 1, 'x'))
                                       .ok());
                     }),
              HasSubstr("beginning anew: "));
}

TEST_F(TableBuildResumeTest, AGroupThatIsDamagedBeginsAnew) {
  const TableBuild build = At(inputs_.string(), "group", true), whole = At(inputs_.string(), "whole", true);
  ASSERT_EQ(Build(whole), absl::OkStatus());
  BuildAndDie(build, 4);
  fs::remove(Unfinished(build) + "/2.rows");
  ASSERT_EQ(Build(build), absl::OkStatus());
  EXPECT_THAT(note_, AllOf(HasSubstr("beginning anew"), HasSubstr("2.rows")));
  EXPECT_TRUE(FilesAt(build.out) == FilesAt(whole.out));
}

TEST_F(TableBuildResumeTest, OtherBuildsOfAGroupLeaveItAlone) {
  TableBuild build = At(inputs_.dense(), "group", true);
  BuildAndDie(build, 4);
  TableBuild next = build;
  next.version = 2;
  ASSERT_EQ(Build(next), absl::OkStatus());
  EXPECT_EQ(note_, "");
  EXPECT_TRUE(fs::exists(Unfinished(build)));
  ASSERT_EQ(Build(build), absl::OkStatus());
  EXPECT_THAT(note_, StartsWith("going on at "));
}

TEST_F(TableBuildResumeTest, InputsAtFaultLeaveNothing) {
  for (const bool group : {false, true}) {
    TableBuild build = At(inputs_.sparse(), group ? "group" : "file", group);
    std::vector<int64_t> ids(kRows);
    for (size_t i = 0; i < kRows; ++i) ids[i] = i + 1 == kRows ? 7 : static_cast<int64_t>(i);
    build.ids = folder_.Write("twice.npy", Npy<int64_t>("<i8", absl::StrCat("(", kRows, ",)"), ids));
    const absl::Status status = Build(build);
    EXPECT_TRUE(absl::IsAlreadyExists(status)) << status;
    EXPECT_FALSE(fs::exists(Unfinished(build)));
    EXPECT_FALSE(fs::exists(build.out));
  }
}

TEST_F(TableBuildResumeTest, IdsThatNoIndexHoldsLeaveNothing) {
  // Their hashes are 0, 1, ...: all in the first group of buckets.
  const auto id_of_hash = [](uint64_t hash) {
    const auto inverse = [](uint64_t odd) {
      uint64_t result = odd;
      for (int i = 0; i < 6; ++i) result *= 2 - odd * result;
      return result;
    };
    hash = (hash ^ hash >> 33) * inverse(0xc4ceb9fe1a85ec53ull);
    hash = (hash ^ hash >> 33) * inverse(0xff51afd7ed558ccdull);
    return static_cast<int64_t>(hash ^ hash >> 33);
  };
  std::vector<int64_t> ids;
  for (uint64_t hash = 0; hash <= BucketIndex::kGroup * IndexBucket::kSlots; ++hash) ids.push_back(id_of_hash(hash));
  ASSERT_EQ(HashId(static_cast<uint64_t>(ids[77]), 0), 77u);
  TableBuild build = At(inputs_.sparse(), "file", false);
  build.rows = folder_.Write(
      "one.npy", Npy<float>("<f4", absl::StrCat("(", ids.size(), ", 1)"), std::vector<float>(ids.size(), 1)));
  build.dim = 1;
  build.ids = folder_.Write("full.npy", Npy<int64_t>("<i8", absl::StrCat("(", ids.size(), ",)"), ids));
  build.checkpoint_bytes = 40'000;
  const absl::Status status = Build(build);
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), ::testing::Not(HasSubstr("goes on from here")));
  EXPECT_FALSE(fs::exists(Unfinished(build)));
}

TEST_F(TableBuildResumeTest, TwoBuildsOfTheSameDoNotMeet) {
  for (const bool group : {false, true}) {
    TableBuild build = At(inputs_.sparse(), group ? "group" : "file", group);
    build.lock_wait = absl::ZeroDuration();
    if (group) fs::create_directory(build.out);
    const auto other = StagingFolder::Open(Unfinished(build));
    ASSERT_TRUE(other.ok()) << other.status();
    const absl::Status status = Build(build);
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("another build at work"));
  }
}

TEST_F(TableBuildResumeTest, ABuildWaitsForWhoCleansUpJustThen) {
  for (const bool group : {false, true}) {
    const TableBuild build = At(inputs_.sparse(), group ? "group" : "file", group);
    BuildAndDie(build, 4);
    std::optional<StagingFolder> other = StagingFolder::TryLock(Unfinished(build));
    ASSERT_TRUE(other.has_value());
    std::thread lets_go([&other] {
      absl::SleepFor(absl::Milliseconds(50));
      other.reset();
    });
    EXPECT_EQ(Build(build), absl::OkStatus());
    EXPECT_THAT(note_, StartsWith("going on at "));
    lets_go.join();
  }
}

TEST_F(TableBuildResumeTest, WithoutCheckpointsABuildBeginsAnew) {
  TableBuild build = At(inputs_.csv(), "file", false);
  build.checkpoint_bytes = 0;
  BuildAndDie(build, 1);
  ASSERT_EQ(Build(build), absl::OkStatus());
  EXPECT_EQ(note_, "");
}

}  // namespace
}  // namespace portico
