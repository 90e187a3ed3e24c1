#include "embedding/hot_pages.h"

#include <atomic>
#include <fstream>
#include <memory>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/embedding/shard_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

constexpr uint64_t kMegabyte = 1 << 20;
constexpr size_t kRows = 40'000;
constexpr size_t kDim = 256;

/// Two tables of dense ids, 40 MB of rows each: three pieces, the last one of 8 MB.
class HotPagesTest : public ::testing::Test {
 protected:
  HotPagesTest() {
    const TableSpec a{.name = "a", .dim = kDim, .id_kind = IdKind::kDense};
    const TableSpec b{.name = "b", .dim = kDim, .id_kind = IdKind::kDense};
    const absl::Status built = BuildShard(path_, {{a, kRows}, {b, kRows}});
    EXPECT_TRUE(built.ok()) << built;
    file_ = std::shared_ptr<const ShardFile>(OpenShard(path_));
  }

  /// Looks up rows of the piece that `share` of the table's rows is in; whether all of them are right.
  bool Read(const std::string& table, double share, int lookups) const {
    std::vector<int64_t> ids;
    for (int64_t i = 0; i < 64; ++i) ids.push_back(static_cast<int64_t>(share * kRows) + i);
    std::vector<float> rows(ids.size() * kDim);
    for (int i = 0; i < lookups; ++i) {
      if (!file_->Find(table)->Lookup({.ids = ids}, Pooling::kNone, absl::MakeSpan(rows)).ok()) return false;
      for (size_t row = 0; row < ids.size(); ++row) {
        const std::vector<float> want = RowValues(static_cast<size_t>(ids[row]), kDim);
        if (!std::equal(want.begin(), want.end(), rows.begin() + static_cast<ptrdiff_t>(row * kDim))) return false;
      }
    }
    return true;
  }
  uint64_t BytesIn(const HotPages& pages, const std::string& table) const {
    for (const ShardLayout::Table& of : file_->layout().tables) {
      if (of.spec.name == table) return pages.BytesIn(*file_, of.rows);
    }
    return 0;
  }

  const TempFolder folder_;
  const std::string path_ = folder_.File("table.shard");
  std::shared_ptr<const ShardFile> file_;
};

TEST_F(HotPagesTest, WhatIsReadIsPromoted) {
  HotPages pages({.bytes = 100 * kMegabyte, .start = false});
  pages.Watch(file_);
  pages.Round();
  EXPECT_EQ(pages.bytes(), 0u) << "nothing was read";
  EXPECT_TRUE(Read("b", 0.5, 20));
  pages.Round();
  EXPECT_EQ(BytesIn(pages, "a"), 0u);
  EXPECT_EQ(BytesIn(pages, "b"), 16 * kMegabyte) << "one piece of three";
  EXPECT_EQ(pages.bytes(), 16 * kMegabyte);
  EXPECT_TRUE(Read("b", 0.5, 1));
}

TEST_F(HotPagesTest, WhatIsReadSeldomIsNotWorthACopy) {
  HotPages pages({.bytes = 100 * kMegabyte, .start = false});
  pages.Watch(file_);
  for (int round = 0; round < 10; ++round) {
    if (round % 5 == 0) {
      EXPECT_TRUE(Read("a", 0, 1));
    }
    pages.Round();
  }
  EXPECT_EQ(pages.bytes(), 0u);
}

TEST_F(HotPagesTest, TheHottestTakeTheBudgetAndLeaveItWhenOthersAreTwiceAsHot) {
  HotPages pages({.bytes = 20 * kMegabyte, .start = false});
  pages.Watch(file_);
  EXPECT_TRUE(Read("a", 0, 100));
  EXPECT_TRUE(Read("b", 0, 50));
  pages.Round();
  EXPECT_EQ(BytesIn(pages, "a"), 16 * kMegabyte);
  EXPECT_EQ(BytesIn(pages, "b"), 0u) << "no room";
  // As hot as the other, which is not enough to drive it out.
  EXPECT_TRUE(Read("a", 0, 20));
  EXPECT_TRUE(Read("b", 0, 70));
  pages.Round();
  EXPECT_EQ(BytesIn(pages, "b"), 0u);
  for (int round = 0; round < 10; ++round) {
    EXPECT_TRUE(Read("b", 0, 50));
    pages.Round();
  }
  EXPECT_EQ(BytesIn(pages, "a"), 0u);
  EXPECT_EQ(BytesIn(pages, "b"), 16 * kMegabyte);
  EXPECT_LE(pages.bytes(), 20 * kMegabyte);
  EXPECT_TRUE(Read("a", 0, 1));
  EXPECT_TRUE(Read("b", 0, 1));
}

