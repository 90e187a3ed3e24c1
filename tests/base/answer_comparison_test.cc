#include "base/answer_comparison.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>
#include <random>
#include <vector>

#include "base/small_float.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

std::vector<NamedTensor> Floats(Shape shape, std::initializer_list<float> values, const std::string& name = "y") {
  return {{name, Tensor::Of<float>(std::move(shape), values)}};
}

TEST(AnswerComparisonTest, RowsAgreeByTheirLargestElement) {
  const auto want = Floats({2, 3}, {0.1f, 0.7f, 0.2f, 0.5f, 0.3f, 0.2f});
  const AnswerComparison close = CompareAnswers(Floats({2, 3}, {0.2f, 0.5f, 0.3f, 0.9f, 0.1f, 0}), want, 0);
  EXPECT_TRUE(close.agrees) << close.where;
  EXPECT_NEAR(close.difference, 0.4, 1e-6);
  const AnswerComparison other = CompareAnswers(Floats({2, 3}, {0.1f, 0.7f, 0.2f, 0.3f, 0.5f, 0.2f}), want, 0);
  EXPECT_FALSE(other.agrees);
  EXPECT_EQ(other.where, "output 'y': row 1: got class 1, want 0");
}

TEST(AnswerComparisonTest, ClassesAsGoodAsEqualMayChangePlaces) {
  EXPECT_TRUE(CompareAnswers(Floats({1, 2}, {0.4999f, 0.5001f}), Floats({1, 2}, {0.5001f, 0.4999f}), 0).agrees);
  EXPECT_FALSE(CompareAnswers(Floats({1, 2}, {0.4f, 0.6f}), Floats({1, 2}, {0.6f, 0.4f}), 0).agrees);
}

TEST(AnswerComparisonTest, DeclaredToleranceHoldsForEveryElement) {
  const auto want = Floats({1, 2}, {10, 1});
  EXPECT_TRUE(CompareAnswers(Floats({1, 2}, {10.5f, 1}), want, 0.1).agrees);
  EXPECT_FALSE(CompareAnswers(Floats({1, 2}, {12, 1}), want, 0.1).agrees);
}

TEST(AnswerComparisonTest, SingleNumbersIntegersAndTextsAreComparedAsSuch) {
  EXPECT_TRUE(CompareAnswers(Floats({2, 1}, {1.0005f, 2}), Floats({2, 1}, {1, 2}), 0).agrees);
  EXPECT_FALSE(CompareAnswers(Floats({2}, {1.01f, 2}), Floats({2}, {1, 2}), 0).agrees);
  const std::vector<NamedTensor> seven = {{"n", Tensor::Of<int64_t>({1}, {7})}},
                                 eight = {{"n", Tensor::Of<int64_t>({1}, {8})}};
  EXPECT_TRUE(CompareAnswers(seven, seven, 0).agrees);
  EXPECT_FALSE(CompareAnswers(eight, seven, 100).agrees);
  const std::vector<std::string> a = {"cat"}, b = {"dog"};
  const std::vector<NamedTensor> cat = {{"s", Tensor::OfStrings({1}, a)}}, dog = {{"s", Tensor::OfStrings({1}, b)}};
  EXPECT_TRUE(CompareAnswers(cat, cat, 0).agrees);
  EXPECT_EQ(CompareAnswers(dog, cat, 0).where, "output 's': element 0: got 'dog', want 'cat'");
}

TEST(AnswerComparisonTest, OtherShapesTypesAndNamesDisagree) {
  const auto want = Floats({1, 2}, {1, 2});
  for (const auto& got :
       {Floats({2, 1}, {1, 2}), Floats({2}, {1, 2}), Floats({1, 2}, {1, 2}, "z"), std::vector<NamedTensor>(),
        Floats({1, 3}, {1, 2, 3}), std::vector<NamedTensor>{{"y", Tensor::Of<double>({1, 2}, {1, 2})}}}) {
    const AnswerComparison comparison = CompareAnswers(got, want, 0);
    EXPECT_FALSE(comparison.agrees);
    EXPECT_TRUE(std::isinf(comparison.difference));
    EXPECT_THAT(comparison.where, HasSubstr("output "));
  }
  std::vector<NamedTensor> more = want;
  more.push_back({"more", want[0].tensor});
  EXPECT_EQ(CompareAnswers(more, want, 0).where, "output 'more': want none");
}

TEST(AnswerComparisonTest, EmptyRowsAgree) {
  EXPECT_TRUE(CompareAnswers(Floats({0, 3}, {}), Floats({0, 3}, {}), 0).agrees);
}

