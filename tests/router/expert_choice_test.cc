#include "router/expert_choice.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <set>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/router/naive_experts.h"
#include "tests/router/random_gates.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
using Fault = ExpertChoice::Fault;

std::vector<int> Row(const ExpertChoice& choice, int64_t row) {
  const auto experts = choice.ExpertsOf(row);
  return {experts.begin(), experts.end()};
}

TEST(ExpertChoiceTest, BestGatesWinAndTiesGoToTheLowerExpert) {
  const std::vector<float> gates = {0.1f, 0.4f, 0.3f, 0.2f,  //
                                    1,    2,    2,    2,     //
                                    -3,   -1,   -2,   -4};
  const ExpertChoice choice({4, 2, ExpertWeights::kSoftmax, 0}, gates);
  EXPECT_EQ(choice.rows(), 3);
  EXPECT_THAT(Row(choice, 0), ElementsAre(1, 2));
  EXPECT_THAT(Row(choice, 1), ElementsAre(1, 2));
  EXPECT_THAT(Row(choice, 2), ElementsAre(1, 2));
  EXPECT_EQ(choice.faulty(), 0);
}

TEST(ExpertChoiceTest, PartsHaveTheSlotsOfEachExpertInOrder) {
  const std::vector<float> gates = {1, 0, 9, 0, 1, 9, 1, 0, 9};
  ExpertChoice choice({3, 2, ExpertWeights::kSoftmax, 0}, gates);
  const auto parts = choice.Parts();
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_EQ(parts[0].expert, 0);
  EXPECT_THAT(parts[0].slots, ElementsAre(1, 5));
  EXPECT_EQ(parts[1].expert, 1);
  EXPECT_THAT(parts[1].slots, ElementsAre(3));
  EXPECT_EQ(parts[2].expert, 2);
  EXPECT_THAT(parts[2].slots, ElementsAre(0, 2, 4));
}

TEST(ExpertChoiceTest, RowsWithoutAUsableGateSaySo) {
  const std::vector<float> gates = {1,          kNan,        //
                                    kInfinity,  0,           //
                                    -kInfinity, -kInfinity,  //
                                    -kInfinity, 3};
  ExpertChoice choice({2, 2, ExpertWeights::kSoftmax, 0}, gates);
  EXPECT_EQ(choice.fault(0), Fault::kNotFinite);
  EXPECT_EQ(choice.fault(1), Fault::kNotFinite);
  EXPECT_EQ(choice.fault(2), Fault::kNothing);
  EXPECT_EQ(choice.fault(3), Fault::kNone);
  EXPECT_EQ(choice.faulty(), 3);
  EXPECT_THAT(Row(choice, 3), ElementsAre(1, ExpertChoice::kNone)) << "-inf takes an expert out";
  EXPECT_THAT(FaultText(Fault::kNotFinite), HasSubstr("NaN"));
  const auto parts = choice.Parts();
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_THAT(parts[0].slots, ElementsAre(6));
  EXPECT_EQ(ExpertChoice({2, 1, ExpertWeights::kRenormalize, 0}, {1, -1}).fault(0), Fault::kNegative);
  EXPECT_EQ(ExpertChoice({2, 1, ExpertWeights::kRenormalize, 0}, {0, 0}).fault(0), Fault::kNothing);
  EXPECT_EQ(ExpertChoice({2, 1, ExpertWeights::kNone, 0}, {-1, 0}).fault(0), Fault::kNone);
}

TEST(ExpertChoiceTest, FullExpertsPassRowsOnToTheNextBest) {
  // Four rows, all for expert 0 and then 2; two rows an expert.
  const std::vector<float> gates = {9, 0, 1, 9, 0, 1, 9, 0, 1, 9, 0, 1};
  const ExpertChoice choice({3, 1, ExpertWeights::kSoftmax, 1.5f}, gates);
  EXPECT_THAT(Row(choice, 0), ElementsAre(0));
  EXPECT_THAT(Row(choice, 1), ElementsAre(0));
  EXPECT_THAT(Row(choice, 2), ElementsAre(2));
  EXPECT_THAT(Row(choice, 3), ElementsAre(2));
  EXPECT_EQ(choice.overflowed(), 2);
}

