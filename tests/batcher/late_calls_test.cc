// Calls whose deadline passes while they wait: they leave the queue by then, wherever they stand in it.

#include <algorithm>
#include <array>
#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/batcher/batcher_fixture.h"
#include "tests/testing/recording_registry.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class LateCallsTest : public BatcherTest {
 protected:
  /// The batcher waits for what is left.
  void TearDown() override { Pass(absl::Hours(2)); }

  Ref<RequestContext> Within(absl::Duration timeout, const std::string& product = "") {
    auto context = MakeRef<RequestContext>();
    context->deadline = Deadline::In(timeout, clock_);
    context->product = product;
    return context;
  }
  size_t SendWithin(absl::Duration timeout, const std::string& product = "") {
    return Submit({Rows({1})}, Within(timeout, product));
  }
  /// Lets the timer and other workers go on, as they do while a run is under way.
  void Pass(absl::Duration time) {
    clock_.Advance(time);
    timer_.RunDue();
    executor_.RunAll();
  }
  /// Builds a batcher with one run at a time, and begins one: `meanwhile` happens during it.
  template <typename Meanwhile>
  void DuringARun(Meanwhile meanwhile) {
    options_.max_running = 1;
    batcher_ = std::make_unique<Batcher>(
        options_,
        [this, meanwhile, function = Doubling()](absl::Span<const Tensor> inputs) {
          if (std::exchange(first_run_, false)) meanwhile();
          return function(inputs);
        },
        executor_, clock_, metrics_);
    SubmitRows({0});
    executor_.RunAll();
  }
  double Expired(const std::string& product) {
    return metrics_.series[absl::StrCat("portico_batch_product_expired_total queue=m/segment_0 product=", product)]
        .value;
  }

  RecordingRegistry metrics_;
  bool first_run_ = true;
};

TEST_F(LateCallsTest, AreAnsweredWhileARunIsUnderWay) {
  DuringARun([this] {
    for (int i = 0; i < 100; ++i) SubmitRows({1});
    const size_t late = SendWithin(absl::Milliseconds(20), "digit");
    const size_t live = SendWithin(absl::Milliseconds(40), "digit");
    Pass(absl::Milliseconds(19));
    EXPECT_FALSE(results_[late].has_value());
    Pass(absl::Milliseconds(6));
    EXPECT_EQ(Code(late), absl::StatusCode::kDeadlineExceeded);
    EXPECT_FALSE(results_[live].has_value());
    Pass(absl::Milliseconds(20));
    EXPECT_EQ(Code(live), absl::StatusCode::kDeadlineExceeded);
  });
  EXPECT_THAT(runs_, ElementsAre(1, 64, 36));
  EXPECT_EQ(Expired("digit"), 2);
}

