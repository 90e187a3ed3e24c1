#include "node/answer_comparison.h"

#include <cmath>
#include <limits>

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
}

}  // namespace
}  // namespace portico
