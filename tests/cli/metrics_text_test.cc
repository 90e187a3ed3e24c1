#include "cli/metrics_text.h"

#include <cmath>
#include <limits>

#include "cli/metric_window.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "node/observe/metrics.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

MetricsText Parsed(absl::string_view text) {
  auto metrics = MetricsText::Parse(text);
  EXPECT_TRUE(metrics.ok()) << metrics.status();
  return metrics.ok() ? *std::move(metrics) : MetricsText();
}

TEST(MetricsTextTest, ReadsWhatNodesWrite) {
  const auto registry = PrometheusMetrics::Create();
  registry->NewCounter("calls_total", "Calls.", {{"target", "a \"b\"\\\n"}, {"code", "OK"}}).Add(3);
  registry->NewGauge("fill", "Fill.", {}).Set(-0.5);
  Histogram& latency = registry->NewHistogram("latency_seconds", "Latency.", {{"model", "m"}}, {0.1, 1});
  for (const double value : {0.05, 0.5, 0.5, 7.0}) latency.Observe(value);
  const MetricsText metrics = Parsed(registry->Expose());
  EXPECT_THAT(metrics.Values("calls_total"),
              ElementsAre(Pair(SeriesLabels{{"code", "OK"}, {"target", "a \"b\"\\?"}}, 3)));
  EXPECT_THAT(metrics.Values("fill"), ElementsAre(Pair(SeriesLabels{}, -0.5)));
  const auto& histograms = metrics.Histograms("latency_seconds");
  ASSERT_EQ(histograms.size(), 1u);
  EXPECT_EQ(histograms.begin()->first, (SeriesLabels{{"model", "m"}}));
  EXPECT_THAT(histograms.begin()->second.buckets, ElementsAre(Pair(0.1, 1), Pair(1, 3), Pair(kInfinity, 4)));
  EXPECT_DOUBLE_EQ(histograms.begin()->second.sum, 8.05);
  EXPECT_TRUE(metrics.Values("none").empty());
  EXPECT_TRUE(metrics.Histograms("none").empty());
}

TEST(MetricsTextTest, TimestampsAndCommentsOfOthersAreSkipped) {
  const MetricsText metrics = Parsed("# a comment\r\n\nup 1 1700000000000\r\nx{a=\"1\",} 2\n");
  EXPECT_THAT(metrics.Values("up"), ElementsAre(Pair(SeriesLabels{}, 1)));
  EXPECT_THAT(metrics.Values("x"), ElementsAre(Pair(SeriesLabels{{"a", "1"}}, 2)));
}

TEST(MetricsTextTest, WhatIsNoMetricIsNamedByItsLine) {
  for (const char* text :
       {"up 1\n<html>\n", "up 1\nx{a=\"1} 2", "up 1\nx{a} 2", "up 1\nx{a=\"1\"} many", "up 1\n{} 1"}) {
    const auto metrics = MetricsText::Parse(text);
    EXPECT_TRUE(absl::IsInvalidArgument(metrics.status())) << text;
    EXPECT_THAT(std::string(metrics.status().message()), HasSubstr("metrics, line 2: got '")) << text;
  }
}

TEST(QuantileTest, LiesEvenlyBetweenTheBoundsOfItsBucket) {
  const HistogramCounts histogram{{{1, 10}, {2, 20}, {4, 20}, {kInfinity, 20}}, 0};
  EXPECT_DOUBLE_EQ(QuantileOf(histogram, 0.25), 0.5);
  EXPECT_DOUBLE_EQ(QuantileOf(histogram, 0.5), 1);
  EXPECT_DOUBLE_EQ(QuantileOf(histogram, 0.75), 1.5);
  EXPECT_DOUBLE_EQ(QuantileOf(histogram, 1), 2);
}

TEST(QuantileTest, BeyondTheLastBoundOnlyThatIsKnown) {
  EXPECT_DOUBLE_EQ(QuantileOf({{{1, 1}, {2, 1}, {kInfinity, 100}}, 0}, 0.99), 2);
  EXPECT_TRUE(std::isnan(QuantileOf({}, 0.5)));
  EXPECT_TRUE(std::isnan(QuantileOf({{{1, 0}, {kInfinity, 0}}, 0}, 0.5)));
}

TEST(MetricWindowTest, CountsWhatHappenedBetweenTwoReadings) {
  const MetricsText before =
      Parsed("calls{m=\"a\",c=\"OK\"} 10\ncalls{m=\"a\",c=\"BAD\"} 1\ncalls{m=\"gone\",c=\"OK\"} 5\n");
  const MetricsText now =
      Parsed("calls{m=\"a\",c=\"OK\"} 30\ncalls{m=\"a\",c=\"BAD\"} 2\ncalls{m=\"new\",c=\"OK\"} 7\n");
  const MetricWindow window(before, now);
  using Key = MetricWindow::Key;
  EXPECT_THAT(window.Counted("calls", {"m"}), ElementsAre(Pair(Key{"a"}, 21), Pair(Key{"new"}, 7)));
  EXPECT_THAT(window.Counted("calls", {}, [](const SeriesLabels& labels) { return LabelOf(labels, "c") != "OK"; }),
              ElementsAre(Pair(Key{}, 1)));
  EXPECT_THAT(window.Gauged("calls", {"c"}), ElementsAre(Pair(Key{"BAD"}, 2), Pair(Key{"OK"}, 37)));
}

TEST(MetricWindowTest, ANodeThatBeganAnewCountsFromZero) {
  const char* const kBefore =
      "# TYPE t histogram\nt_bucket{le=\"1\"} 90\nt_bucket{le=\"+Inf\"} 100\nt_sum 50\nt_count 100\nc 100\n";
  const char* const kNow =
      "# TYPE t histogram\nt_bucket{le=\"1\"} 3\nt_bucket{le=\"+Inf\"} 4\nt_sum 2\nt_count 4\nc 4\n";
  const MetricsText before = Parsed(kBefore), now = Parsed(kNow);
  EXPECT_THAT(MetricWindow(before, now).Counted("c", {}), ElementsAre(Pair(MetricWindow::Key{}, 4)));
  const HistogramCounts anew = MetricWindow(before, now).Observed("t", {}).at({});
  EXPECT_EQ(anew.count(), 4);
  EXPECT_EQ(anew.sum, 2);
  const HistogramCounts onward = MetricWindow(now, before).Observed("t", {}).at({});
  EXPECT_EQ(onward.count(), 96);
  EXPECT_EQ(onward.sum, 48);
  EXPECT_EQ(onward.buckets[0].second, 87);
}

}  // namespace
}  // namespace portico
