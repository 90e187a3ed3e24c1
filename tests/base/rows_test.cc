#include "base/rows.h"

#include <cmath>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/random_rows.h"

namespace portico {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(RowsTest, TrueRowsAreThoseOfTheMask) {
  EXPECT_THAT(TrueRows(Tensor::Of<bool>({5}, {true, false, false, true, true})), ElementsAre(0, 3, 4));
  EXPECT_THAT(TrueRows(Tensor::Of<bool>({2}, {false, false})), IsEmpty());
  EXPECT_THAT(TrueRows(Tensor::Of<bool>({0}, std::initializer_list<bool>{})), IsEmpty());
}

/// Rows of random density, from none to all.
std::vector<int64_t> RandomRows(int64_t num_rows, std::mt19937& random) {
  const uint32_t density = random() % 5;
  std::vector<int64_t> rows;
  for (int64_t row = 0; row < num_rows; ++row) {
    if (random() % 4 < density) rows.push_back(row);
  }
  return rows;
}

TEST(RowsTest, TakingAndPuttingBackIsThatOfSingleRows) {
  std::mt19937 random(20220623);
  for (const DType dtype : AllDTypes()) {
    for (int round = 0; round < 60; ++round) {
      const auto num_rows = static_cast<int64_t>(random() % 65);
      const Tensor base = RandomTensor(dtype, RandomShape(num_rows, random), random);
      const std::vector<int64_t> rows = RandomRows(num_rows, random);
      const Tensor taken = TakeRows(base, rows);
      Shape shape = base.shape();
      shape[0] = static_cast<int64_t>(rows.size());
      ASSERT_EQ(taken.shape(), shape) << DTypeName(dtype);
      ASSERT_EQ(taken.dtype(), dtype);
      const auto all = RowsOf(base);
      std::vector<std::vector<std::string>> want;
      for (const int64_t row : rows) want.push_back(all[static_cast<size_t>(row)]);
      ASSERT_EQ(RowsOf(taken), want) << DTypeName(dtype) << ShapeString(base.shape());

      const Tensor part = RandomTensor(dtype, shape, random);
      const auto new_rows = RowsOf(part);
      auto merged = all;
      for (size_t i = 0; i < rows.size(); ++i) merged[static_cast<size_t>(rows[i])] = new_rows[i];
      const Tensor put = PutRows(base, rows, part);
      ASSERT_EQ(put.shape(), base.shape());
      ASSERT_EQ(RowsOf(put), merged) << DTypeName(dtype) << ShapeString(base.shape());
      // What they make is a tensor as any other: the bytes are those a peer would check.
      ASSERT_TRUE(Tensor::View(dtype, put.shape(), put.bytes(), put.origin()).ok());
    }
  }
}

TEST(RowsTest, RowsMayBeTakenInAnyOrderAndTwice) {
  const Tensor tensor = Tensor::Of<int64_t>({4, 2}, {0, 1, 10, 11, 20, 21, 30, 31});
  EXPECT_THAT(TakeRows(tensor, {3, 0, 1, 1}).data<int64_t>(), ElementsAre(30, 31, 0, 1, 10, 11, 10, 11));
}

TEST(RowsTest, AllRowsAndRowsSideBySideAreNotCopied) {
  const Tensor tensor = Tensor::Of<float>({4}, {0, 1, 2, 3});
  EXPECT_EQ(TakeRows(tensor, {0, 1, 2, 3}).bytes().data(), tensor.bytes().data());
  EXPECT_EQ(TakeRows(tensor, {1, 2}).bytes().data(), tensor.bytes().data() + sizeof(float));
  const Tensor part = Tensor::Of<float>({4}, {4, 5, 6, 7});
  EXPECT_EQ(PutRows(tensor, {0, 1, 2, 3}, part).bytes().data(), part.bytes().data());
  EXPECT_EQ(PutRows(tensor, {}, TakeRows(tensor, {})).bytes().data(), tensor.bytes().data());
  const Tensor text = Tensor::OfStrings({2}, std::vector<std::string>{"a", "b"});
  EXPECT_EQ(TakeRows(text, {0, 1}).bytes().data(), text.bytes().data());
}

TEST(RowsTest, MarksAreNoAnswer) {
  EXPECT_THAT(RowsOf(Marks(DType::kInt32, {2, 2})), Each(ElementsAre(std::string(4, '\0'), std::string(4, '\0'))));
  EXPECT_THAT(RowsOf(Marks(DType::kString, {2, 1})), Each(ElementsAre("")));
  const Tensor floats = Marks(DType::kFloat, {2, 3}), doubles = Marks(DType::kDouble, {2});
  for (const float value : floats.data<float>()) EXPECT_TRUE(std::isnan(value));
  for (const double value : doubles.data<double>()) EXPECT_TRUE(std::isnan(value));
  EXPECT_EQ(Marks(DType::kFloat16, {1}).bytes(), absl::string_view("\x00\x7e", 2));
  EXPECT_EQ(Marks(DType::kBfloat16, {1}).bytes(), "\xc0\x7f");
  EXPECT_THAT(Marks(DType::kBool, {3}).data<bool>(), Each(false));
  for (const DType dtype : AllDTypes()) {
    const Tensor marks = Marks(dtype, {3, 3});
    EXPECT_TRUE(Tensor::View(dtype, marks.shape(), marks.bytes(), marks.origin()).ok()) << DTypeName(dtype);
    EXPECT_EQ(RowsOf(marks)[0], RowsOf(marks)[2]);
  }
}

}  // namespace
}  // namespace portico
