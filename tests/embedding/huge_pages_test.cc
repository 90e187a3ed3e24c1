#include "embedding/huge_pages.h"

#include <atomic>
#include <fstream>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/embedding/shard_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

constexpr uint64_t kMegabyte = 1 << 20;
constexpr size_t kRows = 20'000;
constexpr size_t kDim = 64;

class HugePagesTest : public ::testing::Test {
 protected:
  HugePagesTest() {
    const TableSpec users{.name = "users", .dim = kDim, .id_kind = IdKind::kSparse};
    const TableSpec words{.name = "words", .dim = 3, .id_kind = IdKind::kString};
    const absl::Status built = BuildShard(path_, {{users, kRows}, {words, 500}});
    EXPECT_TRUE(built.ok()) << built;
  }

  /// Whether each row is as it was given.
  static bool AllRowsAreRight(const ShardFile& file) {
    std::vector<float> row(kDim);
    for (size_t i = 0; i < kRows; ++i) {
      const std::vector<int64_t> ids = {SparseId(i)};
      if (!file.Find("users")->Lookup({.ids = ids}, Pooling::kNone, absl::MakeSpan(row)).ok()) return false;
      if (row != RowValues(i, kDim)) return false;
    }
    std::vector<float> word(3);
    for (size_t i = 0; i < 500; ++i) {
      const std::string id = StringId(i);
      const std::vector<absl::string_view> ids = {id};
      if (!file.Find("words")->Lookup({.strings = ids}, Pooling::kNone, absl::MakeSpan(word)).ok()) return false;
      if (word != RowValues(i, 3)) return false;
    }
    return true;
  }

  const TempFolder folder_;
  const std::string path_ = folder_.File("table.shard");
};

TEST_F(HugePagesTest, RowsAreTheSameWhereverTheyLie) {
  const auto file = OpenShard(path_);
  uint64_t all = 0;
  for (const ShardLayout::Table& table : file->layout().tables) {
    for (const ShardLayout::Section& section : {table.rows, table.index, table.strings}) {
      all += (section.bytes + 2 * kMegabyte - 1) / (2 * kMegabyte) * 2 * kMegabyte;
    }
  }
  EXPECT_EQ(PromotePieces(*file, 100 * kMegabyte), all);
  EXPECT_TRUE(AllRowsAreRight(*file));
  for (const HugePiece& piece : HugePiecesOf(file->layout())) EXPECT_TRUE(DemotePiece(*file, piece));
  EXPECT_TRUE(AllRowsAreRight(*file));
}

TEST_F(HugePagesTest, WhatWasPromotedNeedsTheFileNoMoreUntilItIsDemoted) {
  const auto file = OpenShard(path_);
  ASSERT_TRUE(file->Verify([](uint64_t) { return true; }).ok());
  PromotePieces(*file, 100 * kMegabyte);
  // The mapping of the file would read as other bytes now.
  std::ofstream(path_, std::ios::binary | std::ios::in)
      .seekp(0)
      .write(std::string(8 * kMegabyte, 'x').data(), 8 * kMegabyte);
  EXPECT_TRUE(AllRowsAreRight(*file));
  const uint64_t row = file->layout().tables[0].rows.offset;
  EXPECT_NE(file->begin()[row], 'x');
  for (const HugePiece& piece : HugePiecesOf(file->layout())) EXPECT_TRUE(DemotePiece(*file, piece));
  EXPECT_EQ(file->begin()[row], 'x') << "the file's own pages";
}

TEST_F(HugePagesTest, ReadersSeeTheirRowsAllAlong) {
  for (int round = 0; round < 5; ++round) {
    const auto file = OpenShard(path_);
    std::atomic<bool> stop{false};
    std::atomic<int> wrong{0};
    std::vector<std::thread> readers;
    for (int t = 0; t < 2; ++t) {
      readers.emplace_back([&] {
        do {
          if (!AllRowsAreRight(*file)) ++wrong;
        } while (!stop);
      });
    }
    for (int turn = 0; turn < 5; ++turn) {
      EXPECT_GT(PromotePieces(*file, 100 * kMegabyte), 0u);
      for (const HugePiece& piece : HugePiecesOf(file->layout())) EXPECT_TRUE(DemotePiece(*file, piece));
    }
    stop = true;
    for (std::thread& reader : readers) reader.join();
    EXPECT_EQ(wrong, 0);
  }
}

TEST_F(HugePagesTest, IndexesGoFirstAndTheBudgetIsKept) {
  const auto file = OpenShard(path_);
  const auto& tables = file->layout().tables;
  EXPECT_EQ(PromotePieces(*file, 5 * kMegabyte), 4 * kMegabyte);
  const std::vector<HugePiece> pieces = HugePiecesOf(file->layout());
  EXPECT_EQ(pieces[0].offset, tables[0].index.offset);
  EXPECT_EQ(pieces[1].offset, tables[1].index.offset);
  EXPECT_TRUE(AllRowsAreRight(*file));
}

TEST_F(HugePagesTest, WhatIsBrokenStaysAndIsAnErrorStill) {
  const uint64_t at = OpenShard(path_)->layout().tables[0].rows.offset + 9;
  {
    std::fstream stream(path_, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(static_cast<std::streamoff>(at));
    stream.put('\x7f');
  }
  const auto file = OpenShard(path_);
  for (const HugePiece& piece : HugePiecesOf(file->layout())) {
    EXPECT_EQ(PromotePiece(*file, piece), piece.offset != file->layout().tables[0].rows.offset);
  }
  EXPECT_EQ(file->blocks().broken_blocks(), 1u);
  std::vector<float> row(kDim);
  const std::vector<int64_t> ids = {SparseId(0)};
  EXPECT_EQ(file->Find("users")->Lookup({.ids = ids}, Pooling::kNone, absl::MakeSpan(row)).status().code(),
            absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace portico