TEST(AnswerComparisonTest, NotANumberIsADifferenceThatCounts) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(CompareAnswers(Floats({1}, {nan}), Floats({1}, {1}), 0).agrees);
  EXPECT_TRUE(CompareAnswers(Floats({1}, {nan}), Floats({1}, {nan}), 0).agrees);
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(CompareAnswers(Floats({1, 2}, {nan, 1}), Floats({1, 2}, {nan, 1}), 0).agrees);
  EXPECT_TRUE(CompareAnswers(Floats({1, 2}, {-infinity, 1}), Floats({1, 2}, {-infinity, 1}), 0).agrees);
  const std::vector<NamedTensor> want = Floats({1, 2}, {0.9f, 0.1f});
  for (const auto& got : {Floats({1, 2}, {nan, nan}), Floats({1, 2}, {nan, 0.1f}), Floats({1, 2}, {0.9f, nan}),
                          Floats({1, 2}, {infinity, 0.1f})}) {
    const AnswerComparison comparison = CompareAnswers(got, want, 0);
    EXPECT_FALSE(comparison.agrees);
    EXPECT_THAT(comparison.where, HasSubstr("row 0, element"));
  }
  EXPECT_THAT(CompareAnswers(Floats({1, 3}, {nan, 1, 2}), Floats({1, 3}, {nan, 2, 1}), 0).where,
              HasSubstr("got class 2, want 1"));
}

TEST(AnswerComparisonTest, RowsDisagreeAsTheyWouldByThemselves) {
  std::mt19937 random(7);
  const DType dtypes[] = {DType::kFloat, DType::kDouble, DType::kFloat16, DType::kBfloat16,
                          DType::kInt64, DType::kUint8,  DType::kBool,    DType::kString};
  int disagreeing = 0, agreeing = 0;
  for (int round = 0; round < 2000; ++round) {
    const DType dtype = dtypes[random() % std::size(dtypes)];
    const double tolerance = random() % 2 == 0 ? 0 : 0.3;
    Shape inner;
    for (size_t rank = random() % 3; rank > 0; --rank) inner.push_back(1 + static_cast<int64_t>(random() % 3));
    // Few values, so that many agree.
    const auto make = [&](int64_t rows) {
      Shape shape = {rows};
      shape.insert(shape.end(), inner.begin(), inner.end());
      const uint64_t elements = *NumElements(shape);
      if (dtype == DType::kString) {
        std::vector<std::string> texts;
        for (uint64_t i = 0; i < elements; ++i) texts.emplace_back(random() % 2, 'a');
        return Tensor::OfStrings(shape, texts);
      }
      Tensor tensor = Tensor::Allocate(dtype, shape);
      for (uint64_t i = 0; i < elements; ++i) {
        const auto value = static_cast<float>(random() % 3);
        const auto put = [&](auto number) {
          std::memcpy(tensor.mutable_bytes() + i * sizeof number, &number, sizeof number);
        };
        switch (dtype) {
          case DType::kFloat:
            put(random() % 10 == 0 ? std::nanf("") : value);
            break;
          case DType::kDouble:
            put(static_cast<double>(value));
            break;
          case DType::kFloat16:
            put(HalfFromFloat(value));
            break;
          case DType::kBfloat16:
            put(BfloatFromFloat(value));
            break;
          case DType::kInt64:
            put(static_cast<int64_t>(value));
            break;
          default:
            put(static_cast<uint8_t>(value > 1));
            break;
        }
      }
      return tensor;
    };
    const Tensor want = make(5), got = make(3);
    std::vector<int64_t> rows = {0, 1, 2, 3, 4};
    std::shuffle(rows.begin(), rows.end(), random);
    rows.resize(1 + random() % 3);
    const std::vector<bool> disagree = RowsThatDisagree(got, want, rows, tolerance);
    ASSERT_EQ(disagree.size(), rows.size());
    for (size_t i = 0; i < rows.size(); ++i) {
      const bool agrees =
          CompareAnswers({{{"y", got.Slice(static_cast<int64_t>(i), 1)}}}, {{{"y", want.Slice(rows[i], 1)}}}, tolerance)
              .agrees;
      ASSERT_EQ(disagree[i], !agrees) << DTypeName(dtype) << ShapeString(want.shape()) << " row " << rows[i];
      ++(agrees ? agreeing : disagreeing);
    }
  }
  EXPECT_GT(agreeing, 200);
  EXPECT_GT(disagreeing, 200);
}

TEST(AnswerComparisonTest, RowsOfHalfBytesAreComparedEachByItself) {
  // Three elements to a row: rows begin within a byte.
  Tensor a = Tensor::Allocate(DType::kInt4, {2, 3}), b = Tensor::Allocate(DType::kInt4, {2, 3});
  for (const Tensor* tensor : {&a, &b}) std::memcpy(const_cast<Tensor*>(tensor)->mutable_bytes(), "\x21\x43\x65", 3);
  b.mutable_bytes()[1] = 0x53;
  EXPECT_EQ(RowsThatDisagree(a, b, {0, 1}, 0), (std::vector<bool>{false, true}));
}

}  // namespace
}  // namespace portico
