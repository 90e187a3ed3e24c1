// Which rows are kept from a full model that has too much to do, and how many.

#include "remote_op/brown_out.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Rows = std::vector<int64_t>;

Tensor Need(const std::vector<float>& need) {
  return Tensor::Of<float>({static_cast<int64_t>(need.size())}, absl::MakeConstSpan(need));
}

/// Steps that see `calls`, of which `overloaded`, each.
BrownOut::State StepsOf(BrownOut& brown_out, int steps, int calls, int overloaded) {
  BrownOut::State state;
  for (int step = 0; step < steps; ++step) {
    for (int call = 0; call < calls; ++call) brown_out.Ended(call < overloaded);
    state = brown_out.Step();
  }
  return state;
}

TEST(ShedLevelTest, RisesQuicklyFallsSlowlyAndStaysWithinItsBound) {
  ShedLevel level(0.5);
  EXPECT_EQ(level.Advance(100, 0, 1), 0);
  EXPECT_EQ(level.Advance(100, 9, 1), 0) << "fewer than one in ten";
  EXPECT_EQ(level.Advance(100, 10, 1), 0.125);
  for (int step = 1; step < ShedLevel::kRise; ++step) level.Advance(1, 1, 1);
  EXPECT_EQ(level.level(), 0.5);
  EXPECT_EQ(level.Advance(10, 10, 1), 0.5);
  EXPECT_EQ(level.Advance(100, 1, 1), 0.5) << "some are refused still";
  EXPECT_NEAR(level.Advance(100, 0, 1), 0.49, 1e-12);
  for (int step = 1; step < ShedLevel::kFall; ++step) level.Advance(0, 0, 1);
  EXPECT_EQ(level.level(), 0);
}

TEST(ShedLevelTest, WhateverComesItIsWithinTheBoundAndEndsAtNothing) {
  std::mt19937 random(1);
  for (int run = 0; run < 300; ++run) {
    const double max = static_cast<double>(random() % 101) / 100;
    ShedLevel level(max);
    double before = 0;
    for (int step = 0; step < 200; ++step) {
      const auto calls = static_cast<int64_t>(random() % 20);
      const auto overloaded =
          random() % 3 == 0 ? static_cast<int64_t>(random() % (static_cast<uint64_t>(calls) + 1)) : 0;
      const double now = level.Advance(calls, overloaded, 1 + static_cast<int64_t>(random() % 3));
      ASSERT_GE(now, 0);
      ASSERT_LE(now, max);
      ASSERT_LE(now - before, max / ShedLevel::kRise + 1e-12);
      if (overloaded == 0) {
        ASSERT_LE(now, before);
      }
      before = now;
    }
    for (int step = 0; step < ShedLevel::kFall; ++step) level.Advance(static_cast<int64_t>(random() % 20), 0, 1);
    ASSERT_EQ(level.level(), 0);
  }
}

TEST(BrownOutTest, NothingIsDoneWhereNoCallIsRefused) {
  BrownOut brown_out(0.5);
  for (int call = 0; call < 1000; ++call) EXPECT_FALSE(brown_out.Ended(false));
  EXPECT_FALSE(brown_out.active());
  Rows rows = {0, 1};
  EXPECT_THAT(brown_out.Take(Need({1, 2}), &rows), IsEmpty());
  EXPECT_THAT(rows, ElementsAre(0, 1));
}

TEST(BrownOutTest, BeginsWithTheFirstSignAndEndsAfterTheLast) {
  BrownOut brown_out(0.5);
  EXPECT_TRUE(brown_out.Ended(true));
  EXPECT_FALSE(brown_out.Ended(true)) << "steps are under way";
  EXPECT_TRUE(brown_out.active());
  EXPECT_EQ(StepsOf(brown_out, ShedLevel::kRise, 10, 10).level, 0.5);
  EXPECT_FALSE(StepsOf(brown_out, ShedLevel::kFall - 1, 10, 0).over);
  const BrownOut::State last = StepsOf(brown_out, 1, 10, 0);
  EXPECT_TRUE(last.over);
  EXPECT_EQ(last.level, 0);
  EXPECT_FALSE(brown_out.active());
  EXPECT_TRUE(brown_out.Ended(true));
}

