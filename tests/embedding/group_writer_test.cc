#include "embedding/group_writer.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "embedding/build_checkpoint.h"
#include "embedding/group_shards.h"
#include "embedding/table_group.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/embedding/shard_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

TableSpec Spec(const std::string& name, IdKind kind, size_t dim = 3) {
  TableSpec spec;
  spec.name = name;
  spec.dim = dim;
  spec.id_kind = kind;
  return spec;
}

/// What is in a folder, hidden names too, but for the lock.
std::vector<std::string> Names(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name != ".lock") names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

class GroupWriterTest : public ::testing::Test {
 protected:
  std::unique_ptr<GroupWriter> Create(const GroupWriter::Options& options) {
    auto writer = GroupWriter::Create(group_, options);
    EXPECT_TRUE(writer.ok()) << writer.status();
    return writer.ok() ? *std::move(writer) : nullptr;
  }
  absl::Status Write(const GroupWriter::Options& options, const TableSpec& spec, size_t rows) {
    auto writer = GroupWriter::Create(group_, options);
    if (!writer.ok()) return writer.status();
    if (absl::Status status = AddTable(**writer, spec, rows); !status.ok()) return status;
    if (absl::Status status = (*writer)->Finish(); !status.ok()) return status;
    return (*writer)->Commit();
  }
  std::unique_ptr<ShardFile> Open(uint32_t shard, uint32_t shards, int64_t version = 1) {
    return OpenShard(absl::StrCat(group_, "/", ShardFolder(shard, shards), "/", version, "/table.shard"));
  }
  static std::vector<float> RowOf(const ShardFile& file, const std::string& table, const IdBags& bags) {
    std::vector<float> out(file.Find(table)->spec().dim);
    const auto counts = file.Find(table)->Lookup(bags, Pooling::kNone, absl::MakeSpan(out));
    EXPECT_TRUE(counts.ok()) << counts.status();
    return out;
  }

  const TempFolder folder_;
  const std::string group_ = folder_.path() + "/tables/clicks";
};

TEST_F(GroupWriterTest, EveryRowIsWhereTheMapHasItAndNowhereElse) {
  for (const uint32_t shards : {1u, 2u, 3u, 7u}) {
    constexpr size_t kRows = 9001;  // more than two rounds of the buckets
    const ShardMap map(shards);
    auto writer = Create({.shards = shards});
    ASSERT_NE(writer, nullptr);
    ASSERT_TRUE(AddTable(*writer, Spec("dense", IdKind::kDense), kRows).ok());
    ASSERT_TRUE(AddTable(*writer, Spec("sparse", IdKind::kSparse, 2), kRows).ok());
    ASSERT_TRUE(AddTable(*writer, Spec("string", IdKind::kString, 1), kRows).ok());
    ASSERT_TRUE(writer->Finish().ok());
    ASSERT_TRUE(writer->Commit().ok());
    std::vector<std::unique_ptr<ShardFile>> files;
    uint64_t all[3] = {};
    for (uint32_t shard = 0; shard < shards; ++shard) {
      files.push_back(Open(shard, shards));
      EXPECT_EQ(files.back()->layout().shard, shard);
      EXPECT_EQ(files.back()->layout().shards, shards);
      for (int i = 0; i < 3; ++i) all[i] += files.back()->layout().tables[i].row_count;
      EXPECT_EQ(files.back()->layout().tables[0].row_count, map.RowsOf(shard, kRows));
    }
    EXPECT_THAT(all, ::testing::Each(kRows));
    for (size_t row = 0; row < kRows; row += 13) {
      const std::vector<int64_t> local = {static_cast<int64_t>(map.LocalRow(row))};
      EXPECT_EQ(RowOf(*files[map.ShardOfDense(row)], "dense", {.ids = local, .width = 1}), RowValues(row, 3));
      const std::vector<int64_t> sparse = {SparseId(row)};
      EXPECT_EQ(RowOf(*files[map.ShardOfSparse(sparse[0])], "sparse", {.ids = sparse, .width = 1}), RowValues(row, 2));
      const std::string text = StringId(row);
      const std::vector<absl::string_view> strings = {text};
      EXPECT_EQ(RowOf(*files[map.ShardOfString(text)], "string", {.strings = strings, .width = 1}), RowValues(row, 1));
    }
    EXPECT_THAT(Names(group_), ::testing::Not(::testing::Contains(::testing::StartsWith("."))));
  }
}

