#include "router/latency_quantile.h"

#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace portico {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1'000'000);

TEST(LatencyQuantileTest, SaysNothingBeforeItKnowsEnough) {
  LatencyQuantile quantile(0.95);
  for (int i = 1; i < LatencyQuantile::kMinSamples; ++i) {
    quantile.Learn(absl::Milliseconds(1), kStart + absl::Seconds(i));
    EXPECT_EQ(quantile.Get(), absl::InfiniteDuration());
  }
  quantile.Learn(absl::Milliseconds(1), kStart + absl::Seconds(1000));
  EXPECT_NE(quantile.Get(), absl::InfiniteDuration());
}

TEST(LatencyQuantileTest, IsWithinABucketOfTheTruth) {
  for (const int64_t unit_us : {1, 17, 1000, 100'000}) {
    for (const double share : {0.5, 0.95, 0.99}) {
      LatencyQuantile quantile(share);
      for (int64_t i = 0; i < 1000; ++i) {
        quantile.Learn(absl::Microseconds(unit_us * (1 + i * 7 % 100)), kStart + absl::Milliseconds(i));
      }
      const double want = static_cast<double>(unit_us) * share * 100;
      const double got = absl::ToDoubleMicroseconds(quantile.Get());
      EXPECT_GE(got, want * 0.97) << unit_us << " " << share;
      EXPECT_LE(got, want * 1.08 + 2) << unit_us << " " << share;
    }
  }
}

TEST(LatencyQuantileTest, WhatIsOldIsForgotten) {
  LatencyQuantile quantile(0.95);
  absl::Time now = kStart;
  const auto learn = [&](absl::Duration latency, int count) {
    for (int i = 0; i < count; ++i) quantile.Learn(latency, now += absl::Milliseconds(10));
  };
  learn(absl::Milliseconds(100), 2000);
  EXPECT_GT(quantile.Get(), absl::Milliseconds(90));
  learn(absl::Milliseconds(1), 8000);
  EXPECT_LT(quantile.Get(), absl::Milliseconds(2));
}

TEST(LatencyQuantileTest, ARarelyCalledTargetIsKnownAllTheSame) {
  LatencyQuantile quantile(0.95);
  absl::Time now = kStart;
  for (int i = 0; i < 300; ++i) quantile.Learn(absl::Milliseconds(5), now += absl::Seconds(10));
  EXPECT_LT(quantile.Get(), absl::Milliseconds(6));
  quantile.Learn(absl::Milliseconds(5), now += absl::Hours(1));
  EXPECT_LT(quantile.Get(), absl::Milliseconds(6));
}

TEST(LatencyQuantileTest, AnyLatencyHasABucket) {
  LatencyQuantile quantile(0.5);
  for (int i = 0; i < 400; ++i) {
    quantile.Learn(i % 2 == 0 ? absl::Hours(5) : -absl::Seconds(1), kStart + absl::Seconds(i));
  }
  EXPECT_GE(quantile.Get(), absl::Microseconds(1));
}

TEST(LatencyQuantileTest, ManyThreadsMayTell) {
  LatencyQuantile quantile(0.95);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20'000; ++i) quantile.Learn(absl::Microseconds(i % 1000), kStart + absl::Milliseconds(i));
    });
  }
  for (std::thread& thread : threads) thread.join();
  // The last look may have been any thread's, while the others had hardly begun.
  quantile.Learn(absl::Microseconds(500), kStart + absl::Minutes(1));
  EXPECT_GT(quantile.Get(), absl::Microseconds(900));
  EXPECT_LT(quantile.Get(), absl::Microseconds(1050));
}

}  // namespace
}  // namespace portico
