#include "models/calibrate/threshold_sweep.h"

#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>

#include "gtest/gtest.h"

namespace portico {
namespace {

/// Rows drawn by chance, with ties, NaN and infinities among what is measured.
struct Drawn {
  std::vector<SweepMeasure> measures;
  std::vector<uint8_t> truths;
  RowOutcomes outcomes;
};

Drawn Draw(std::mt19937_64& bits) {
  const auto below = [&](uint64_t end) { return bits() % end; };
  Drawn drawn;
  const size_t rows = below(60);
  for (size_t m = 0; m < 1 + below(2); ++m) {
    SweepMeasure& measure = drawn.measures.emplace_back();
    measure.holds_below = below(2) == 0;
    measure.holds_equal = below(2) == 0;
    measure.is_float32 = below(2) == 0;
    const uint64_t distinct = 1 + below(40);
    for (size_t i = 0; i < rows; ++i) {
      double value = static_cast<double>(below(distinct)) / 7 - 2;
      if (measure.is_float32) value = static_cast<float>(value);
      if (below(15) == 0) value = std::nan("");
      if (below(15) == 0) value = std::numeric_limits<double>::infinity();
      if (below(15) == 0) value = -std::numeric_limits<double>::infinity();
      measure.values.push_back(value);
    }
  }
  const bool labelled = below(2) == 0;
  for (size_t i = 0; i < rows; ++i) {
    // Any condition: with one threshold bits 2 and 3 mean nothing.
    drawn.truths.push_back(static_cast<uint8_t>(below(16)));
    drawn.outcomes.agrees.push_back(below(3) != 0);
    if (!labelled) continue;
    drawn.outcomes.trigger_right.push_back(below(2) != 0);
    drawn.outcomes.full_right.push_back(below(4) != 0);
  }
  return drawn;
}

bool Compare(const SweepMeasure& measure, double value, const std::string& number) {
  double threshold = std::strtod(number.c_str(), nullptr);
  if (measure.is_float32) threshold = static_cast<float>(threshold);
  if (measure.holds_below) return measure.holds_equal ? value <= threshold : value < threshold;
  return measure.holds_equal ? value >= threshold : value > threshold;
}

/// What the cascade does with these numbers written into its condition, row by row.
SweepPoint BruteForce(const Drawn& drawn, const std::vector<std::string>& numbers) {
  SweepPoint point;
  for (size_t row = 0; row < drawn.truths.size(); ++row) {
    int way = 0;
    for (size_t m = 0; m < drawn.measures.size(); ++m) {
      if (Compare(drawn.measures[m], drawn.measures[m].values[row], numbers[m])) way |= 1 << m;
    }
    const bool escalates = (drawn.truths[row] >> way & 1) != 0;
    point.escalated += escalates;
    point.agreeing += escalates || drawn.outcomes.agrees[row] != 0;
    if (!drawn.outcomes.labelled()) continue;
    point.right += (escalates ? drawn.outcomes.full_right[row] : drawn.outcomes.trigger_right[row]) != 0;
  }
  return point;
}

size_t Distinct(const SweepMeasure& measure) {
  std::vector<double> values;
  for (const double value : measure.values) {
    if (!std::isnan(value)) values.push_back(value);
  }
  std::sort(values.begin(), values.end());
  return static_cast<size_t>(std::unique(values.begin(), values.end()) - values.begin());
}

TEST(ThresholdSweep, EveryPointIsWhatItsNumbersGiveRowByRow) {
  std::mt19937_64 bits(5);
  for (int round = 0; round < 400; ++round) {
    const Drawn drawn = Draw(bits);
    const ThresholdSweep sweep(drawn.measures, drawn.truths, drawn.outcomes);
    for (const SweepPoint& point : sweep.points()) {
      const std::vector<std::string> numbers = sweep.Numbers(point);
      const SweepPoint want = BruteForce(drawn, numbers);
      ASSERT_EQ(point.escalated, want.escalated) << "round " << round << ", thresholds " << numbers[0];
      ASSERT_EQ(point.agreeing, want.agreeing) << "round " << round;
      ASSERT_EQ(point.right, want.right) << "round " << round;
    }
  }
}

TEST(ThresholdSweep, APlaceBetweenAnyTwoValues) {
  std::mt19937_64 bits(6);
  for (int round = 0; round < 200; ++round) {
    Drawn drawn = Draw(bits);
    size_t most = 1, least = 1;
    for (SweepMeasure& measure : drawn.measures) {
      most *= Distinct(measure) + 1;
      // Beyond an infinity there is no place.
      least *= std::max<size_t>(Distinct(measure), 2) - 1;
    }
    const ThresholdSweep sweep(drawn.measures, drawn.truths, drawn.outcomes);
    EXPECT_LE(sweep.points().size(), most);
    EXPECT_GE(sweep.points().size(), least);
  }
}

TEST(ThresholdSweep, FewerPlacesThanValuesAreSpreadOverTheRows) {
  std::mt19937_64 bits(8);
  SweepMeasure measure;
  RowOutcomes outcomes;
  constexpr int kRows = 10000;
  for (int i = 0; i < kRows; ++i) {
    // Most of them close to 0.
    measure.values.push_back(static_cast<float>(std::pow(static_cast<double>(bits() % 1000003) / 1000003, 8)));
    outcomes.agrees.push_back(1);
  }
  const std::vector<uint8_t> truths(kRows, 0b10);
  const ThresholdSweep sweep({measure}, truths, outcomes, {.max_cuts_of_one = 101});
  ASSERT_LE(sweep.points().size(), 103u);
  ASSERT_GE(sweep.points().size(), 95u);
  EXPECT_EQ(sweep.points().front().escalated, 0);
  EXPECT_EQ(sweep.points().back().escalated, kRows);
  for (size_t i = 1; i < sweep.points().size(); ++i) {
    EXPECT_LE(sweep.points()[i].escalated - sweep.points()[i - 1].escalated, 2 * kRows / 100);
  }
  Drawn drawn{{measure}, truths, outcomes};
  for (const SweepPoint& point : sweep.points()) {
    EXPECT_EQ(point.escalated, BruteForce(drawn, sweep.Numbers(point)).escalated);
  }
}

TEST(ThresholdSweep, ABandIsSweptAtBothEnds) {
  // Right below 0.2 and above 0.8 only: escalating the middle three rows mends everything.
  const std::vector<double> scores = {0.1, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95};
  const RowOutcomes outcomes{.agrees = {1, 1, 0, 0, 0, 1, 1}};
  const std::vector<uint8_t> truths(scores.size(), 0b1000);
  const ThresholdSweep sweep({{.values = scores, .holds_below = false}, {.values = scores}}, truths, outcomes);
  int64_t fewest = 100;
  for (const SweepPoint& point : sweep.points()) {
    if (point.agreeing == 7) fewest = std::min(fewest, point.escalated);
  }
  EXPECT_EQ(fewest, 3);
}

TEST(ThresholdSweep, NoRowsGiveNoSetting) {
  const ThresholdSweep sweep({SweepMeasure()}, {}, RowOutcomes());
  ASSERT_EQ(sweep.points().size(), 1u);
  EXPECT_EQ(sweep.points()[0].escalated, 0);
  EXPECT_EQ(sweep.Numbers(sweep.points()[0])[0], "0");
}

TEST(ThresholdSweep, AMillionRowsTakeNoRunPerThreshold) {
  std::mt19937_64 bits(9);
  constexpr size_t kRows = 1000000;
  SweepMeasure low{.holds_below = false}, high;
  RowOutcomes outcomes;
  for (size_t i = 0; i < kRows; ++i) {
    const auto score = static_cast<float>(bits() % 16777216) / 16777216.0f;
    low.values.push_back(score);
    outcomes.agrees.push_back(std::abs(score - 0.5f) > 0.1f || bits() % 2 == 0);
  }
  high.values = low.values;
  const std::vector<uint8_t> truths(kRows, 0b1000);
  // 2^18 settings of a million rows each would be a quarter of 10^12 comparisons: minutes, where this takes a second.
  const ThresholdSweep sweep({low, high}, truths, outcomes);
  EXPECT_GT(sweep.points().size(), size_t{250000});
  Drawn drawn{{low, high}, truths, outcomes};
  const SweepPoint& point = sweep.points()[sweep.points().size() / 3];
  EXPECT_EQ(point.escalated, BruteForce(drawn, sweep.Numbers(point)).escalated);
}

}  // namespace
}  // namespace portico
