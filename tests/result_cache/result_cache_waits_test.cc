// Calls that wait for rows that others compute.

#include <atomic>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/result_cache/result_cache_fixture.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using Result = absl::StatusOr<std::vector<Tensor>>;

TEST_F(ResultCacheTest, ARowUnderWayIsWaitedFor) {
  hold_ = true;
  const size_t first = SubmitRows({1, 2});
  const size_t second = SubmitRows({2, 3});
  const size_t third = SubmitRows({2});
  EXPECT_THAT(runs_, ElementsAre(2, 1));
  CompleteNext();
  EXPECT_THAT(Values(first), ElementsAre(2, 4));
  EXPECT_THAT(Values(third), ElementsAre(4));
  EXPECT_FALSE(results_[second].has_value());
  CompleteNext();
  EXPECT_THAT(Values(second), ElementsAre(4, 6));
  EXPECT_EQ(metrics_.rows("miss"), 3);
  EXPECT_EQ(metrics_.rows("coalesced"), 2);
}

TEST_F(ResultCacheTest, WhoWaitsDoesNotFailWithTheOneWhoComputes) {
  hold_ = true;
  const size_t first = SubmitRows({1});
  const size_t second = SubmitRows({1});
  const size_t third = SubmitRows({1, 2});
  EXPECT_THAT(runs_, ElementsAre(1, 1));
  FailNext(absl::InvalidArgumentError("bad row"));
  EXPECT_EQ(Code(first), absl::StatusCode::kInvalidArgument);
  // Both by themselves: the third once what it computes is there.
  EXPECT_THAT(runs_, ElementsAre(1, 1, 1));
  CompleteNext();
  EXPECT_THAT(runs_, ElementsAre(1, 1, 1, 1));
  CompleteNext();
  EXPECT_THAT(Values(second), ElementsAre(2));
  CompleteNext();
  EXPECT_THAT(Values(third), ElementsAre(2, 4));
}

TEST_F(ResultCacheTest, ErrorsAreNotKept) {
  hold_ = true;
  SubmitRows({1});
  FailNext(absl::InternalError("broken"));
  hold_ = false;
  EXPECT_THAT(Values(SubmitRows({1})), ElementsAre(2));
  EXPECT_THAT(runs_, ElementsAre(1, 1));
}

