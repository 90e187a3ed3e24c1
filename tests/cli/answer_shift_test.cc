#include "cli/answer_shift.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

std::vector<TensorSpec> Named(const std::string& name) {
  TensorSpec spec;
  spec.name = name;
  return {spec};
}

TEST(AnswerShiftTest, CountsRowsWhoseLargestElementIsAnother) {
  AnswerShift shift(std::nullopt);
  const Tensor before = Tensor::Of<float>({4, 2}, {0.9f, 0.1f, 0.2f, 0.8f, 0.6f, 0.4f, 0.3f, 0.7f});
  const Tensor after = Tensor::Of<float>({4, 2}, {0.8f, 0.2f, 0.9f, 0.1f, 0.6f, 0.4f, 0.3f, 0.7f});
  shift.Add(Named("p"), {before}, {after});
  ASSERT_EQ(shift.outputs().size(), 1u);
  const AnswerShift::Output& p = shift.outputs()[0];
  EXPECT_EQ(p.rows, 4u);
  EXPECT_EQ(p.changed, 1u);
  EXPECT_NEAR(p.max_absolute, 0.7, 1e-6);
  EXPECT_NEAR(p.max_relative, 3.5, 1e-5);
  EXPECT_NEAR(p.Quantile(0.5), 0, 1e-6);
  EXPECT_NEAR(p.Quantile(0.75), 0.1, 1e-6);
  EXPECT_NEAR(p.Quantile(1), 0.7, 1e-6);
  EXPECT_EQ(shift.Worst(), &p);
  EXPECT_THAT(shift.Text(), HasSubstr("25 %"));
}

TEST(AnswerShiftTest, WithAToleranceNumbersCountToo) {
  AnswerShift shift(Tolerance{.relative = 0, .absolute = 0.05});
  shift.Add(Named("p"), {Tensor::Of<float>({2, 2}, {0.9f, 0.1f, 0.2f, 0.8f})},
            {Tensor::Of<float>({2, 2}, {0.8f, 0.2f, 0.21f, 0.79f})});
  EXPECT_EQ(shift.outputs()[0].changed, 1u);
}

TEST(AnswerShiftTest, WhatHasNoClassesIsComparedItself) {
  AnswerShift shift(std::nullopt);
  std::vector<TensorSpec> specs = {Named("score")[0], Named("label")[0], Named("count")[0], Named("one")[0]};
  const auto label = [](const std::vector<std::string>& texts) { return Tensor::OfStrings({2}, texts); };
  const std::vector<Tensor> before = {Tensor::Of<float>({3}, {1, 2, 3}), label({"a", "b"}),
                                      Tensor::Of<int64_t>({2}, {1, 2}), Tensor::Of<float>({}, {1})};
  const std::vector<Tensor> after = {Tensor::Of<float>({3}, {1, 2.5f, 3}), label({"a", "c"}),
                                     Tensor::Of<int64_t>({2}, {1, 2}), Tensor::Of<float>({}, {2})};
  shift.Add(specs, before, after);
  EXPECT_EQ(shift.outputs()[0].changed, 1u);
  EXPECT_EQ(shift.outputs()[1].changed, 1u);
  EXPECT_EQ(shift.outputs()[2].changed, 0u);
  EXPECT_EQ(shift.outputs()[3].changed, 1u);
  EXPECT_EQ(shift.Worst()->name, "one");
}

TEST(AnswerShiftTest, AnotherShapeIsAnotherAnswerInEveryRow) {
  AnswerShift shift(std::nullopt);
  shift.Add(Named("p"), {Tensor::Of<float>({2, 1}, {1, 2})}, {Tensor::Of<float>({2, 2}, {1, 2, 3, 4})});
  EXPECT_EQ(shift.outputs()[0].changed, 2u);
  EXPECT_TRUE(std::isinf(shift.outputs()[0].max_absolute));
}

TEST(AnswerShiftTest, QuantilesOfMoreRowsThanAreKept) {
  AnswerShift shift(std::nullopt);
  constexpr int64_t kRows = 1 << 18;
  std::vector<float> zeros(kRows), rising(kRows);
  for (int64_t i = 0; i < kRows; ++i) rising[static_cast<size_t>(i)] = static_cast<float>(i);
  const Tensor before = Tensor::Of<float>({kRows}, zeros), after = Tensor::Of<float>({kRows}, rising);
  for (int i = 0; i < 6; ++i) shift.Add(Named("y"), {before}, {after});
  EXPECT_EQ(shift.outputs()[0].rows, 6u * kRows);
  EXPECT_NEAR(shift.outputs()[0].Quantile(0.5), kRows / 2, kRows / 100);
  EXPECT_NEAR(shift.outputs()[0].Quantile(0.99), 0.99 * kRows, kRows / 100);
}

}  // namespace
}  // namespace portico