TEST(BrownOutTest, OneCallOfFewIsNoOverloadYet) {
  BrownOut brown_out(0.5);
  EXPECT_TRUE(brown_out.Ended(true));
  EXPECT_EQ(brown_out.Step().level, 0);
  for (int call = 0; call < 20; ++call) brown_out.Ended(false);
  const BrownOut::State state = brown_out.Step();
  EXPECT_EQ(state.level, 0) << "one of 21";
  EXPECT_FALSE(state.over);
  EXPECT_TRUE(StepsOf(brown_out, 1, 20, 0).over);
  // All there are, for half a second.
  EXPECT_TRUE(brown_out.Ended(true));
  EXPECT_EQ(StepsOf(brown_out, 4, 0, 0).level, 0);
  EXPECT_GT(brown_out.Step().level, 0);
}

TEST(BrownOutTest, OfOneRequestThoseThatNeedItLeastAreKept) {
  BrownOut brown_out(0.5);
  brown_out.Ended(true);
  StepsOf(brown_out, ShedLevel::kRise, 10, 10);
  Rows rows = {0, 2, 3, 5};
  // Row 1 and 4 did not want the full model.
  const Rows taken = brown_out.Take(Need({0.9F, -5, 0.1F, std::nanf(""), -5, 0.2F}), &rows);
  EXPECT_THAT(taken, ElementsAre(2, 5));
  EXPECT_THAT(rows, ElementsAre(0, 3));
}

TEST(BrownOutTest, RowsOfNoNumberAreNeverKept) {
  BrownOut brown_out(1);
  brown_out.Ended(true);
  StepsOf(brown_out, ShedLevel::kRise, 10, 10);
  Rows rows = {0, 1};
  EXPECT_THAT(brown_out.Take(Need({std::nanf(""), std::nanf("")}), &rows), IsEmpty());
  EXPECT_THAT(rows, ElementsAre(0, 1));
}

TEST(BrownOutTest, NeverMoreThanTheShareHoweverRowsAreSpread) {
  std::mt19937 random(5);
  for (const double max : {0.05, 0.3, 0.5, 1.0}) {
    for (const bool single : {true, false}) {
      BrownOut brown_out(max);
      brown_out.Ended(true);
      int64_t seen = 0, kept = 0;
      double need_of_kept = 0, need_of_others = 0;
      for (int step = 0; step < 200; ++step) {
        StepsOf(brown_out, 1, 10, 10);
        for (int request = 0; request < 30; ++request) {
          const size_t count = single ? 1 : 1 + random() % 20;
          std::vector<float> need(count);
          Rows rows(count);
          for (size_t row = 0; row < count; ++row) {
            need[row] = std::generate_canonical<float, 20>(random);
            rows[row] = static_cast<int64_t>(row);
          }
          const Rows taken = brown_out.Take(Need(need), &rows);
          ASSERT_EQ(taken.size() + rows.size(), count);
          ASSERT_TRUE(std::is_sorted(rows.begin(), rows.end()));
          seen += static_cast<int64_t>(count);
          kept += static_cast<int64_t>(taken.size());
          for (const int64_t row : taken) need_of_kept += need[static_cast<size_t>(row)];
          for (const int64_t row : rows) need_of_others += need[static_cast<size_t>(row)];
          ASSERT_LE(static_cast<double>(kept), max * static_cast<double>(seen) + 1e-6);
        }
      }
      // It is made use of, too, and by those that need it least.
      EXPECT_GE(static_cast<double>(kept), 0.8 * max * static_cast<double>(seen)) << max << single;
      if (max < 1) {
        EXPECT_LT(need_of_kept / static_cast<double>(kept), 0.7 * need_of_others / static_cast<double>(seen - kept))
            << max << single;
      }
    }
  }
}

TEST(BrownOutTest, RowsThatAllNeedItTheSameAreKeptByTheShareToo) {
  BrownOut brown_out(0.5);
  brown_out.Ended(true);
  int64_t kept = 0;
  for (int step = 0; step < 100; ++step) {
    StepsOf(brown_out, 1, 10, 10);
    for (int request = 0; request < 10; ++request) {
      Rows rows = {0};
      kept += static_cast<int64_t>(brown_out.Take(Need({0.5F}), &rows).size());
    }
  }
  EXPECT_NEAR(static_cast<double>(kept), 500, 20);
}

}  // namespace
}  // namespace portico