TEST_F(ResultCacheTest, OneOfThoseWhoWaitComputesForTheOthersWhereTheLeaderLeft) {
  hold_ = true;
  const size_t first = SubmitRows({1});
  const size_t second = SubmitRows({1});
  const size_t third = SubmitRows({1});
  FailNext(absl::CancelledError("gone"));
  EXPECT_EQ(Code(first), absl::StatusCode::kCancelled);
  EXPECT_THAT(runs_, ElementsAre(1, 1));
  FailNext(absl::DeadlineExceededError("late"));
  EXPECT_EQ(Code(second), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(runs_, ElementsAre(1, 1, 1));
  CompleteNext();
  EXPECT_THAT(Values(third), ElementsAre(2));
}

TEST_F(ResultCacheTest, ALeaderThatIsRefusedForOverloadLetsOneOfThoseWhoWaitTry) {
  hold_ = true;
  for (int i = 0; i < 20; ++i) SubmitRows({1});
  FailNext(absl::ResourceExhaustedError("the queue is full"));
  EXPECT_THAT(runs_, ElementsAre(1, 1));
  FailNext(absl::UnavailableError("no replica"));
  EXPECT_THAT(runs_, ElementsAre(1, 1, 1));
  CompleteNext();
  EXPECT_EQ(Code(0), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(Code(1), absl::StatusCode::kUnavailable);
  for (size_t i = 2; i < 20; ++i) EXPECT_THAT(Values(i), ElementsAre(2));
}

TEST_F(ResultCacheTest, ASmallCallDoesNotWaitForALargeOne) {
  hold_ = true;
  std::vector<float> many(9);
  std::iota(many.begin(), many.end(), 1.0f);
  const size_t large = SubmitRows(many);
  const size_t small = SubmitRows({1});
  const size_t wide = SubmitRows({1, 2, 3});
  EXPECT_THAT(runs_, ElementsAre(9, 1));
  std::swap(held_[0], held_[1]);
  CompleteNext();
  EXPECT_THAT(Values(small), ElementsAre(2));
  EXPECT_FALSE(results_[wide].has_value());
  CompleteNext();
  EXPECT_EQ(Values(large).size(), 9);
  EXPECT_THAT(Values(wide), ElementsAre(2, 4, 6));
}

TEST_F(ResultCacheTest, AProductDoesNotWaitForAnother) {
  const auto of = [](const std::string& product) {
    auto context = MakeRef<RequestContext>();
    context->product = product;
    return context;
  };
  hold_ = true;
  SubmitRows({1}, of("digit"));
  const size_t other = SubmitRows({1}, of("parity"));
  const size_t same = SubmitRows({1}, of("digit"));
  EXPECT_THAT(runs_, ElementsAre(1, 1));
  std::swap(held_[0], held_[1]);
  CompleteNext();
  EXPECT_THAT(Values(other), ElementsAre(2));
  EXPECT_FALSE(results_[same].has_value());
  CompleteNext();
  EXPECT_THAT(Values(same), ElementsAre(2));
}

TEST_F(ResultCacheTest, ACallThatHasEndedHoldsNothing) {
  class Block final : public TensorOrigin {
   public:
    explicit Block(int* alive) : TensorOrigin(sizeof(float)), alive_(alive) { ++*alive_; }
    ~Block() override { --*alive_; }

   private:
    int* const alive_;
  };
  int alive = 0;
  alignas(8) const float value = 1;
  hold_ = true;
  const size_t first = SubmitRows({1});
  for (size_t i = 0; i < RowFlights::kMaxWaiting; ++i) {
    const auto context = MakeRef<RequestContext>();
    const absl::string_view bytes(reinterpret_cast<const char*>(&value), sizeof(value));
    Submit({*Tensor::View(DType::kFloat, {1, 1}, bytes, MakeRef<Block>(&alive))}, context);
    EXPECT_EQ(alive, 1);
    context->Cancel();
    EXPECT_EQ(alive, 0);
  }
  EXPECT_THAT(runs_, ElementsAre(1));
  // Nor a place among those who wait.
  const size_t last = SubmitRows({1});
  EXPECT_THAT(runs_, ElementsAre(1));
  CompleteNext();
  EXPECT_THAT(Values(first), ElementsAre(2));
  EXPECT_THAT(Values(last), ElementsAre(2));
}

TEST_F(ResultCacheTest, TheCacheMayGoWithTheLastOfThoseWhoWait) {
  hold_ = true;
  const auto context = MakeRef<RequestContext>();
  context->deadline = Deadline::In(absl::Seconds(1), clock_);
  // As a version: each request holds it until it is answered.
  std::shared_ptr<ResultCache> version = std::move(cache_);
  const std::weak_ptr<ResultCache> seen = version;
  int answered = 0;
  const auto submit = [&](std::shared_ptr<ResultCache> held, const Ref<RequestContext>& of) {
    ResultCache& cache = *held;
    cache.Run(of, {Column({1})}, [held = std::move(held), &answered](Result) { ++answered; });
  };
  submit(version, MakeRef<RequestContext>());
  submit(version, context);
  submit(version, context);
  version.reset();
  EXPECT_FALSE(seen.expired());
  CompleteNext();
  EXPECT_EQ(answered, 3);
  EXPECT_TRUE(seen.expired());
  clock_.Advance(absl::Seconds(2));
  timer_.RunDue();
  context->Cancel();
  EXPECT_EQ(workers_.RunAll(), 0);
}

TEST_F(ResultCacheTest, AnswersTooLargeToKeepReachThoseWhoWait) {
  hold_ = true;
  Tensor row = Tensor::Allocate(DType::kFloat, {1, 100'000});
  std::fill_n(reinterpret_cast<float*>(row.mutable_bytes()), 100'000, 1.5f);
  const size_t first = Submit({row});
  const size_t second = Submit({row});
  workers_.RunAll();
  EXPECT_THAT(runs_, ElementsAre(1));
  CompleteNext();
  for (const size_t call : {first, second}) {
    ASSERT_EQ(Code(call), absl::StatusCode::kOk);
    EXPECT_EQ((**results_[call])[0].data<float>()[99'999], 3);
  }
  Submit({row});
  workers_.RunAll();
  EXPECT_THAT(runs_, ElementsAre(1, 1));
  CompleteNext();
}

TEST_F(ResultCacheTest, TellsWhetherAllRowsWereThere) {
  SubmitRows({1, 2});
  SubmitRows({2, 1});
  SubmitRows({1, 3});
  hold_ = true;
  SubmitRows({4});
  SubmitRows({4});
  EXPECT_THAT(looked_, ElementsAre(false, true, false, false, false));
  FailNext(absl::CancelledError("gone"));
  CompleteNext();
  EXPECT_EQ(looked_.size(), 5);
}

TEST_F(ResultCacheTest, WaitsForSoManyLeadersAndNoMore) {
  hold_ = true;
  for (int i = 0; i < ResultCache::kMaxWaits + 3; ++i) SubmitRows({1});
  for (int i = 0; i < ResultCache::kMaxWaits; ++i) {
    EXPECT_EQ(runs_.size(), static_cast<size_t>(i + 1));
    FailNext(absl::CancelledError("gone"));
  }
  EXPECT_EQ(held_.size(), 3);
  while (!held_.empty()) CompleteNext();
  EXPECT_THAT(Values(results_.size() - 1), ElementsAre(2));
}

TEST_F(ResultCacheTest, ItsOwnClientEndsAWait) {
  hold_ = true;
  const size_t first = SubmitRows({1});
  const auto context = MakeRef<RequestContext>();
  const size_t second = SubmitRows({1}, context);
  context->Cancel();
  EXPECT_EQ(Code(second), absl::StatusCode::kCancelled);
  CompleteNext();
  EXPECT_THAT(Values(first), ElementsAre(2));
  const auto gone = MakeRef<RequestContext>();
  gone->Cancel();
  const size_t lead = SubmitRows({5});
  EXPECT_EQ(Code(SubmitRows({5}, gone)), absl::StatusCode::kCancelled);
  CompleteNext();
  EXPECT_THAT(Values(lead), ElementsAre(10));
}

TEST_F(ResultCacheTest, ItsOwnDeadlineEndsAWait) {
  hold_ = true;
  const size_t first = SubmitRows({1});
  const auto with_deadline = [&](absl::Duration in) {
    auto context = MakeRef<RequestContext>();
    context->deadline = Deadline::In(in, clock_);
    return context;
  };
  const size_t late = SubmitRows({1}, with_deadline(absl::Milliseconds(20)));
  const size_t soon = SubmitRows({1}, with_deadline(absl::Milliseconds(10)));
  const size_t patient = SubmitRows({1}, with_deadline(absl::Seconds(10)));
  clock_.Advance(absl::Milliseconds(10));
  timer_.RunDue();
  workers_.RunAll();
  EXPECT_EQ(Code(soon), absl::StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(results_[late].has_value());
  clock_.Advance(absl::Milliseconds(10));
  timer_.RunDue();
  workers_.RunAll();
  EXPECT_EQ(Code(late), absl::StatusCode::kDeadlineExceeded);
  CompleteNext();
  EXPECT_THAT(Values(first), ElementsAre(2));
  EXPECT_THAT(Values(patient), ElementsAre(2));
  clock_.Advance(absl::Seconds(10));
  timer_.RunDue();
  EXPECT_EQ(workers_.RunAll(), 0);
}

TEST_F(ResultCacheTest, WhatItRunsItselfIsWaitedForWhenItEnds) {
  hold_ = true;
  SubmitRows({1});
  const auto context = MakeRef<RequestContext>();
  const size_t second = SubmitRows({1, 2}, context);
  context->Cancel();
  // The function is its owner's, which may go with the answer.
  EXPECT_FALSE(results_[second].has_value());
  std::swap(held_[0], held_[1]);
  CompleteNext();
  EXPECT_EQ(Code(second), absl::StatusCode::kCancelled);
  CompleteNext();
  // The row that it computed is kept all the same.
  hold_ = false;
  EXPECT_THAT(Values(SubmitRows({1, 2})), ElementsAre(2, 4));
  EXPECT_THAT(runs_, ElementsAre(1, 1));
}

TEST_F(ResultCacheTest, AHigherPriorityDoesNotWait) {
  hold_ = true;
  SubmitRows({1});
  const auto urgent = MakeRef<RequestContext>();
  urgent->priority = 1;
  const size_t second = SubmitRows({1}, urgent);
  EXPECT_THAT(runs_, ElementsAre(1, 1));
  std::swap(held_[0], held_[1]);
  CompleteNext();
  EXPECT_THAT(Values(second), ElementsAre(2));
  CompleteNext();
}

TEST_F(ResultCacheTest, AnswersWithNotesAreForTheirOwnRequest) {
  hold_ = true;
  const auto context = MakeRef<RequestContext>();
  const size_t first = SubmitRows({1}, context);
  const size_t second = SubmitRows({1});
  context->row_notes.Add("hub/full", "mark", absl::UnavailableError("gone"), {0});
  CompleteNext();
  EXPECT_THAT(Values(first), ElementsAre(2));
  EXPECT_THAT(runs_, ElementsAre(1, 1));
  const auto fallen = MakeRef<RequestContext>();
  CompleteNext();
  EXPECT_THAT(Values(second), ElementsAre(2));
  const size_t third = SubmitRows({2}, fallen);
  fallen->fallbacks.Add("hub/full", "defaults");
  CompleteNext();
  EXPECT_THAT(Values(third), ElementsAre(4));
  SubmitRows({2});
  EXPECT_EQ(held_.size(), 1);
  CompleteNext();
}

TEST_F(ResultCacheTest, ADroppedCompletionKeepsNobodyWaiting) {
  hold_ = true;
  const size_t first = SubmitRows({1});
  const size_t second = SubmitRows({1});
  held_.pop_front();
  EXPECT_EQ(Code(first), absl::StatusCode::kInternal);
  CompleteNext();
  EXPECT_THAT(Values(second), ElementsAre(2));
}

/// Threads that ask for the same few rows, some of which fail or are cancelled, of a function on other threads.
TEST(ResultCacheThreadsTest, EveryCallIsAnsweredRightAndOnce) {
  ThreadPool workers({.threads = 3, .name = "worker"});
  CountingMetrics metrics;
  std::atomic<int64_t> computed{0};
  ResultCache::Options options;
  options.row_inputs = {true};
  std::atomic<uint32_t> draws{1};
  ResultCache cache(
      options, std::make_shared<AnswerStore>(AnswerStore::kMinBytes),
      [&](Ref<const RequestContext> context, std::vector<Tensor> inputs, ResultCache::Done done) {
        workers.Schedule([&, context, inputs = std::move(inputs), done = std::move(done)]() mutable {
          if (context->cancelled) return done(absl::CancelledError("gone"));
          if (draws.fetch_add(1) % 17 == 0) return done(absl::InternalError("now and then"));
          computed += inputs[0].rows();
          std::vector<float> doubled;
          for (const float value : inputs[0].data<float>()) doubled.push_back(2 * value);
          done(std::vector<Tensor>{Tensor::Of<float>(inputs[0].shape(), absl::MakeConstSpan(doubled))});
        });
      },
      workers, Timer::Real(), Clock::Real(), metrics);
  constexpr int kCalls = 600;
  std::atomic<int> answered{0}, wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(static_cast<uint32_t>(t));
      for (int i = 0; i < kCalls; ++i) {
        std::vector<float> values(1 + random() % 4);
        for (float& value : values) value = static_cast<float>(random() % 200 + i / 8 * 50);
        auto context = MakeRef<RequestContext>();
        if (random() % 8 == 0) context->deadline = Deadline::In(absl::Microseconds(random() % 200), Clock::Real());
        const Tensor rows = Tensor::Of<float>({static_cast<int64_t>(values.size()), 1}, absl::MakeConstSpan(values));
        cache.Run(context, {rows}, [&, values](Result result) {
          if (result.ok()) {
            for (size_t row = 0; row < values.size(); ++row)
              wrong += (*result)[0].data<float>()[row] != 2 * values[row];
          }
          ++answered;
        });
        if (random() % 8 == 0) context->Cancel();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  while (answered < 3 * kCalls) std::this_thread::yield();
  EXPECT_EQ(wrong, 0);
  // How many were there while all was under way is the machine's affair; one after the other, at most one of three runs
  // fails.
  for (int i = 0; i < 3; ++i) {
    std::atomic<bool> done{false};
    cache.Run(MakeRef<RequestContext>(), {Tensor::Of<float>({1, 1}, {1e6f})}, [&](const Result&) { done = true; });
    while (!done) std::this_thread::yield();
  }
  EXPECT_GT(metrics.rows("hit"), 0);
  EXPECT_GE(static_cast<double>(computed), metrics.rows("miss"));
  workers.Stop();
}

}  // namespace
}  // namespace portico
