#include "models/calibrate/row_values.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/calibrate/guess.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<TensorSpec> Outputs() {
  const Dim rows{.symbol = "N"};
  return {{.name = "p", .dtype = DType::kFloat, .dims = {rows, {.extent = 3}}},
          {.name = "domain", .dtype = DType::kString, .dims = {rows}},
          {.name = "count", .dtype = DType::kInt32, .dims = {rows, {.extent = 1}}},
          {.name = "unused", .dtype = DType::kFloat, .dims = {rows}}};
}

Tensor Words(const std::vector<std::string>& words) {
  return Tensor::OfStrings({static_cast<int64_t>(words.size())}, absl::MakeConstSpan(words));
}

std::vector<Tensor> Answers() {
  return {Tensor::Of<float>({2, 3}, {0.5f, 0.25f, 0.25f, 0.125f, 0.75f, 0.125f}), Words({"b", "a"}),
          Tensor::Of<int32_t>({2, 1}, {7, -7}), Tensor::Of<float>({2}, {0, 0})};
}

int Last(const Expression& expression) { return static_cast<int>(expression.terms.size()) - 1; }

TEST(RowValues, AreWhatTheExpressionsComeTo) {
  TextNumbers texts;
  const auto margin = Expression::Parse("margin(p)"), right = Expression::Parse("domain == \"a\" || count > 10"),
             text = Expression::Parse("domain"), count = Expression::Parse("count");
  const auto values = RowValues::Create(
      {{&*margin, Last(*margin)}, {&*right, Last(*right)}, {&*text, Last(*text)}, {&*count, Last(*count)}}, Outputs(),
      texts);
  ASSERT_TRUE(values.ok()) << values.status();
  std::vector<std::vector<double>> columns;
  ASSERT_TRUE((*values)->Append(Answers(), 2, columns).ok());
  ASSERT_TRUE((*values)->Append(Answers(), 2, columns).ok());
  EXPECT_THAT(columns[0], ElementsAre(0.25, 0.625, 0.25, 0.625));
  EXPECT_THAT(columns[1], ElementsAre(0, 1, 0, 1));
  EXPECT_THAT(columns[2], ElementsAre(texts.at("b"), texts.at("a"), texts.at("b"), texts.at("a")));
  EXPECT_NE(texts.at("a"), texts.at("b"));
  EXPECT_THAT(columns[3], ElementsAre(7, -7, 7, -7));
  EXPECT_EQ((*values)->dtype(0), DType::kFloat);
  EXPECT_EQ((*values)->dtype(2), DType::kString);
}

TEST(RowValues, APartOfAnExpressionIsTakenAlone) {
  TextNumbers texts;
  // `nobody` is not there, and the part that is wanted does not look at it.
  const auto whole = Expression::Parse("nobody > 3 && max(p) > 0.5");
  int root = -1;
  for (int i = 0; i <= Last(*whole); ++i) {
    if (whole->terms[static_cast<size_t>(i)].op == Expression::Op::kCall) root = i;
  }
  const auto values = RowValues::Create({{&*whole, root}}, Outputs(), texts);
  ASSERT_TRUE(values.ok()) << values.status();
  std::vector<std::vector<double>> columns;
  ASSERT_TRUE((*values)->Append(Answers(), 2, columns).ok());
  EXPECT_THAT(columns[0], ElementsAre(0.5, 0.75));
}

TEST(RowValues, WhatIsNotOneValuePerRowIsRefused) {
  TextNumbers texts;
  const struct {
    const char* text;
    const char* want;
  } cases[] = {{"p", "got a row of numbers, want one value per row of the outputs (p, domain, count, unused)"},
               {"3", "got a constant number, want one value per row"},
               {"other", "got name 'other', want one of the outputs: p, domain, count, unused"},
               {"p[3]", "got column 3"}};
  for (const auto& test : cases) {
    const auto expression = Expression::Parse(test.text);
    const auto values = RowValues::Create({{&*expression, Last(*expression)}}, Outputs(), texts);
    ASSERT_FALSE(values.ok()) << test.text;
    EXPECT_THAT(std::string(values.status().message()), HasSubstr(test.want));
  }
}

TEST(Guess, ConditionsSuitTheAnswers) {
  const Dim rows{.symbol = "N"};
  const std::vector<TensorSpec> outputs = {{.name = "p", .dtype = DType::kFloat},
                                           {.name = "raw", .dtype = DType::kFloat},
                                           {.name = "my score", .dtype = DType::kDouble},
                                           {.name = "label", .dtype = DType::kInt64}};
  const std::vector<Tensor> answers = {Tensor::Of<float>({1, 2}, {0.25f, 0.75f}), Tensor::Of<float>({1, 2}, {-3, 5}),
                                       Tensor::Of<double>({1}, {0.5}), Tensor::Of<int64_t>({1}, {3})};
  EXPECT_THAT(
      GuessConditions(outputs, answers),
      ElementsAre("margin(p) < 0.5", "entropy(p) > 0.5", "max(p) < 0.5", "margin(softmax(raw)) < 0.5",
                  "entropy(softmax(raw)) > 0.5", "max(softmax(raw)) < 0.5", "`my score` > 0 && `my score` < 1"));
}

TEST(Guess, ADecisionIsALabelOrTheLargestOrAProbability) {
  const TensorSpec p{.name = "p"}, score{.name = "score"}, label{.name = "label"};
  const Tensor row = Tensor::Of<float>({1, 2}, {0.25f, 0.75f}), one = Tensor::Of<float>({1, 1}, {0.5f}),
               far = Tensor::Of<float>({1}, {3}), word = Words({"spam"});
  EXPECT_EQ(*GuessDecision({p, score, label}, {row, one, word}), "label");
  EXPECT_EQ(*GuessDecision({score, p}, {one, row}), "argmax(p)");
  EXPECT_EQ(*GuessDecision({score}, {one}), "score >= 0.5");
  const auto none = GuessDecision({score}, {far});
  ASSERT_FALSE(none.ok());
  EXPECT_THAT(std::string(none.status().message()), HasSubstr("say it with --decide"));
}

}  // namespace
}  // namespace portico
