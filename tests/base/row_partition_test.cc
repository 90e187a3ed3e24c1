#include "base/row_partition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

namespace portico {
namespace {

using ::testing::HasSubstr;

Tensor Numbers(std::vector<int64_t> numbers) {
  return Tensor::Of<int64_t>({static_cast<int64_t>(numbers.size())}, absl::MakeConstSpan(numbers));
}

void ExpectRefused(RowPartition kind, std::vector<int64_t> numbers, int64_t values, int64_t rows,
                   const std::string& message) {
  const auto checked = CheckRowPartition(kind, Numbers(numbers), values, rows);
  EXPECT_EQ(checked.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(std::string(checked.status().message()), message);
}

TEST(RowPartitionTest, EveryKindSaysTheSameRows) {
  EXPECT_EQ(CheckRowPartition(RowPartition::kRowSplits, Numbers({0, 2, 2, 3}), 3, -1).value(), 3);
  EXPECT_EQ(CheckRowPartition(RowPartition::kRowStarts, Numbers({0, 2, 2}), 3, -1).value(), 3);
  EXPECT_EQ(CheckRowPartition(RowPartition::kRowLengths, Numbers({2, 0, 1}), 3, -1).value(), 3);
  EXPECT_EQ(CheckRowPartition(RowPartition::kSegmentIds, Numbers({0, 0, 2}), 3, 4).value(), -1);
  EXPECT_EQ(CheckRowPartition(RowPartition::kRowSplits, Numbers({0}), 0, -1).value(), 0);
  EXPECT_EQ(CheckRowPartition(RowPartition::kRowStarts, Numbers({}), 0, -1).value(), 0);
}

TEST(RowPartitionTest, WhatDoesNotDivideItsValuesIsRefused) {
  ExpectRefused(RowPartition::kRowSplits, {}, 0, -1, "got 0 numbers, want one more than rows");
  ExpectRefused(RowPartition::kRowSplits, {1, 3}, 3, -1, "got 1 at 0, want offsets that begin at 0");
  ExpectRefused(RowPartition::kRowSplits, {0, 3, 2}, 3, -1,
                "got 2 at 2 behind 3, want offsets that do not fall, up to its 3 values");
  ExpectRefused(RowPartition::kRowSplits, {0, 4}, 3, -1,
                "got 4 at 1 behind 0, want offsets that do not fall, up to its 3 values");
  ExpectRefused(RowPartition::kRowSplits, {0, 2}, 3, -1, "got 2 at the end, want its 3 values");
  ExpectRefused(RowPartition::kRowStarts, {}, 3, -1, "got 0 numbers, want rows for its 3 values");
  ExpectRefused(RowPartition::kRowStarts, {0, -1}, 3, -1,
                "got -1 at 1 behind 0, want offsets that do not fall, up to its 3 values");
  ExpectRefused(RowPartition::kRowLengths, {1, -1, 3}, 3, -1, "got -1 at 1, want lengths from 0 on");
  ExpectRefused(RowPartition::kRowLengths, {2, 2}, 3, -1,
                "got 2 at 1, behind rows of 2 values, want lengths that add up to its 3 values");
  ExpectRefused(RowPartition::kRowLengths, {1, 1}, 3, -1, "got 2 as sum, want lengths that add up to its 3 values");
  ExpectRefused(RowPartition::kSegmentIds, {0, 1}, 3, 3, "got 2 numbers, want one for each of its 3 values");
  ExpectRefused(RowPartition::kSegmentIds, {0, 1, 0}, 3, 3,
                "got 0 at 2 behind 1, want row numbers that do not fall, from 0 to 2");
  ExpectRefused(RowPartition::kSegmentIds, {0, 1, 3}, 3, 3,
                "got 3 at 2 behind 1, want row numbers that do not fall, from 0 to 2");
}

TEST(RowPartitionTest, NumbersThatWouldOverflowASumAreRefused) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  EXPECT_FALSE(CheckRowPartition(RowPartition::kRowLengths, Numbers({1, kMost, kMost, 3}), 3, -1).ok());
  EXPECT_FALSE(CheckRowPartition(RowPartition::kRowSplits, Numbers({0, kMost}), 3, -1).ok());
}

TEST(RowPartitionTest, OtherTypesAreRefused) {
  const auto floats = CheckRowPartition(RowPartition::kRowSplits, Tensor::Of<float>({2}, {0, 1}), 1, -1);
  EXPECT_THAT(std::string(floats.status().message()), HasSubstr("got float32[2], want int32 or int64 of rank 1"));
  EXPECT_FALSE(CheckRowPartition(RowPartition::kRowSplits, Tensor::Of<int64_t>({1, 2}, {0, 1}), 1, -1).ok());
}

TEST(RowPartitionTest, ReadsWhereverNumbersLie) {
  // An int32 row_splits [0 1 3] one byte off what would suit it.
  class Bytes : public TensorOrigin {
   public:
    Bytes() : TensorOrigin(16) {}
    alignas(8) char data[16] = {};
  };
  const auto origin = MakeRef<Bytes>();
  const int32_t splits[] = {0, 1, 3};
  memcpy(origin->data + 1, splits, sizeof(splits));
  const auto tensor = Tensor::View(DType::kInt32, {3}, absl::string_view(origin->data + 1, sizeof(splits)), origin);
  ASSERT_TRUE(tensor.ok());
  EXPECT_FALSE(tensor->aligned());
  EXPECT_EQ(CheckRowPartition(RowPartition::kRowSplits, *tensor, 3, -1).value(), 2);
  EXPECT_EQ(ValuesOfRows(RowPartition::kRowSplits, *tensor, 3, 1, 1, 1), 2);
}

TEST(RowPartitionTest, NamesReadBack) {
  for (const RowPartition kind :
       {RowPartition::kRowSplits, RowPartition::kRowStarts, RowPartition::kRowLengths, RowPartition::kSegmentIds}) {
    EXPECT_EQ(RowPartitionOf(RowPartitionName(kind)), kind);
  }
  EXPECT_EQ(RowPartitionOf(""), RowPartition::kNone);
  EXPECT_EQ(RowPartitionOf("offsets"), RowPartition::kNone);
}

}  // namespace
}  // namespace portico
