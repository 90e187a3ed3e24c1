#include "models/calibrate/frontier.h"

#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::ElementsAre;

constexpr int64_t kRows = 200;

std::vector<SweepPoint> Draw(std::mt19937_64& bits) {
  std::vector<SweepPoint> points(1 + bits() % 40);
  for (SweepPoint& point : points) {
    point.escalated = static_cast<int64_t>(bits() % 30);
    point.agreeing = kRows - static_cast<int64_t>(bits() % 30);
    point.right = kRows - static_cast<int64_t>(bits() % 30);
  }
  return points;
}

bool Beats(const SweepPoint& a, const SweepPoint& b) {
  return a.escalated <= b.escalated && a.agreeing >= b.agreeing &&
         (a.escalated < b.escalated || a.agreeing > b.agreeing);
}

TEST(Frontier, HoldsExactlyWhatNonBeats) {
  std::mt19937_64 bits(3);
  for (int round = 0; round < 500; ++round) {
    const std::vector<SweepPoint> points = Draw(bits);
    const std::vector<size_t> frontier = Frontier(points);
    for (size_t i = 0; i < points.size(); ++i) {
      bool beaten = false, shown = false;
      for (const SweepPoint& other : points) beaten |= Beats(other, points[i]);
      for (const size_t on : frontier) {
        shown |= points[on].escalated == points[i].escalated && points[on].agreeing == points[i].agreeing;
      }
      EXPECT_EQ(shown, !beaten) << "round " << round;
    }
    for (size_t i = 1; i < frontier.size(); ++i) {
      EXPECT_LT(points[frontier[i - 1]].escalated, points[frontier[i]].escalated);
    }
  }
}

TEST(Frontier, TheChosenPointKeepsToTheBudgetAndNoneThatDoesIsBetter) {
  std::mt19937_64 bits(4);
  const auto share = [&] { return static_cast<double>(bits() % 25) / kRows; };
  for (int round = 0; round < 2000; ++round) {
    const std::vector<SweepPoint> points = Draw(bits);
    TuneBudget budget;
    if (bits() % 2 == 0) budget.max_escalated = share();
    if (bits() % 2 == 0) budget.min_agreement = 1 - share();
    if (bits() % 2 == 0) budget.min_accuracy = 1 - share();
    const auto fits = [&](const SweepPoint& p) {
      const double n = kRows;
      return (!budget.max_escalated || static_cast<double>(p.escalated) <= *budget.max_escalated * n + 1e-6) &&
             (!budget.min_agreement || static_cast<double>(p.agreeing) >= *budget.min_agreement * n - 1e-6) &&
             (!budget.min_accuracy || static_cast<double>(p.right) >= *budget.min_accuracy * n - 1e-6);
    };
    const std::optional<size_t> chosen = ChoosePoint(points, kRows, budget);
    EXPECT_EQ(chosen.has_value(), std::any_of(points.begin(), points.end(), fits)) << budget.Text();
    if (!chosen) continue;
    EXPECT_TRUE(fits(points[*chosen])) << budget.Text();
    const bool quality = budget.min_agreement || budget.min_accuracy;
    for (const SweepPoint& point : points) {
      if (!fits(point)) continue;
      if (quality) {
        EXPECT_GE(point.escalated, points[*chosen].escalated);
      } else {
        EXPECT_LE(point.agreeing, points[*chosen].agreeing);
      }
    }
  }
}

TEST(Frontier, SharesAreDecimalFractions) {
  // 0.1 · 30 is less than 3 in binary.
  EXPECT_TRUE(Fits({.escalated = 3}, 30, {.max_escalated = 0.1}));
  EXPECT_FALSE(Fits({.escalated = 4}, 30, {.max_escalated = 0.1}));
  EXPECT_TRUE(Fits({.agreeing = 995}, 1000, {.min_agreement = 0.995}));
  EXPECT_FALSE(Fits({.agreeing = 994}, 1000, {.min_agreement = 0.995}));
}

TEST(Frontier, WhatNothingKeepsToHasItsNearest) {
  const std::vector<SweepPoint> points = {{.escalated = 0, .agreeing = 90, .right = 85},
                                          {.escalated = 10, .agreeing = 97, .right = 92},
                                          {.escalated = 30, .agreeing = 99, .right = 95},
                                          {.escalated = 100, .agreeing = 100, .right = 96}};
  const TuneBudget both{.max_escalated = 0.2, .min_agreement = 0.985};
  ASSERT_FALSE(ChoosePoint(points, 100, both));
  EXPECT_EQ(both.Text(), "at most 20 % of the rows escalated and at least 98.5 % agreement");
  EXPECT_EQ(FindNearest(points, 100, both).within_escalation, 1u);
  EXPECT_EQ(FindNearest(points, 100, both).with_quality, 2u);
  // The labels say that the full model is wrong more often.
  const TuneBudget never{.min_accuracy = 0.99};
  ASSERT_FALSE(ChoosePoint(points, 100, never));
  EXPECT_FALSE(FindNearest(points, 100, never).with_quality);
  EXPECT_EQ(FindNearest(points, 100, never).within_escalation, 3u);
}

TEST(Frontier, RunsFromFewToMany) {
  const std::vector<SweepPoint> points = {{.escalated = 5, .agreeing = 9},
                                          {.escalated = 2, .agreeing = 9},
                                          {.escalated = 0, .agreeing = 7},
                                          {.escalated = 7, .agreeing = 10}};
  EXPECT_THAT(Frontier(points), ElementsAre(2, 1, 3));
}

}  // namespace
}  // namespace portico
