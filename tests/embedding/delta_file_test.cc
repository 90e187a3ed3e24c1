#include "embedding/delta_file.h"

#include <filesystem>
#include <fstream>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/embedding/delta_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr size_t kDim = 8;

const TableSpec kDense{.name = "dense", .dim = kDim};
const TableSpec kSparse{.name = "sparse", .dim = kDim, .id_kind = IdKind::kSparse, .seed = 9};
const TableSpec kString{.name = "string", .dim = kDim, .row_type = RowType::kFloat16, .id_kind = IdKind::kString};

class DeltaFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::vector<DeltaTable::Row> sparse, strings;
    for (int64_t i = 0; i < 9000; ++i) sparse.push_back({i * 7919, static_cast<float>(i)});
    sparse.push_back({-5, 0, UpdatedRow::kDeleted});
    sparse.push_back({-6, 1, 12345});
    for (int64_t i = 0; i < 5000; ++i) strings.push_back({i, static_cast<float>(i % 100)});
    tables_ = {{kDense, 10, {{3, 1}, {10, 2}, {11, 3}}}, {kSparse, 0, sparse}, {kString, 0, strings}};
    target_ = {.shard = 1, .shards = 3, .base = Sha256("base"), .state = Sha256("state"), .version = 7};
    ASSERT_TRUE(WriteDelta(path_, target_, tables_).ok());
  }

  std::string Bytes() const { return *ReadFile(path_, 1 << 30); }
  void Put(const std::string& bytes) const { std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes; }
  std::string WriteError(const std::vector<DeltaTable>& tables) {
    const std::string path = folder_.File("bad/delta");
    const absl::Status status = WriteDelta(path, target_, tables);
    EXPECT_FALSE(status.ok());
    EXPECT_TRUE(std::filesystem::is_empty(folder_.path() + "/bad")) << "something stayed";
    return status.ToString();
  }

  const TempFolder folder_;
  const std::string path_ = folder_.File("delta");
  DeltaTarget target_;
  std::vector<DeltaTable> tables_;
};

TEST_F(DeltaFileTest, ReadsBackWhatWasWritten) {
  const auto delta = DeltaFile::Read(path_);
  ASSERT_TRUE(delta.ok()) << delta.status();
  EXPECT_EQ(delta->target.shard, 1u);
  EXPECT_EQ(delta->target.shards, 3u);
  EXPECT_EQ(delta->target.base, target_.base);
  EXPECT_EQ(delta->target.state, target_.state);
  EXPECT_EQ(delta->target.version, 7);
  EXPECT_EQ(delta->digest, Sha256(Bytes()));
  ASSERT_EQ(delta->tables.size(), 3u);
  EXPECT_EQ(delta->tables[0].rows_before, 10u);
  EXPECT_EQ(delta->tables[0].rows_after, 12u);
  for (size_t t = 0; t < 3; ++t) {
    const DeltaFile::Table& table = delta->tables[t];
    ASSERT_EQ(table.rows, tables_[t].rows.size());
    for (size_t i = 0; i < table.rows; ++i) {
      const DeltaTable::Row& want = tables_[t].rows[i];
      const RowChunk& chunk = *table.chunks[i / RowChunk::kMaxRows];
      const char* const row = chunk.Row(static_cast<uint32_t>(i % RowChunk::kMaxRows));
      EXPECT_EQ(UpdatedRow::Until(row), want.until);
      if (t == 2) {
        EXPECT_EQ(chunk.StringOf(row), StringId(static_cast<size_t>(want.id)));
      } else {
        EXPECT_EQ(static_cast<int64_t>(UpdatedRow::Id(row)), want.id);
      }
      std::vector<float> values(kDim);
      DecodeRow(RowKernels::Best(), table.spec.row_type, row + UpdatedRow::HeadBytes(table.spec.id_kind),
                absl::MakeSpan(values));
      EXPECT_EQ(values, std::vector<float>(kDim, want.value));
    }
  }
}

TEST_F(DeltaFileTest, AFlipOfAnyBitIsFoundAndNothingIsReadByIt) {
  const std::string whole = Bytes();
  // Everything in the first and last kilobytes, and some of what is between.
  for (size_t at = 0; at < whole.size(); at += at < 1024 || at + 1024 > whole.size() ? 1 : 997) {
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ 1 << at % 8);
    Put(bytes);
    const auto delta = DeltaFile::Read(path_);
    ASSERT_FALSE(delta.ok()) << "byte " << at;
    EXPECT_THAT(std::string(delta.status().message()), HasSubstr("delta '"));
  }
}

TEST_F(DeltaFileTest, ABlockThatIsDamagedIsNamed) {
  std::string bytes = Bytes();
  bytes[100'000] = static_cast<char>(bytes[100'000] ^ 4);
  Put(bytes);
  const absl::Status status = DeltaFile::Read(path_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("block 1 (rows of table 'sparse', bytes 65552 to 131088): got CRC-32C"));
}

