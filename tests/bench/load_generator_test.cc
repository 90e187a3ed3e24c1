#include "bench/load_generator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

namespace portico::bench {
namespace {

using Done = absl::AnyInvocable<void(const absl::Status&)>;

/// Sleeping is moving the time on; a hook sees each step.
class FakeTime final : public LoadTime {
 public:
  absl::Time Now() override { return now_; }
  void Sleep(absl::Duration duration) override {
    now_ += duration;
    if (on_sleep) on_sleep();
  }
  std::function<void()> on_sleep;

 private:
  absl::Time now_ = absl::FromUnixSeconds(1'000'000);
};

class LoadGeneratorTest : public ::testing::Test {
 protected:
  LoadGeneratorTest() {
    load_.calls_per_second = 1000;
    load_.duration = absl::Seconds(1);
    load_.time = &time_;
  }
  /// In a thread of its own, as the generator changes how its thread is scheduled.
  void Generate(
      std::function<void(Done)> send, std::function<bool()> stop = [] { return false; }) {
    std::thread([&] {
      GenerateLoad(
          load_, [&](Done done) { send(std::move(done)); }, stop, &result_);
    }).join();
  }
  /// When each call of a server that answers at once is sent.
  std::vector<absl::Time> SendTimes() {
    std::vector<absl::Time> times;
    Generate([&](Done done) {
      times.push_back(time_.Now());
      done(absl::OkStatus());
    });
    return times;
  }

  FakeTime time_;
  OpenLoad load_;
  LoadResult result_;
};

TEST_F(LoadGeneratorTest, SendsAsManyCallsAsAskedAtTimesThatVary) {
  const std::vector<absl::Time> times = SendTimes();
  EXPECT_EQ(result_.sent, static_cast<int64_t>(times.size()));
  EXPECT_NEAR(static_cast<double>(result_.sent), 1000, 100);
  // Exponential gaps: a share of e^-1 of them is longer than the mean.
  int longer = 0;
  for (size_t i = 1; i < times.size(); ++i) longer += times[i] - times[i - 1] > absl::Milliseconds(1);
  EXPECT_NEAR(longer / 1000.0, 0.37, 0.06);
  EXPECT_EQ(result_.latency.count(), result_.sent);
  EXPECT_LE(result_.latency.Percentile(1), absl::Microseconds(1));
}

TEST_F(LoadGeneratorTest, TheSeedDecidesTheTimes) {
  const auto gaps = [this](uint64_t seed) {
    load_.seed = seed;
    const absl::Time start = time_.Now();
    std::vector<absl::Duration> since;
    for (const absl::Time at : SendTimes()) since.push_back(at - start);
    return since;
  };
  const auto first = gaps(7);
  EXPECT_EQ(gaps(7), first);
  EXPECT_NE(gaps(8), first);
}

// A closed loop would send less while the server stalls, and count one slow call.
TEST_F(LoadGeneratorTest, AStallCountsForEveryCallThatWasMeantToLeaveMeanwhile) {
  Generate([&](Done done) {
    if (result_.sent == 300) time_.Sleep(absl::Milliseconds(100));
    done(absl::OkStatus());
  });
  const int64_t sent = result_.sent;
  // A tenth of the calls was meant to leave in those 100 ms; they are late by 50 ms on average.
  EXPECT_LT(result_.latency.Percentile(0.85), absl::Milliseconds(1));
  EXPECT_GT(result_.latency.Percentile(0.95), absl::Milliseconds(30));
  EXPECT_GT(result_.latency.Percentile(1), absl::Milliseconds(99));
  // And none is left out.
  result_.sent = 0;
  SendTimes();
  EXPECT_EQ(result_.sent, sent);
}

TEST_F(LoadGeneratorTest, WaitingForRoomCountsAsLatency) {
  load_.calls_per_second = 100;
  load_.max_unanswered = 2;
  std::deque<std::pair<absl::Time, Done>> waiting;
  size_t most = 0;
  // One call at a time, 50 ms each: five times too slow.
  absl::Time free_at = time_.Now();
  time_.on_sleep = [&] {
    while (!waiting.empty() && waiting.front().first <= time_.Now()) {
      waiting.front().second(absl::OkStatus());
      waiting.pop_front();
    }
  };
  Generate([&](Done done) {
    free_at = std::max(free_at, time_.Now()) + absl::Milliseconds(50);
    waiting.emplace_back(free_at, std::move(done));
    most = std::max(most, waiting.size());
  });
  EXPECT_EQ(most, 2);
  EXPECT_EQ(result_.latency.count(), result_.sent);
  EXPECT_GT(result_.sent, 70);
  // The last ones were meant to leave in the first second and wait for all before them.
  EXPECT_GT(result_.latency.Percentile(1), absl::Milliseconds(50) * (result_.sent - 1) - absl::Seconds(1));
}

TEST_F(LoadGeneratorTest, FailedCallsAreCountedApart) {
  int calls = 0;
  Generate([&](Done done) { done(++calls % 4 == 0 ? absl::UnavailableError("down") : absl::OkStatus()); });
  EXPECT_EQ(result_.failed, calls / 4);
  EXPECT_EQ(result_.latency.count(), calls - calls / 4);
}

TEST_F(LoadGeneratorTest, StopsWhenTold) {
  Generate([](Done done) { done(absl::OkStatus()); }, [this] { return result_.sent == 20; });
  EXPECT_EQ(result_.sent, 20);
}

TEST_F(LoadGeneratorTest, WaitsForAnswersOfOtherThreads) {
  load_.time = &LoadTime::Real();
  load_.duration = absl::Milliseconds(20);
  std::vector<std::thread> servers;
  Generate([&](Done done) { servers.emplace_back([done = std::move(done)]() mutable { done(absl::OkStatus()); }); });
  EXPECT_EQ(result_.latency.count(), result_.sent);
  for (std::thread& server : servers) server.join();
}

}  // namespace
}  // namespace portico::bench
