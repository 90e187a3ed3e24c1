#include "node/observe/metrics.h"

#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

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

TEST(PrometheusMetricsTest, SameNameAndLabelsGiveTheSameObject) {
  const auto metrics = PrometheusMetrics::Create();
  Counter& first = metrics->NewCounter("c", "C.", {{"a", "1"}, {"b", "2"}});
  EXPECT_EQ(&first, &metrics->NewCounter("c", "C.", {{"b", "2"}, {"a", "1"}}));
  EXPECT_NE(&first, &metrics->NewCounter("c", "C.", {{"a", "1"}, {"b", "3"}}));
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
