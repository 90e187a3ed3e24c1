#include "models/graph/graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/executor.h"
#include "tests/models/graph/plan_runner.h"
#include "tests/testing/fakes.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Result = absl::StatusOr<std::vector<Tensor>>;

Tensor Number(float value) { return Tensor::Of<float>({1}, {value}); }

/// Keeps its calls until the test answers them.
class HeldOp final : public AsyncOp {
 public:
  void Run(const Ref<const RequestContext>&, std::vector<Tensor> inputs, OpDone done) override {
    inputs_seen.push_back(std::move(inputs));
    held.push_back(std::move(done));
  }
  std::vector<std::vector<Tensor>> inputs_seen;
  std::vector<OpDone> held;
};

/// Answers from another thread.
class PooledOp final : public AsyncOp {
 public:
  PooledOp(PortalBody body, Executor& executor) : body_(std::move(body)), executor_(executor) {}
  void Run(const Ref<const RequestContext>&, std::vector<Tensor> inputs, OpDone done) override {
    executor_.Schedule([this, inputs = std::move(inputs), done = std::move(done)]() mutable { done(body_(inputs)); });
  }

 private:
  const PortalBody body_;
  Executor& executor_;
};

struct StepShape {
  std::vector<int> inputs;
  std::vector<int> outputs;
};

GraphPlan PlanOf(int slots, std::vector<int> inputs, std::vector<int> outputs, const std::vector<StepShape>& steps) {
  GraphPlan plan;
  for (int i = 0; i < slots; ++i) plan.slots.push_back(absl::StrCat("t", i));
  plan.inputs = std::move(inputs);
  plan.outputs = std::move(outputs);
  for (const StepShape& shape : steps) {
    PlanStep step;
    step.inputs = shape.inputs;
    step.outputs = shape.outputs;
    step.portal = std::make_unique<PortalSpec>();
    step.portal->target = absl::StrCat("p", plan.steps.size());
    plan.steps.push_back(std::move(step));
  }
  return plan;
}

Result Sum(const std::vector<Tensor>& inputs) {
  float sum = 0;
  for (const Tensor& input : inputs) sum += input.data<float>()[0];
  return std::vector<Tensor>{Number(sum)};
}

class GraphTest : public testing::Test {
 protected:
  /// Adds an op that the test answers.
  HeldOp* Hold() {
    auto op = std::make_unique<HeldOp>();
    HeldOp* const raw = op.get();
    ops_.push_back(std::move(op));
    return raw;
  }
  void Inline(PortalBody body = Sum) { ops_.push_back(std::make_unique<InlineOp>(std::move(body))); }
  void Build(GraphPlan plan) { graph_ = std::make_unique<Graph>(std::move(plan), std::move(ops_), clock_); }
  void Run(std::vector<Tensor> inputs) {
    graph_->Run(context_, std::move(inputs), [this](Result result) {
      ++completions_;
      result_ = std::move(result);
    });
  }

  FakeClock clock_;
  Ref<RequestContext> context_ = MakeRef<RequestContext>();
  std::vector<std::unique_ptr<AsyncOp>> ops_;
  std::unique_ptr<Graph> graph_;
  int completions_ = 0;
  Result result_ = absl::UnknownError("not completed");
};

TEST_F(GraphTest, IndependentStepsOverlap) {
  HeldOp* a = Hold();
  HeldOp* b = Hold();
  Inline();
  Build(PlanOf(4, {0}, {3}, {{{0}, {1}}, {{0}, {2}}, {{1, 2}, {3}}}));
  Run({Number(1)});
  ASSERT_EQ(a->held.size(), 1);
  ASSERT_EQ(b->held.size(), 1);
  b->held[0](std::vector<Tensor>{Number(10)});
  EXPECT_EQ(completions_, 0);
  a->held[0](std::vector<Tensor>{Number(20)});
  ASSERT_EQ(completions_, 1);
  ASSERT_TRUE(result_.ok()) << result_.status();
  EXPECT_THAT((*result_)[0].data<float>(), ElementsAre(30));
}

