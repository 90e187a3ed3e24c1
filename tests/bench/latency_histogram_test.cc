#include "bench/latency_histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <thread>
#include <vector>

namespace portico::bench {
namespace {

TEST(LatencyHistogramTest, EmptyOnesSayZero) {
  const LatencyHistogram histogram;
  EXPECT_EQ(histogram.count(), 0);
  EXPECT_EQ(histogram.Percentile(0.99), absl::ZeroDuration());
}

TEST(LatencyHistogramTest, OneValueIsEveryPercentileWithinABucket) {
  for (int64_t ns = 1; ns < int64_t{1} << 40; ns = ns * 5 / 3 + 1) {
    LatencyHistogram histogram;
    histogram.Add(absl::Nanoseconds(ns));
    for (const double share : {0.0, 0.5, 1.0}) {
      const auto got = static_cast<double>(absl::ToInt64Nanoseconds(histogram.Percentile(share)));
      EXPECT_GE(got, static_cast<double>(ns));
      EXPECT_LE(got, static_cast<double>(ns) * 1.016);
    }
  }
}

TEST(LatencyHistogramTest, SmallOnesAreExactAndExtremesAreKept) {
  LatencyHistogram histogram;
  for (int ns = 1; ns <= 100; ++ns) histogram.Add(absl::Nanoseconds(ns));
  EXPECT_EQ(histogram.Percentile(0.5), absl::Nanoseconds(50));
  EXPECT_EQ(histogram.Percentile(0.99), absl::Nanoseconds(99));
  histogram.Add(-absl::Seconds(1));
  EXPECT_EQ(histogram.Percentile(0), absl::ZeroDuration());
  histogram.Add(absl::Hours(5));
  EXPECT_EQ(histogram.count(), 102);
  EXPECT_GT(histogram.Percentile(1), absl::Minutes(18));
}

TEST(LatencyHistogramTest, PercentilesAreThoseOfTheSortedValues) {
  std::mt19937_64 random(3);
  std::exponential_distribution<double> latency(1 / 250e3);
  LatencyHistogram histogram;
  std::vector<int64_t> sorted;
  for (int i = 0; i < 20'000; ++i) {
    sorted.push_back(static_cast<int64_t>(latency(random)));
    histogram.Add(absl::Nanoseconds(sorted.back()));
  }
  std::sort(sorted.begin(), sorted.end());
  for (const double share : {0.01, 0.5, 0.9, 0.99, 0.999}) {
    const auto want = static_cast<double>(sorted[static_cast<size_t>(share * 20'000) - 1]);
    const auto got = static_cast<double>(absl::ToInt64Nanoseconds(histogram.Percentile(share)));
    EXPECT_NEAR(got, want, want * 0.017 + 1) << share;
  }
}

TEST(LatencyHistogramTest, CountsWhatManyThreadsAdd) {
  LatencyHistogram histogram;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&histogram] {
      for (int n = 0; n < 5000; ++n) histogram.Add(absl::Microseconds(n));
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(histogram.count(), 20'000);
  EXPECT_NEAR(absl::ToDoubleMicroseconds(histogram.Percentile(0.5)), 2500, 45);
}

}  // namespace
}  // namespace portico::bench