TEST_F(DeltaFileTest, AnotherDigestThanWantedIsRefused) {
  const Digest want = Sha256(Bytes()), other = Sha256("other");
  EXPECT_TRUE(DeltaFile::Read(path_, &want).ok());
  EXPECT_THAT(DeltaFile::Read(path_, &other).status().ToString(), HasSubstr("got digest " + want.Short()));
}

TEST_F(DeltaFileTest, TablesThatShareBytesAreRefused) {
  delta_format::Directory directory;
  directory.body_bytes = 100 * UpdatedRow::Stride(kSparse);
  directory.checksums.resize((directory.body_bytes - 1) / delta_format::kBlockBytes + 1);
  directory.tables.push_back({.spec = kSparse, .rows = 60});
  EXPECT_TRUE(delta_format::DecodeDirectory(delta_format::EncodeDirectory(directory)).ok());
  directory.tables.push_back({.spec = kSparse, .rows = 60});
  directory.tables[1].spec.name = "other";
  EXPECT_THAT(delta_format::DecodeDirectory(delta_format::EncodeDirectory(directory)).status().ToString(),
              HasSubstr("that other tables leave"));
  directory.tables[1].spec.name = kSparse.name;
  directory.tables[1].rows = 1;
  EXPECT_THAT(delta_format::DecodeDirectory(delta_format::EncodeDirectory(directory)).status().ToString(),
              HasSubstr("twice"));
}

TEST_F(DeltaFileTest, EveryLengthButItsOwnIsRefused) {
  const std::string whole = Bytes();
  for (size_t length = 0; length < whole.size(); length += length < 100 || length + 100 > whole.size() ? 1 : 1009) {
    Put(whole.substr(0, length));
    EXPECT_FALSE(DeltaFile::Read(path_).ok()) << length;
  }
  Put(whole + "x");
  EXPECT_FALSE(DeltaFile::Read(path_).ok());
  EXPECT_EQ(DeltaFile::Read(folder_.path() + "/none").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(DeltaFileTest, WhatCannotBeIsRefusedWhenWritten) {
  EXPECT_THAT(WriteError({{kSparse, 0, {{5, 1}, {6, 1}, {5, 2}}}}), HasSubstr("got id '5' twice"));
  EXPECT_THAT(WriteError({{kString, 0, {{5, 1}, {5, 2}}}}), HasSubstr("twice, want each id once"));
  EXPECT_THAT(WriteError({{kDense, 10, {{12, 1}}}}), HasSubstr("got 1 new rows up to row 12, want all from row 10 on"));
  EXPECT_THAT(WriteError({{kDense, 10, {{-1, 1}}}}), HasSubstr("got id -1, want 0 to"));
  EXPECT_THAT(WriteError({{kDense, 10, {{1, 0, UpdatedRow::kDeleted}}}}), HasSubstr("to delete, want none"));
  EXPECT_THAT(WriteError({{kDense, 10, {{1, 0, 99}}}}), HasSubstr("that expires, want none"));
  EXPECT_THAT(WriteError({{kSparse, 0, {{5, std::numeric_limits<float>::quiet_NaN()}}}}),
              AllOf(HasSubstr("table 'sparse', id '5'"), HasSubstr("got nan, want a finite number")));
}

TEST_F(DeltaFileTest, ForAnotherShardBaseVersionOrTableIsRefusedByName) {
  const std::string base = folder_.File("shard");
  ASSERT_TRUE(BuildShard(base, {{kDense, 10}, {kSparse, 10}, {kString, 10}}).ok());
  ShardLayout layout = OpenShard(base)->layout();
  const auto read = DeltaFile::Read(path_);
  ASSERT_TRUE(read.ok()) << read.status();
  DeltaFile delta = *read;
  const auto error = [&] {
    const absl::Status status = delta.CheckFits("d", layout, target_.state);
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    return std::string(status.message());
  };
  EXPECT_THAT(error(), HasSubstr("got one for shard 1 of 3, want shard 0 of 1"));
  delta.target.shard = 0;
  delta.target.shards = 1;
  EXPECT_THAT(error(), HasSubstr(absl::StrCat("got one for base ", target_.base.Short())));
  delta.target.base = layout.content;
  EXPECT_TRUE(delta.CheckFits("d", layout, target_.state).ok());
  const absl::Status other_state = delta.CheckFits("d", layout, Sha256("other"));
  EXPECT_THAT(std::string(other_state.message()), HasSubstr("got one for version 7"));
  layout.tables[1].spec.dim = 99;
  EXPECT_THAT(error(), HasSubstr("table 'sparse': got sparse ids, float32, dim 8, want sparse ids, float32, dim 99"));
  layout.tables[1].spec.name = "x";
  EXPECT_THAT(error(), HasSubstr("got table 'sparse', which the shard does not have"));
}

}  // namespace
}  // namespace portico