TEST_F(GroupWriterTest, ShardsMayHaveNoRowsOfATable) {
  ASSERT_TRUE(Write({.shards = 5}, Spec("t", IdKind::kDense), 3).ok());
  EXPECT_EQ(Open(2, 5)->layout().tables[0].row_count, 1u);
  EXPECT_EQ(Open(4, 5)->layout().tables[0].row_count, 0u);
}

TEST_F(GroupWriterTest, NothingIsThereUntilItIsCommitted) {
  {
    auto writer = Create({.shards = 2});
    ASSERT_TRUE(AddTable(*writer, Spec("t", IdKind::kDense), 10).ok());
    ASSERT_TRUE(writer->Finish().ok());
    EXPECT_TRUE(fs::exists(writer->StagedFolder(1) + "/table.shard"));
    EXPECT_FALSE(fs::exists(group_ + "/0of2"));
  }
  EXPECT_FALSE(fs::exists(group_));
}

TEST_F(GroupWriterTest, AnErrorLeavesNothing) {
  EXPECT_THAT(Write({.shards = 2}, Spec("t", IdKind::kDense, 0), 1).ToString(), HasSubstr("dim"));
  auto writer = Create({.shards = 2});
  ASSERT_TRUE(writer->BeginTable(Spec("t", IdKind::kSparse)).ok());
  const std::vector<float> values(6);
  const std::vector<int64_t> one = {1};
  EXPECT_THAT(writer->Add({.ids = one, .values = values}).ToString(), HasSubstr("got 6 values, 1 numbers"));
  const std::vector<int64_t> twice = {9, 9};
  ASSERT_TRUE(writer->Add({.ids = twice, .values = values}).ok());
  EXPECT_EQ(writer->EndTable().code(), absl::StatusCode::kAlreadyExists);
  writer = nullptr;
  EXPECT_FALSE(fs::exists(group_));
}

TEST_F(GroupWriterTest, AVersionIsWrittenOnce) {
  ASSERT_TRUE(Write({.shards = 2}, Spec("t", IdKind::kDense), 10).ok());
  EXPECT_EQ(Write({.shards = 2}, Spec("t", IdKind::kDense), 11).code(), absl::StatusCode::kAlreadyExists);
  ASSERT_TRUE(Write({.shards = 2, .version = 2}, Spec("t", IdKind::kDense), 12).ok());
  ASSERT_TRUE(Write({.shards = 3}, Spec("t", IdKind::kDense), 10).ok());
  EXPECT_EQ(Open(0, 2, 1)->layout().tables[0].row_count, 5u);
  EXPECT_EQ(Open(0, 2, 2)->layout().tables[0].row_count, 6u);
  EXPECT_THAT(Names(group_), ::testing::ElementsAre("0of2", "0of3", "1of2", "1of3", "2of3", "current"));
}

TEST_F(GroupWriterTest, WhatAKilledWriterLeftIsRemovedByTheNext) {
  const pid_t child = fork();
  if (child == 0) {
    auto writer = GroupWriter::Create(group_, {.shards = 2});
    if (!writer.ok() || !AddTable(**writer, Spec("t", IdKind::kSparse), 1000).ok()) _exit(1);
    raise(SIGKILL);
  }
  int how = 0;
  ASSERT_EQ(waitpid(child, &how, 0), child);
  ASSERT_TRUE(WIFSIGNALED(how));
  EXPECT_THAT(Names(group_), ::testing::ElementsAre(::testing::StartsWith(".building-")));
  // One that is at work meanwhile is left alone.
  auto other = Create({.shards = 3});
  ASSERT_TRUE(Write({.shards = 2}, Spec("t", IdKind::kSparse), 10).ok());
  ASSERT_TRUE(AddTable(*other, Spec("t", IdKind::kDense), 10).ok());
  ASSERT_TRUE(other->Finish().ok());
  ASSERT_TRUE(other->Commit().ok());
  EXPECT_THAT(Names(group_), ::testing::ElementsAre("0of2", "0of3", "1of2", "1of3", "2of3", "current"));
}