TEST_F(LateCallsTest, AreToldNoLaterThanAStepAfterTheirDeadlines) {
  options_.max_delay = absl::Hours(1);
  Build();
  std::vector<std::pair<absl::Time, size_t>> calls;
  for (const int micros : {107'000, 100'100, 2'000'000, 102'000, 300, 104'999, 1'250'000, 5'000}) {
    const absl::Duration timeout = absl::Microseconds(micros);
    calls.emplace_back(clock_.Now() + timeout, SendWithin(timeout));
  }
  int looks = 0;
  for (int step = 0; step < 2100; ++step) {
    clock_.Advance(absl::Milliseconds(1));
    looks += timer_.RunDue();
    executor_.RunAll();
    for (const auto& [deadline, call] : calls) {
      if (clock_.Now() < deadline) {
        EXPECT_FALSE(results_[call].has_value()) << deadline;
      } else if (clock_.Now() >= deadline + absl::Milliseconds(5)) {
        EXPECT_EQ(Code(call), absl::StatusCode::kDeadlineExceeded) << deadline << " at " << clock_.Now();
      }
    }
  }
  EXPECT_LE(looks, 12) << "not one for each tick";
  EXPECT_THAT(runs_, IsEmpty());
}

TEST_F(LateCallsTest, AFullQueueLetsThemGoFirst) {
  options_.max_queue_rows = 3;
  options_.max_delay = absl::Hours(1);
  Build();
  SubmitRows({1});
  const size_t late = SendWithin(absl::Milliseconds(1)), other = SendWithin(absl::Milliseconds(1));
  EXPECT_EQ(Code(SubmitRows({2})), absl::StatusCode::kResourceExhausted);
  clock_.Advance(absl::Milliseconds(1));
  // The timer has not looked yet.
  const size_t let_in = SubmitRows({3});
  EXPECT_FALSE(results_[let_in].has_value());
  executor_.RunAll();
  EXPECT_EQ(Code(late), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(Code(other), absl::StatusCode::kDeadlineExceeded);
  SubmitRows({4});
  EXPECT_EQ(Code(SubmitRows({5})), absl::StatusCode::kResourceExhausted);
}

TEST_F(LateCallsTest, OfAFloodKeepNobodyOut) {
  options_.max_queue_rows = 200;
  options_.max_delay = absl::Hours(1);
  options_.max_batch_rows = 1000;
  Build();
  for (int i = 0; i < 200; ++i) SendWithin(absl::Milliseconds(10), "flood");
  EXPECT_EQ(Code(SendWithin(absl::Seconds(1), "flood")), absl::StatusCode::kResourceExhausted);
  clock_.Advance(absl::Milliseconds(10));
  const size_t first = results_.size();
  for (int i = 0; i < 200; ++i) SendWithin(absl::Seconds(1), "flood");
  for (size_t call = first; call < first + 200; ++call) EXPECT_FALSE(results_[call].has_value()) << call;
  EXPECT_EQ(Code(SendWithin(absl::Seconds(1), "flood")), absl::StatusCode::kResourceExhausted) << "those are alive";
}

TEST_F(LateCallsTest, MoreThanOneLookTakesGoWithTheNext) {
  options_.max_delay = absl::Hours(1);
  options_.max_batch_rows = 1 << 20;
  Build();
  for (int i = 0; i < 5000; ++i) SendWithin(absl::Milliseconds(10));
  Pass(absl::Milliseconds(11));
  const auto told = [&] {
    return std::count_if(results_.begin(), results_.end(), [](const auto& result) { return result.has_value(); });
  };
  EXPECT_GT(told(), 0);
  EXPECT_LT(told(), 5000);
  for (int look = 0; look < 10; ++look) Pass(absl::Milliseconds(5));
  EXPECT_EQ(told(), 5000);
  EXPECT_EQ(timer_.queued(), 1) << "the delay's";
}

TEST_F(LateCallsTest, DeadlinesOfCallsThatRunInTimeSetATimerNowAndThen) {
  Build();
  int looks = 0;
  for (int i = 0; i < 10'000; ++i) {
    SendWithin(absl::Minutes(1) + absl::Milliseconds(i % 7));
    executor_.RunAll();
    clock_.Advance(absl::Milliseconds(1));
    looks += timer_.RunDue();
    ASSERT_LE(timer_.queued(), 1);
  }
  EXPECT_LE(looks, 11) << "one a second";
  for (size_t call = 0; call < results_.size(); ++call) ASSERT_THAT(Values(call), ElementsAre(2));
}

TEST_F(LateCallsTest, CallsWithoutADeadlineSetNoTimer) {
  Build();
  SubmitRows({1});
  EXPECT_EQ(timer_.queued(), 0);
}

TEST_F(LateCallsTest, ACallInPiecesIsToldOnce) {
  options_.max_batch_rows = 2;
  options_.split_large_calls = true;
  DuringARun([this] {
    const size_t late = Submit({Rows({1, 2, 3, 4, 5})}, Within(absl::Milliseconds(10)));
    Pass(absl::Milliseconds(15));
    EXPECT_EQ(Code(late), absl::StatusCode::kDeadlineExceeded);
  });
  EXPECT_THAT(runs_, ElementsAre(1));
}

TEST_F(LateCallsTest, ATimerMayComeLongAfterTheBatcherHasGone) {
  Build();
  SendWithin(absl::Milliseconds(10));
  executor_.RunAll();
  batcher_.reset();
  EXPECT_EQ(timer_.queued(), 1);
  clock_.Advance(absl::Seconds(2));
  EXPECT_EQ(timer_.RunDue(), 1);
}

TEST_F(LateCallsTest, AndCancelledOnesLeaveFromBetweenAllOthers) {
  DuringARun([this] {
    uint64_t random = 3;
    const auto draw = [&](uint64_t below) {
      random = random * 6364136223846793005u + 1442695040888963407u;
      return static_cast<int64_t>((random >> 33) % below);
    };
    struct Sent {
      size_t call;
      absl::Duration timeout;
      Ref<RequestContext> context;
    };
    std::vector<Sent> sent;
    for (int i = 0; i < 8000; ++i) {
      const absl::Duration timeout = draw(2) == 0 ? absl::InfiniteDuration() : absl::Milliseconds(1 + draw(100));
      auto context = Within(timeout, absl::StrCat(draw(3)));
      context->priority = static_cast<int32_t>(draw(3)) - 1;
      const int64_t width = 1 + draw(2);
      const size_t call =
          Submit({Tensor::Of<float>({1, width}, std::vector<float>(static_cast<size_t>(width), 1))}, context);
      sent.push_back({call, timeout, std::move(context)});
    }
    for (int i = 0; i < 2000; ++i) sent[static_cast<size_t>(draw(sent.size()))].context->Cancel();
    for (int passed = 0; passed < 50; passed += 5) Pass(absl::Milliseconds(5));
    for (const Sent& one : sent) {
      const absl::StatusCode code = Code(one.call);
      if (one.context->cancelled) {
        ASSERT_EQ(code, absl::StatusCode::kCancelled);
      } else if (one.timeout <= absl::Milliseconds(45)) {
        ASSERT_EQ(code, absl::StatusCode::kDeadlineExceeded) << one.timeout;
      } else if (one.timeout > absl::Milliseconds(50)) {
        ASSERT_FALSE(results_[one.call].has_value()) << one.timeout;
      }
    }
  });
  executor_.RunAll();
  int64_t ran = 0, answered = 0;
  for (const int64_t rows : runs_) ran += rows;
  for (const auto& result : results_) {
    ASSERT_TRUE(result.has_value());
    answered += result->ok() ? 1 : 0;
  }
  EXPECT_EQ(ran, answered);
  EXPECT_GT(answered, 4000);
}

// What the thread sanitizer looks at: deadlines by the real timer, clients that go, and a queue that is full of both.
TEST(LateCallsThreadsTest, EachIsAnsweredOnce) {
  ThreadPool pool({.threads = 3});
  Batcher::Options options;
  options.name = "m";
  options.row_inputs = {true};
  options.row_outputs = true;
  options.max_batch_rows = 8;
  options.max_queue_rows = 64;
  constexpr int kCallers = 4, kCalls = 500;
  std::array<std::atomic<int>, kCallers * kCalls> answers{};
  std::atomic<int> ran{0}, late{0};
  {
    Batcher batcher(
        options,
        [](absl::Span<const Tensor> inputs) -> absl::StatusOr<std::vector<Tensor>> {
          absl::SleepFor(absl::Microseconds(500));
          return std::vector<Tensor>{inputs[0]};
        },
        pool, Clock::Real(), MetricRegistry::Null());
    std::vector<std::thread> callers;
    for (int caller = 0; caller < kCallers; ++caller) {
      callers.emplace_back([&, caller] {
        for (int i = 0; i < kCalls; ++i) {
          auto context = MakeRef<RequestContext>();
          // Some are late before they come.
          if (i % 3 > 0) context->deadline = Deadline::In(absl::Microseconds((i % 30) * 200), Clock::Real());
          context->product = absl::StrCat(caller % 2);
          batcher.Submit(context, {Rows({1})},
                         [&, call = caller * kCalls + i](const absl::StatusOr<std::vector<Tensor>>& result) {
                           ++answers[static_cast<size_t>(call)];
                           ran += result.ok();
                           late += absl::IsDeadlineExceeded(result.status());
                         });
          if (i % 7 == 0) context->Cancel();
          if (i % 20 == 0) absl::SleepFor(absl::Milliseconds(1));
        }
      });
    }
    for (std::thread& caller : callers) caller.join();
  }
  pool.Stop();
  for (const std::atomic<int>& count : answers) ASSERT_EQ(count, 1);
  EXPECT_GT(ran, 0);
  EXPECT_GT(late, 0);
}

}  // namespace
}  // namespace portico
