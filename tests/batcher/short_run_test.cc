// Short runs stay on a thread that has turns.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "base/turn.h"
#include "batcher/batcher.h"
#include "tests/testing/fakes.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Result = absl::StatusOr<std::vector<Tensor>>;

class ShortRunTest : public testing::Test {
 protected:
  ShortRunTest() {
    Batcher::Options options;
    options.name = "m/segment_0";
    options.row_inputs = {true};
    options.row_outputs = true;
    batcher_ = std::make_unique<Batcher>(
        options,
        [this](absl::Span<const Tensor> inputs) -> Result {
          runs_.push_back(inputs[0].rows());
          clock_.Advance(row_time_ * inputs[0].rows());
          return std::vector<Tensor>{inputs[0]};
        },
        executor_, clock_, MetricRegistry::Null());
  }

  void Submit(int64_t rows = 1) {
    const std::vector<float> values(static_cast<size_t>(rows), 1);
    batcher_->Submit(MakeRef<RequestContext>(), {Tensor::Of<float>({rows, 1}, absl::MakeConstSpan(values))},
                     [this](const Result& result) { ++(result.ok() ? answered_ : failed_); });
  }
  /// So that the batcher knows what a row takes.
  void RunOnWorkers(int times = 1) {
    for (int i = 0; i < times; ++i) {
      std::thread([this] { Submit(); }).join();
      executor_.RunAll();
    }
    runs_.clear();
    answered_ = 0;
  }

  absl::Duration row_time_ = absl::Microseconds(5);
  FakeClock clock_;
  ManualExecutor executor_;
  std::vector<int64_t> runs_;
  int answered_ = 0;
  int failed_ = 0;
  std::unique_ptr<Batcher> batcher_;
};

TEST_F(ShortRunTest, WhatHasNeverRunGoesToAWorker) {
  Turn turn;
  Submit();
  turn.Finish();
  EXPECT_THAT(runs_, IsEmpty());
  EXPECT_EQ(executor_.RunAll(), 1);
  EXPECT_THAT(runs_, ElementsAre(1));
}

TEST_F(ShortRunTest, WhatIsShortRunsTogetherWhenTheTurnEnds) {
  RunOnWorkers();
  Turn turn;
  Submit();
  Submit(2);
  EXPECT_THAT(runs_, IsEmpty());
  turn.Finish();
  EXPECT_THAT(runs_, ElementsAre(3));
  EXPECT_EQ(answered_, 2);
  EXPECT_EQ(executor_.queued(), 0);
}

TEST_F(ShortRunTest, WhatIsLongGoesToAWorker) {
  row_time_ = absl::Microseconds(40);
  RunOnWorkers();
  Turn turn;
  Submit();
  EXPECT_EQ(executor_.queued(), 1);
  executor_.RunAll();
  EXPECT_EQ(answered_, 1);
}

TEST_F(ShortRunTest, WhatBecomesTooMuchForTheTurnGoesToAWorkerAtOnce) {
  RunOnWorkers();
  Turn turn;
  Submit(4);
  Submit(2);
  EXPECT_EQ(executor_.queued(), 0);  // 30 µs
  Submit();
  EXPECT_EQ(executor_.queued(), 1);
  turn.Finish();
  EXPECT_THAT(runs_, IsEmpty());
  executor_.RunAll();
  EXPECT_THAT(runs_, ElementsAre(7));
  EXPECT_EQ(answered_, 3);
}

TEST_F(ShortRunTest, AWorkerTakesOverWhereAnotherThreadFindsTheTurnLong) {
  RunOnWorkers();
  Turn turn;
  Submit();
  clock_.Advance(absl::Microseconds(300));
  Submit();
  EXPECT_EQ(executor_.queued(), 0);  // It is this thread's own turn.
  std::thread([this] { Submit(); }).join();
  EXPECT_EQ(executor_.RunAll(), 1);
  EXPECT_THAT(runs_, ElementsAre(3));
  turn.Finish();
  EXPECT_THAT(runs_, ElementsAre(3));
  EXPECT_EQ(answered_, 3);
}

TEST_F(ShortRunTest, WhatTurnsOutLongGoesBackToWorkers) {
  RunOnWorkers();
  row_time_ = absl::Milliseconds(1);
  Turn turn;
  Submit();
  turn.Finish();
  EXPECT_EQ(answered_, 1);
  Submit();
  turn.Finish();
  EXPECT_EQ(answered_, 1);
  executor_.RunAll();
  EXPECT_EQ(answered_, 2);
  // And comes again once it is short again.
  row_time_ = absl::Microseconds(5);
  RunOnWorkers(40);
  Submit();
  turn.Finish();
  EXPECT_EQ(answered_, 1);
}

TEST_F(ShortRunTest, ATurnThatEndsWithoutItFailsWhatWaits) {
  RunOnWorkers();
  {
    const Turn turn;
    Submit();
  }
  EXPECT_EQ(failed_, 1);
}

TEST_F(ShortRunTest, WhoEndsTheBatcherDoesNotWaitForTheTurn) {
  RunOnWorkers();
  Turn turn;
  Submit();
  std::thread end([this] { batcher_ = nullptr; });
  while (!executor_.RunOne()) std::this_thread::yield();
  end.join();
  EXPECT_EQ(answered_, 1);
}

// What the thread sanitizer looks at: threads with turns and without, and workers, around one batcher.
TEST(ShortRunThreadsTest, EveryCallIsAnsweredOnce) {
  ThreadPool pool({.threads = 2});
  Batcher::Options options;
  options.name = "m";
  options.row_inputs = {true};
  options.row_outputs = true;
  options.max_batch_rows = 16;
  options.max_running = 2;
  std::atomic<int> answered{0};
  constexpr int kThreads = 4, kRounds = 100, kCalls = 5;
  {
    Batcher batcher(
        options, [](absl::Span<const Tensor> inputs) -> Result { return std::vector<Tensor>{inputs[0]}; }, pool,
        Clock::Real(), MetricRegistry::Null());
    const auto submit = [&] {
      for (int i = 0; i < kCalls; ++i) {
        batcher.Submit(MakeRef<RequestContext>(), {Tensor::Of<float>({1, 1}, {1.0f})},
                       [&](const Result& result) { answered += result.ok() ? 1 : 0; });
      }
    };
    std::vector<std::thread> threads;
    for (int thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        std::optional<Turn> turn;
        if (thread % 2 == 0) turn.emplace();
        for (int round = 0; round < kRounds; ++round) {
          submit();
          if (turn.has_value()) turn->Finish();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  pool.Stop();
  EXPECT_EQ(answered, kThreads * kRounds * kCalls);
}

}  // namespace
}  // namespace portico