TEST_F(GraphTest, OutputsMayBeInputsConstantsAndRepeated) {
  GraphPlan plan = PlanOf(2, {0}, {0, 1, 0}, {});
  plan.constants.emplace_back(1, Number(7));
  Build(std::move(plan));
  Run({Number(3)});
  ASSERT_TRUE(result_.ok()) << result_.status();
  EXPECT_EQ((*result_)[0].data<float>()[0], 3);
  EXPECT_EQ((*result_)[1].data<float>()[0], 7);
  EXPECT_EQ((*result_)[2].data<float>()[0], 3);
}

TEST_F(GraphTest, TheFirstErrorEndsTheRunAtOnceAndOnce) {
  HeldOp* a = Hold();
  HeldOp* b = Hold();
  Inline();
  Build(PlanOf(4, {0}, {3}, {{{0}, {1}}, {{0}, {2}}, {{1, 2}, {3}}}));
  Run({Number(1)});
  a->held[0](absl::UnavailableError("peer lost"));
  EXPECT_EQ(completions_, 1);
  EXPECT_EQ(result_.status().code(), absl::StatusCode::kUnavailable);
  // The rest comes late, even after the graph.
  auto late = std::move(b->held[0]);
  graph_.reset();
  late(std::vector<Tensor>{Number(2)});
  EXPECT_EQ(completions_, 1);
}

TEST_F(GraphTest, ADroppedCompletionIsAnError) {
  HeldOp* op = Hold();
  Build(PlanOf(2, {0}, {1}, {{{0}, {1}}}));
  Run({Number(1)});
  op->held.clear();
  EXPECT_EQ(completions_, 1);
  EXPECT_EQ(result_.status().code(), absl::StatusCode::kInternal);
}

TEST_F(GraphTest, AWrongNumberOfOutputsIsAnError) {
  Inline([](const auto&) { return std::vector<Tensor>{}; });
  Build(PlanOf(2, {0}, {1}, {{{0}, {1}}}));
  Run({Number(1)});
  EXPECT_EQ(result_.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(result_.status().message()), HasSubstr("portal p0: got 0 outputs, want 1"));
}

TEST_F(GraphTest, NothingStartsPastTheDeadlineOrAfterCancellation) {
  for (const bool cancel : {true, false}) {
    context_ = MakeRef<RequestContext>();
    context_->deadline = Deadline::In(absl::Seconds(1), clock_);
    HeldOp* first = Hold();
    HeldOp* second = Hold();
    Build(PlanOf(3, {0}, {2}, {{{0}, {1}}, {{1}, {2}}}));
    Run({Number(1)});
    ASSERT_EQ(first->held.size(), 1);
    if (cancel) {
      context_->cancelled = true;
    } else {
      clock_.Advance(absl::Seconds(1));
    }
    first->held[0](std::vector<Tensor>{Number(2)});
    EXPECT_TRUE(second->held.empty());
    EXPECT_EQ(result_.status().code(), cancel ? absl::StatusCode::kCancelled : absl::StatusCode::kDeadlineExceeded);
  }
}

class CountedOrigin final : public TensorOrigin {
 public:
  explicit CountedOrigin(int* alive) : TensorOrigin(4), alive_(alive) { ++*alive_; }
  ~CountedOrigin() override { --*alive_; }
  float value = 1;

 private:
  int* const alive_;
};

TEST_F(GraphTest, MemoryGoesWithItsLastReader) {
  HeldOp* first = Hold();
  HeldOp* second = Hold();
  HeldOp* last = Hold();
  Build(PlanOf(4, {0}, {3}, {{{0, 0}, {1}}, {{1, 0}, {2}}, {{2}, {3}}}));
  int alive = 0;
  {
    Ref<CountedOrigin> origin = MakeRef<CountedOrigin>(&alive);
    const absl::string_view bytes(reinterpret_cast<const char*>(&origin->value), sizeof(float));
    Run({*Tensor::View(DType::kFloat, {1}, bytes, origin)});
  }
  EXPECT_EQ(first->inputs_seen[0].size(), 2);
  first->inputs_seen.clear();
  first->held[0](std::vector<Tensor>{Number(1)});
  EXPECT_EQ(alive, 1);
  second->inputs_seen.clear();
  EXPECT_EQ(alive, 0);
  second->held[0](std::vector<Tensor>{Number(1)});
  last->held[0](std::vector<Tensor>{Number(1)});
  EXPECT_TRUE(result_.ok());
}