TEST_F(GroupWriterTest, WhatAWriterThatWasKilledWhileItMovedLeftIsMovedByTheNext) {
  ASSERT_TRUE(Write({.shards = 3}, Spec("t", IdKind::kDense), 10).ok());
  // As it is when one of three was moved.
  fs::create_directory(group_ + "/.ready-3-1");
  for (const char* shard : {"1of3", "2of3"}) {
    fs::rename(absl::StrCat(group_, "/", shard, "/1"), absl::StrCat(group_, "/.ready-3-1/", shard));
  }
  EXPECT_EQ(Write({.shards = 3}, Spec("t", IdKind::kDense), 10).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(Open(0, 3)->layout().tables[0].row_count, 4u);
  EXPECT_EQ(Open(2, 3)->layout().tables[0].row_count, 3u);
  EXPECT_THAT(Names(group_), ::testing::ElementsAre("0of3", "1of3", "2of3"));
}

TEST_F(GroupWriterTest, AWholeVersionWhosePlaceIsTakenIsNamedWithARemedy) {
  ASSERT_TRUE(Write({.shards = 2}, Spec("t", IdKind::kDense), 10).ok());
  fs::create_directory(group_ + "/.ready-2-1");
  fs::copy(group_ + "/1of2/1", group_ + "/.ready-2-1/1of2");
  const absl::Status status = GroupWriter::Create(group_, {.shards = 2, .version = 2}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(status.ToString(), HasSubstr("/1of2/1': got a version there"));
  EXPECT_THAT(status.ToString(), HasSubstr("remove one of the two"));
}

TEST_F(GroupWriterTest, VersionsAreNotPutInPlaceWhileTheGroupIsUpdated) {
  ASSERT_TRUE(Write({.shards = 2}, Spec("t", IdKind::kDense), 10).ok());
  std::thread writer;
  std::atomic<bool> done = false;
  {
    const auto lock = GroupLock::Take(group_);
    ASSERT_TRUE(lock.ok()) << lock.status();
    writer = std::thread([&] {
      EXPECT_TRUE(Write({.shards = 2, .version = 2}, Spec("t", IdKind::kDense), 10).ok());
      done = true;
    });
    // However long it takes, it is not done; a moment finds most that would not wait.
    absl::SleepFor(absl::Milliseconds(50));
    EXPECT_FALSE(done);
    EXPECT_FALSE(fs::exists(group_ + "/0of2/2"));
  }
  writer.join();
  EXPECT_TRUE(fs::exists(group_ + "/0of2/2"));
}

TEST_F(GroupWriterTest, WhereNobodyKnowsWhichSetServesNothingIsWritten) {
  fs::create_directories(group_ + "/0of1");
  fs::create_directories(group_ + "/0of2");
  fs::create_directories(group_ + "/1of2");
  const auto writer = GroupWriter::Create(group_, {.shards = 4});
  EXPECT_TRUE(absl::IsFailedPrecondition(writer.status())) << writer.status();
  EXPECT_THAT(std::string(writer.status().message()), HasSubstr("got sets of 1 and of 2 shards"));
  EXPECT_EQ(Names(group_), (std::vector<std::string>{"0of1", "0of2", "1of2"}));
}

TEST_F(GroupWriterTest, AnUnfinishedBuildStaysWhereItHasACheckpointAlone) {
  fs::create_directories(group_ + "/.unfinished-2-1/0of2");
  fs::create_directories(group_ + "/.unfinished-2-2/0of2");
  BuildCheckpoint checkpoint;
  checkpoint.shards.resize(2);
  ASSERT_TRUE(checkpoint.Write(group_ + "/.unfinished-2-2").ok());
  ASSERT_TRUE(Write({.shards = 2, .version = 3}, Spec("t", IdKind::kDense), 10).ok());
  EXPECT_EQ(Names(group_), (std::vector<std::string>{".unfinished-2-2", "0of2", "1of2"}));
}

TEST_F(GroupWriterTest, NumbersOutOfRangeAreRefused) {
  EXPECT_THAT(GroupWriter::Create(group_, {.shards = 0}).status().ToString(), HasSubstr("shards: got 0, want 1 to"));
  EXPECT_THAT(GroupWriter::Create(group_, {.shards = 1025}).status().ToString(), HasSubstr("shards: got 1025"));
  EXPECT_THAT(GroupWriter::Create(group_, {.version = 0}).status().ToString(), HasSubstr("version: got 0"));
}

}  // namespace
}  // namespace portico