TEST_F(HotPagesTest, ARoundMovesNoMoreThanItMay) {
  HotPages pages({.bytes = 100 * kMegabyte, .bytes_per_round = 16 * kMegabyte, .start = false});
  pages.Watch(file_);
  for (const double share : {0.0, 0.5, 0.9}) EXPECT_TRUE(Read("a", share, 200));
  uint64_t before = 0;
  for (int round = 0; round < 4; ++round) {
    pages.Round();
    EXPECT_LE(pages.bytes() - before, 16 * kMegabyte);
    before = pages.bytes();
  }
  const uint64_t rows = kRows * kDim * sizeof(float);
  EXPECT_EQ(BytesIn(pages, "a"), rows) << "in the end all of it";
}

TEST_F(HotPagesTest, WhatIsBrokenDrivesNothingOut) {
  uint64_t rows = 0;
  for (const ShardLayout::Table& table : file_->layout().tables) {
    if (table.spec.name == "b") rows = table.rows.offset;
  }
  {
    std::fstream stream(path_, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(static_cast<std::streamoff>(rows + (15 << 20)));
    stream.put('\x7f');
  }
  HotPages pages({.bytes = 20 * kMegabyte, .start = false});
  pages.Watch(file_);
  EXPECT_TRUE(Read("a", 0, 20));
  pages.Round();
  EXPECT_EQ(BytesIn(pages, "a"), 16 * kMegabyte);
  EXPECT_TRUE(Read("b", 0, 200));
  pages.Round();
  EXPECT_EQ(BytesIn(pages, "a"), 16 * kMegabyte);
  EXPECT_EQ(BytesIn(pages, "b"), 0u);
}

TEST_F(HotPagesTest, NobodyGoesForOneThatDoesNotFitAllTheSame) {
  // Room for a piece of 16 MB and one of 8 MB.
  HotPages pages({.bytes = 24 * kMegabyte, .start = false});
  pages.Watch(file_);
  EXPECT_TRUE(Read("a", 0, 400));
  EXPECT_TRUE(Read("a", 0.95, 20));
  pages.Round();
  EXPECT_EQ(pages.bytes(), 24 * kMegabyte);
  // Hotter than the small one, and not than the large one, both of which would have to go.
  EXPECT_TRUE(Read("b", 0, 300));
  pages.Round();
  EXPECT_EQ(pages.bytes(), 24 * kMegabyte);
  EXPECT_GT(BytesIn(pages, "a"), 16 * kMegabyte);
}

TEST_F(HotPagesTest, TheBudgetOfAFileThatIsGoneIsGivenBack) {
  HotPages pages({.bytes = 20 * kMegabyte, .start = false});
  pages.Watch(file_);
  EXPECT_TRUE(Read("a", 0, 100));
  pages.Round();
  EXPECT_EQ(pages.bytes(), 16 * kMegabyte);
  file_.reset();
  pages.Round();
  EXPECT_EQ(pages.bytes(), 0u);
}

TEST_F(HotPagesTest, ACopyInMemoryIsLeftAlone) {
  auto opened = ShardFile::Open(path_, {.in_memory = true});
  ASSERT_TRUE(opened.ok()) << opened.status();
  file_ = *std::move(opened);
  HotPages pages({.bytes = 100 * kMegabyte, .start = false});
  pages.Watch(file_);
  EXPECT_TRUE(Read("a", 0, 100));
  pages.Round();
  EXPECT_EQ(pages.bytes(), 0u);
}

TEST_F(HotPagesTest, ItsOwnThreadMovesWhileRowsAreRead) {
  HotPages pages({.bytes = 20 * kMegabyte, .interval = absl::Milliseconds(1)});
  pages.Watch(file_);
  std::atomic<int> wrong{0};
  std::vector<std::thread> readers;
  for (int t = 0; t < 2; ++t) {
    readers.emplace_back([&, t] {
      for (int turn = 0; turn < 40; ++turn) {
        // What is hot changes, so that pieces come and go.
        if (!Read((turn / 10 + t) % 2 == 0 ? "a" : "b", 0, 20)) ++wrong;
      }
    });
  }
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_LE(pages.bytes(), 20 * kMegabyte);
}

}  // namespace
}  // namespace portico