TEST(ExpertChoiceTest, FirstChoicesComeBeforeSecondOnes) {
  const std::vector<float> gates = {2, 3, 1, 3, 2, 1, 3, 1, 2};
  const ExpertChoice choice({3, 2, ExpertWeights::kSoftmax, 0.5f}, gates);  // One row an expert.
  EXPECT_THAT(Row(choice, 0), ElementsAre(1, ExpertChoice::kNone));
  EXPECT_THAT(Row(choice, 1), ElementsAre(0, ExpertChoice::kNone));
  EXPECT_THAT(Row(choice, 2), ElementsAre(2, ExpertChoice::kNone));
  EXPECT_EQ(choice.overflowed(), 3);
  EXPECT_THAT(choice.crowded(), ElementsAre(0, 1, 2));
}

TEST(ExpertChoiceTest, SlotsOfFailedExpertsGoToTheNextBestThatHasNotFailed) {
  const std::vector<float> gates = {4, 3, 2, 1};
  ExpertChoice choice({4, 2, ExpertWeights::kSoftmax, 0}, gates);
  auto parts = choice.Replace({1}, true);
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_EQ(parts[0].expert, 2);
  EXPECT_THAT(parts[0].slots, ElementsAre(1));
  parts = choice.Replace({2}, true);
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_EQ(parts[0].expert, 3);
  EXPECT_THAT(choice.Replace({0}, true), IsEmpty());
  EXPECT_THAT(Row(choice, 0), ElementsAre(ExpertChoice::kNone, 3));
  EXPECT_THAT(choice.Replace({3}, false), IsEmpty());
}

TEST(ExpertChoiceTest, WhatIsAnsweredStaysWithAnExpertThatFailsLater) {
  const std::vector<float> gates = {4, 3, 2, 4, 3, 2};
  ExpertChoice choice({3, 1, ExpertWeights::kSoftmax, 0}, gates);
  const auto parts = choice.Replace({0}, true, std::vector<uint8_t>{1, 0});
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_EQ(parts[0].expert, 1);
  EXPECT_THAT(parts[0].slots, ElementsAre(1));
  EXPECT_THAT(Row(choice, 0), ElementsAre(0));
}

TEST(ExpertChoiceTest, WeightsAreOfThoseThatAnswered) {
  const std::vector<float> gates = {std::log(1.f), std::log(3.f), std::log(4.f)};
  const ExpertChoice choice({3, 3, ExpertWeights::kSoftmax, 0}, gates);
  int32_t slots[3];
  float weights[3];
  ASSERT_EQ(choice.Weigh(0, std::vector<uint8_t>{1, 1, 1}, slots, weights), 3);
  EXPECT_THAT(slots, ElementsAre(0, 1, 2));
  EXPECT_FLOAT_EQ(weights[0], 0.5f);
  EXPECT_FLOAT_EQ(weights[1], 0.375f);
  ASSERT_EQ(choice.Weigh(0, std::vector<uint8_t>{1, 0, 1}, slots, weights), 2);
  EXPECT_FLOAT_EQ(weights[0], 0.8f);
  EXPECT_EQ(choice.Weigh(0, std::vector<uint8_t>{0, 0, 0}, slots, weights), 0);
  const std::vector<float> shares = {1, 3, 4};
  ASSERT_EQ(
      ExpertChoice({3, 2, ExpertWeights::kRenormalize, 0}, shares).Weigh(0, std::vector<uint8_t>{0, 1}, slots, weights),
      1);
  EXPECT_EQ(weights[0], 1);
  ASSERT_EQ(ExpertChoice({3, 2, ExpertWeights::kNone, 0}, shares).Weigh(0, std::vector<uint8_t>{1, 1}, slots, weights),
            2);
  EXPECT_EQ(weights[0], 4);
  EXPECT_EQ(weights[1], 3);
}

TEST(ExpertChoiceTest, LargeGatesDoNotOverflow) {
  const std::vector<float> gates = {3e38f, -3e38f, 3e38f};
  const ExpertChoice choice({3, 3, ExpertWeights::kSoftmax, 0}, gates);
  int32_t slots[3];
  float weights[3];
  ASSERT_EQ(choice.Weigh(0, std::vector<uint8_t>{1, 1, 1}, slots, weights), 3);
  EXPECT_THAT(weights, ElementsAre(0.5f, 0.5f, 0));
}

TEST(ExpertChoiceTest, NoRowsAreNoParts) {
  ExpertChoice choice({4, 2, ExpertWeights::kSoftmax, 1}, {});
  EXPECT_EQ(choice.rows(), 0);
  EXPECT_THAT(choice.Parts(), IsEmpty());
}

