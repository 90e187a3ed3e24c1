#include "node/observe/metrics.h"

#include <thread>

#include "base/metric_scope.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(PrometheusMetricsTest, SeriesAreExposedInTextFormat) {
  const auto metrics = PrometheusMetrics::Create();
  metrics->NewCounter("calls_total", "Calls.", {{"model", "a"}}).Add(2);
  metrics->NewGauge("inside", "Inside.", {}).Set(3);
  metrics->NewHistogram("seconds", "Latency.", {}, {0.1, 1}).Observe(0.5);
  const std::string text = metrics->Expose();
  EXPECT_THAT(text, HasSubstr("# TYPE calls_total counter"));
  EXPECT_THAT(text, HasSubstr("calls_total{model=\"a\"} 2"));
  EXPECT_THAT(text, HasSubstr("inside 3"));
  EXPECT_THAT(text, HasSubstr("seconds_bucket{le=\"0.1\"} 0"));
  EXPECT_THAT(text, HasSubstr("seconds_bucket{le=\"1\"} 1"));
}

TEST(PrometheusMetricsTest, SourcesAreAskedEachTime) {
  const auto metrics = PrometheusMetrics::Create();
  int asked = 0;
  metrics->AddSource([&asked] { return "mine " + std::to_string(++asked) + "\n"; });
  EXPECT_THAT(metrics->Expose(), testing::HasSubstr("mine 1\n"));
  EXPECT_THAT(metrics->Expose(), testing::HasSubstr("mine 2\n"));
}

TEST(PrometheusMetricsTest, SameNameAndLabelsGiveTheSameObject) {
  const auto metrics = PrometheusMetrics::Create();
  Counter& first = metrics->NewCounter("c", "C.", {{"a", "1"}, {"b", "2"}});
  EXPECT_EQ(&first, &metrics->NewCounter("c", "C.", {{"b", "2"}, {"a", "1"}}));
  EXPECT_NE(&first, &metrics->NewCounter("c", "C.", {{"a", "1"}, {"b", "3"}}));
}

TEST(PrometheusMetricsTest, SeriesOfAScopeGoWithIt) {
  const auto metrics = PrometheusMetrics::Create();
  {
    MetricScope old(*metrics);
    old.NewCounter("c", "C.", {{"version", "1"}}).Increment();
    for (int i = 0; i < 3; ++i) old.NewHistogram("h", "H.", {}, {1}).Observe(2);
    MetricScope next(*metrics);
    next.NewHistogram("h", "H.", {}, {1}).Observe(2);
    metrics->NewGauge("g", "G.", {}).Set(1);
    old.NewGauge("g", "G.", {}).Set(2);
    EXPECT_THAT(metrics->Expose(), HasSubstr("h_count 4"));
  }
  const std::string text = metrics->Expose();
  EXPECT_THAT(text, Not(HasSubstr("version=")));
  EXPECT_THAT(text, Not(HasSubstr("h_count")));
  EXPECT_THAT(text, HasSubstr("g 2"));
  // The name is free for a new one.
  metrics->NewCounter("c", "C.", {{"version", "1"}});
  EXPECT_THAT(metrics->Expose(), HasSubstr("c{version=\"1\"} 0"));
}

TEST(PrometheusMetricsTest, ManyThreadsLoseNothing) {
  const auto metrics = PrometheusMetrics::Create();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      Counter& counter = metrics->NewCounter("c", "C.", {});
      for (int n = 0; n < 1000; ++n) counter.Increment();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(metrics->Expose(), HasSubstr("c 4000"));
}

}  // namespace
}  // namespace portico
