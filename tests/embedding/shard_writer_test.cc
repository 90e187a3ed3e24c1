#include "embedding/shard_writer.h"

#include <sys/resource.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/embedding/shard_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ShardWriterTest : public ::testing::Test {
 protected:
  std::vector<std::string> Files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path()))
      names.push_back(entry.path().filename());
    return names;
  }
  /// What Add() and EndTable() say to these rows in a table of two columns.
  std::string Error(IdKind kind, const ShardWriter::Rows& rows, RowType type = RowType::kFloat32) {
    auto writer = ShardWriter::Create(path_, {});
    EXPECT_TRUE((*writer)->BeginTable({.name = "t", .dim = 2, .row_type = type, .id_kind = kind}).ok());
    absl::Status status = (*writer)->Add(rows);
    if (status.ok()) status = (*writer)->EndTable();
    EXPECT_FALSE(status.ok());
    return std::string(status.message());
  }

  const TempFolder folder_;
  const std::string path_ = folder_.File("shard");
};

TEST_F(ShardWriterTest, NothingStandsUnderTheNameBeforeCommitAndNothingAtAllWithoutIt) {
  {
    auto writer = ShardWriter::Create(path_, {});
    ASSERT_TRUE(writer.ok()) << writer.status();
    ASSERT_TRUE(AddTable(**writer, {.name = "t", .dim = 8}, 50'000).ok());
    EXPECT_FALSE(std::filesystem::exists(path_));
  }
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(ShardWriterTest, TheSameRowsMakeTheSameFileWhateverTheMemoryAndThePieces) {
  const std::vector<std::pair<TableSpec, size_t>> tables = {
      {{.name = "a", .dim = 7, .row_type = RowType::kInt4, .id_kind = IdKind::kSparse}, 20'000},
      {{.name = "b", .dim = 3, .id_kind = IdKind::kString}, 9'000}};
  ASSERT_TRUE(BuildShard(path_, tables).ok());
  ASSERT_TRUE(BuildShard(folder_.File("tight"), tables, {.memory_bytes = 5'000}).ok());
  EXPECT_TRUE(folder_.Read("shard") == folder_.Read("tight"));
}

TEST_F(ShardWriterTest, SectionsBeginAtMultiplesOfTwoMegabytes) {
  ASSERT_TRUE(
      BuildShard(path_, {{{.name = "a", .dim = 7, .id_kind = IdKind::kString}, 100}, {{.name = "b", .dim = 1}, 0}})
          .ok());
  const auto file = OpenShard(path_);
  for (const ShardLayout::Section& section : file->layout().Sections()) {
    EXPECT_EQ(section.offset % (2 << 20), 0u);
  }
  EXPECT_EQ(file->layout().file_bytes, std::filesystem::file_size(path_));
}

TEST_F(ShardWriterTest, RefusesRowsThatAreNotRight) {
  const std::vector<float> two = {1, 2}, four = {1, 2, 3, 4}, three = {1, 2, 3}, nan = {1, 2, 3, NAN},
                           large = {1, 2, 1e6f, 4};
  const std::vector<int64_t> one_id = {5}, same = {-5, -5};
  const std::string long_id(kMaxIdBytes + 1, 'x');
  const std::vector<absl::string_view> empty = {""}, too_long = {long_id}, same_strings = {"ab", "ab"};
  EXPECT_THAT(Error(IdKind::kDense, {.values = three}), HasSubstr("table 't': got 3 values, want a multiple of 2"));
  EXPECT_THAT(Error(IdKind::kDense, {.values = nan}), HasSubstr("table 't', row 1: value 1: got nan"));
  EXPECT_THAT(Error(IdKind::kDense, {.values = large}, RowType::kFloat16),
              HasSubstr("row 1: value 0: got 1e+06, which does not fit float16"));
  EXPECT_THAT(Error(IdKind::kDense, {.ids = one_id, .values = two}), HasSubstr("got 1 numbers and 0 strings as ids"));
  EXPECT_THAT(Error(IdKind::kSparse, {.ids = one_id, .values = four}), HasSubstr("want 2 and 0"));
  EXPECT_THAT(Error(IdKind::kSparse, {.ids = same, .values = four}), HasSubstr("got id '-5' twice, in rows 0 and 1"));
  EXPECT_THAT(Error(IdKind::kString, {.strings = empty, .values = two}), HasSubstr("an id of 0 bytes"));
  EXPECT_THAT(Error(IdKind::kString, {.strings = too_long, .values = two}), HasSubstr("an id of 4097 bytes"));
  EXPECT_THAT(Error(IdKind::kString, {.strings = same_strings, .values = four}),
              HasSubstr("got id 'ab' twice, in rows 0 and 1"));
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(ShardWriterTest, TwoTablesOfOneNameAreRefused) {
  auto writer = ShardWriter::Create(path_, {});
  ASSERT_TRUE(AddTable(**writer, {.name = "t", .dim = 1}, 3).ok());
  EXPECT_EQ((*writer)->BeginTable({.name = "t", .dim = 2}).code(), absl::StatusCode::kAlreadyExists);
}

TEST_F(ShardWriterTest, AFullDiskIsAnErrorAndLeavesNothing) {
  const std::string want = folder_.Write("shard", "what stood there");
  // In a process of its own: no file of it may grow beyond 3 MB, as on a disk without room.
  const auto build = [this] {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{3 << 20, 3 << 20};
    setrlimit(RLIMIT_FSIZE, &limit);
    const absl::Status status = BuildShard(path_, {{{.name = "t", .dim = 64}, 20'000}});
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
    std::exit(status.ok() ? 1 : 0);
  };
  EXPECT_EXIT(build(), ::testing::ExitedWithCode(0), "write '.*shard.tmp");
  EXPECT_EQ(Files().size(), 1u);
  EXPECT_EQ(folder_.Read("shard"), "what stood there");
}

}  // namespace
}  // namespace portico