TEST(ExpertChoiceTest, EntropyIsOneWhereAllCountTheSameAndZeroWhereOneDoes) {
  const ExpertChoice::Rule softmax{4, 1, ExpertWeights::kSoftmax, 0};
  const ExpertChoice::Rule shares{4, 1, ExpertWeights::kRenormalize, 0};
  EXPECT_NEAR(MeanGateEntropy(softmax, {5, 5, 5, 5}, 64), 1, 1e-6);
  EXPECT_NEAR(MeanGateEntropy(softmax, {90, 0, -kInfinity, 0}, 64), 0, 1e-6);
  EXPECT_NEAR(MeanGateEntropy(softmax, {5, 5, 5, 5, 90, 0, 0, 0, kNan, 0, 0, 0}, 64), 0.5, 1e-6);
  EXPECT_NEAR(MeanGateEntropy(shares, {1, 1, 0, 0}, 64), 0.5, 1e-6);
  EXPECT_EQ(MeanGateEntropy(softmax, {}, 64), -1);
  EXPECT_EQ(MeanGateEntropy(softmax, {kNan, 0, 0, 0}, 64), -1);
  EXPECT_EQ(MeanGateEntropy({4, 1, ExpertWeights::kNone, 0}, {5, 5, 5, 5}, 64), -1);
  EXPECT_EQ(MeanGateEntropy({1, 1, ExpertWeights::kSoftmax, 0}, {5}, 64), 0);
}

/// What the choice ends with is what the naive one does, whichever way the failures come in.
void ExpectAsNaive(const RandomGates& input, const std::vector<int>& failing, bool refill) {
  const NaiveExperts naive(input.rule, input.gates);
  ExpertChoice choice(input.rule, input.gates);
  const NaiveExperts::Rows chosen = naive.Chosen();
  for (int row = 0; row < naive.rows(); ++row) {
    ASSERT_EQ(choice.fault(row) != Fault::kNone, naive.Faulty(row)) << "row " << row;
    std::vector<int> own = Row(choice, row);
    own.erase(std::remove(own.begin(), own.end(), ExpertChoice::kNone), own.end());
    ASSERT_EQ(own, chosen[static_cast<size_t>(row)]) << "row " << row;
  }
  size_t slots = 0;
  for (const auto& part : choice.Parts()) {
    slots += part.slots.size();
    ASSERT_TRUE(std::is_sorted(part.slots.begin(), part.slots.end()));
    for (const int32_t slot : part.slots)
      ASSERT_EQ(choice.ExpertsOf(slot / choice.k())[slot % choice.k()], part.expert);
  }
  size_t wanted = 0;
  for (const auto& row : chosen) wanted += row.size();
  ASSERT_EQ(slots, wanted);
  // One after the other, each only once it was asked, as in life.
  for (const int expert : failing) choice.Replace({expert}, refill);
  const NaiveExperts::Rows answered = naive.Answered({failing.begin(), failing.end()}, refill);
  const std::vector<uint8_t> all(static_cast<size_t>(choice.rows() * choice.k()), 1);
  for (int row = 0; row < naive.rows(); ++row) {
    std::vector<uint8_t> there = all;
    for (int i = 0; i < choice.k(); ++i) {
      const auto slot = static_cast<size_t>(row * choice.k() + i);
      there[slot] = choice.ExpertsOf(row)[static_cast<size_t>(i)] != ExpertChoice::kNone;
    }
    int32_t own_slots[ExpertsSpec::kMaxK];
    float weights[ExpertsSpec::kMaxK];
    const int count = choice.Weigh(row, there, own_slots, weights);
    std::vector<int> experts;
    for (int i = 0; i < count; ++i)
      experts.push_back(choice.ExpertsOf(row)[static_cast<size_t>(own_slots[i] % choice.k())]);
    ASSERT_EQ(experts, answered[static_cast<size_t>(row)]) << "row " << row;
    ASSERT_EQ(std::vector<float>(weights, weights + count), naive.Weights(row, experts)) << "row " << row;
  }
}

TEST(ExpertChoiceTest, AgreesWithAPlainReferenceOnAnyGates) {
  std::mt19937 random(7);
  for (int round = 0; round < 1500; ++round) {
    SCOPED_TRACE(round);
    const int experts = round % 50 == 0 ? 300 : 1 + static_cast<int>(random() % 12);
    const int rows = static_cast<int>(random() % 40);
    const RandomGates input(random, rows, experts);
    std::vector<int> failing(static_cast<size_t>(experts));
    for (int e = 0; e < experts; ++e) failing[static_cast<size_t>(e)] = e;
    std::shuffle(failing.begin(), failing.end(), random);
    failing.resize(random() % (failing.size() + 1));
    ExpectAsNaive(input, failing, random() % 2 == 0);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace portico