TEST_F(GraphTest, LongChainsDoNotRecurse) {
  constexpr int kSteps = 200'000;
  std::vector<StepShape> steps;
  for (int i = 0; i < kSteps; ++i) {
    steps.push_back({{i}, {i + 1}});
    Inline([](const std::vector<Tensor>& in) { return in; });
  }
  Build(PlanOf(kSteps + 1, {0}, {kSteps}, steps));
  Run({Number(4)});
  ASSERT_TRUE(result_.ok()) << result_.status();
  EXPECT_EQ((*result_)[0].data<float>()[0], 4);
}

TEST_F(GraphTest, TheGraphMayGoInsideTheCompletion) {
  Inline();
  Build(PlanOf(2, {0}, {1}, {{{0}, {1}}}));
  bool done = false;
  graph_->Run(context_, {Number(1)}, [&](Result result) {
    graph_.reset();
    done = result.ok();
  });
  EXPECT_TRUE(done);
}

// A wide and deep graph whose steps finish on several threads in any order; also what the thread sanitizer looks at.
TEST_F(GraphTest, StepsThatFinishOnManyThreadsMeetCorrectly) {
  ThreadPool pool({.threads = 4});
  constexpr int kWidth = 8, kDepth = 5;
  std::vector<StepShape> steps;
  int slots = 1;
  std::vector<int> previous = {0};
  for (int level = 0; level < kDepth; ++level) {
    std::vector<int> current;
    for (int i = 0; i < kWidth; ++i) {
      steps.push_back({previous, {slots}});
      current.push_back(slots++);
      if (i % 4 == 3) {
        Inline();
      } else {
        ops_.push_back(std::make_unique<PooledOp>(Sum, pool));
      }
    }
    previous = current;
  }
  Build(PlanOf(slots, {0}, previous, steps));
  float want = 1;
  for (int level = 1; level < kDepth; ++level) want *= kWidth;
  constexpr int kRuns = 200;
  std::atomic<int> right{0}, left{kRuns};
  std::atomic<bool> finished{false};
  for (int run = 0; run < kRuns; ++run) {
    graph_->Run(context_, {Number(1)}, [&](Result result) {
      bool ok = result.ok() && result->size() == kWidth;
      for (size_t i = 0; ok && i < result->size(); ++i) ok = (*result)[i].data<float>()[0] == want;
      right += ok;
      if (--left == 0) {
        finished = true;
        finished.notify_one();
      }
    });
  }
  finished.wait(false);
  pool.Stop();
  EXPECT_EQ(right, kRuns);
}

// Errors race with successes; each run still completes once.
TEST_F(GraphTest, RacingErrorsCompleteOnce) {
  ThreadPool pool({.threads = 4});
  for (int i = 0; i < 8; ++i) {
    ops_.push_back(std::make_unique<PooledOp>(
        [i](const auto& in) -> Result {
          if (i % 2 == 0) return absl::UnavailableError("lost");
          return in;
        },
        pool));
  }
  std::vector<StepShape> steps;
  std::vector<int> outputs;
  for (int i = 0; i < 8; ++i) {
    steps.push_back({{0}, {i + 1}});
    outputs.push_back(i + 1);
  }
  Build(PlanOf(9, {0}, outputs, steps));
  constexpr int kRuns = 300;
  std::atomic<int> completions{0}, unavailable{0};
  for (int run = 0; run < kRuns; ++run) {
    graph_->Run(context_, {Number(1)}, [&](Result result) {
      unavailable += result.status().code() == absl::StatusCode::kUnavailable;
      ++completions;
    });
  }
  pool.Stop();
  EXPECT_EQ(completions, kRuns);
  EXPECT_EQ(unavailable, kRuns);
}

}  // namespace
}  // namespace portico
