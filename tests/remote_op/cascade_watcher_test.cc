// A cascade that is watched: audits, drift, and rows kept from a full model that has too much to do.

#include "remote_op/cascade_watcher.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "remote_op/portal.h"
#include "router/static_resolver.h"
#include "tests/remote_op/cascade_spec_of.h"
#include "tests/router/fake_transport.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Outputs = absl::StatusOr<std::vector<Tensor>>;

/// Keeps tasks until the test runs them. For one thread.
class ManualBackground final : public Executor {
 public:
  void Schedule(Task task) override {
    if (!stopped_) tasks_.push_back(std::move(task));
  }
  size_t queued() const { return tasks_.size(); }
  void RunAll() {
    while (!tasks_.empty()) {
      Task task = std::move(tasks_.front());
      tasks_.erase(tasks_.begin());
      task();
    }
  }
  /// Tasks own who owns this.
  void Stop() {
    stopped_ = true;
    const std::vector<Task> dropped = std::move(tasks_);
  }

 private:
  std::vector<Task> tasks_;
  bool stopped_ = false;
};

class CascadeWatcherTest : public ::testing::Test {
 protected:
  CascadeWatcherTest()
      : resolver_(std::map<std::string, std::vector<std::string>>{{"full", {"x://a"}}}), timer_(clock_) {
    Router::Options options;
    options.policies["full"].retries = 0;
    options.timer = &timer_;
    router_ = *Router::Create(std::move(options), transport_, resolver_, clock_, metrics_);
  }
  ~CascadeWatcherTest() override {
    router_ = nullptr;
    if (background_ != nullptr) background_->Stop();
  }

  static PortalSpec Spec(Attrs attrs) {
    return CascadeSpecOf({{"score", DType::kFloat, "N,2"}, {"label", DType::kInt64, "N"}}, {"x"}, std::move(attrs),
                         true);
  }
  void Watch(Attrs attrs) {
    watcher_ = std::make_shared<CascadeWatcher>(Spec(std::move(attrs)), *router_, background_);
  }

  /// `count` rows: x is the row, its cheap class row % 2, its label the row.
  static std::vector<Tensor> Answers(const std::vector<int64_t>& rows) {
    std::vector<float> score;
    for (const int64_t row : rows) score.insert(score.end(), {row % 2 == 0 ? 0.9F : 0.1F, row % 2 == 0 ? 0.1F : 0.9F});
    const auto count = static_cast<int64_t>(rows.size());
    return {Tensor::Of<float>({count, 2}, absl::MakeConstSpan(score)),
            Tensor::Of<int64_t>({count}, absl::MakeConstSpan(rows))};
  }
  static Tensor X(const std::vector<int64_t>& rows) {
    std::vector<float> x(rows.begin(), rows.end());
    return Tensor::Of<float>({static_cast<int64_t>(rows.size()), 1}, absl::MakeConstSpan(x));
  }
  static std::vector<int64_t> Counting(int64_t count) {
    std::vector<int64_t> rows(static_cast<size_t>(count));
    for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int64_t>(i);
    return rows;
  }

  /// A request of `count` rows of which `escalated` go to the full model, which says of them what the cheap one does,
  /// but for labels, which are `off` higher. Returns the rows of its audit.
  size_t Request(int64_t count, std::vector<int64_t> escalated, int64_t off = 0) {
    const Ref<RequestContext> context = MakeRef<RequestContext>();
    context->priority = 5;
    context->tenant = "acme";
    const auto request = watcher_->Begin(Ref<const RequestContext>(context.get()), count, Tensor(), &escalated);
    const std::vector<int64_t> all = Counting(count);
    request->Keep(Answers(all), {{X(all)}});
    std::vector<Tensor> full = Answers(escalated);
    for (size_t i = 0; i < escalated.size(); ++i) {
      reinterpret_cast<int64_t*>(full[1].mutable_bytes())[i] += off;
    }
    const size_t audited = request->audited();
    request->CallEnded(absl::OkStatus());
    request->Answered(escalated.empty() ? std::vector<Tensor>() : full, escalated);
    return audited;
  }
  /// Answers the call of an audit as the cheap model would; labels of the first `other` rows are others.
  void AnswerAudit(FakeTransport::Call& call, size_t other = 0) {
    std::vector<int64_t> rows;
    for (const float x : call.tensors[0].data<float>()) rows.push_back(static_cast<int64_t>(x));
    std::vector<Tensor> answer = Answers(rows);
    for (size_t i = 0; i < other; ++i) reinterpret_cast<int64_t*>(answer[1].mutable_bytes())[i] += 1000;
    call.Reply({}, std::move(answer));
    background_->RunAll();
  }
  double Value(const std::string& name) const { return metrics_.Value("portico_cascade_" + name); }

  FakeClock clock_;
  FakeTransport transport_;
  CountedMetrics metrics_;
  const StaticResolver resolver_;
  ManualTimer timer_;
  std::shared_ptr<ManualBackground> background_ = std::make_shared<ManualBackground>();
  std::unique_ptr<Router> router_;
  std::shared_ptr<CascadeWatcher> watcher_;
};

TEST_F(CascadeWatcherTest, RowsThatDidNotEscalateAreAuditedInOneCallBehindEverybodyElse) {
  Watch({Float("audit", 1), Int("audit_timeout_ms", 250)});
  EXPECT_EQ(Request(6, {1, 4}), 4u);
  EXPECT_THAT(transport_.calls, IsEmpty()) << "it is sent in the background, once the answer has gone";
  background_->RunAll();
  ASSERT_THAT(transport_.calls, SizeIs(1));
  FakeTransport::Call& call = transport_.calls[0];
  EXPECT_THAT(call.tensors[0].data<float>(), ElementsAre(0, 2, 3, 5));
  EXPECT_TRUE(call.header.shadow);
  EXPECT_LT(call.header.priority, -1000);
  EXPECT_EQ(call.tenant, "acme");
  EXPECT_EQ(call.deadline.at(), clock_.now + absl::Milliseconds(250));
  AnswerAudit(call, 1);
  EXPECT_EQ(Value("rows_audited_total"), 4);
  EXPECT_EQ(Value("rows_disagreed_total"), 1);
  EXPECT_EQ(Value("outputs_disagreed_total"), 1) << "the label alone";
  EXPECT_EQ(Value("rows_compared_total"), 2);
  EXPECT_EQ(Value("rows_changed_total"), 0);
}

TEST_F(CascadeWatcherTest, RowsThatEscalateTellHowOftenTheAnswerChanges) {
  Watch({Float("audit", 0.000001F)});
  Request(10, {1, 2, 3}, 1);
  Request(10, {4}, 0);
  EXPECT_EQ(Value("rows_compared_total"), 4);
  EXPECT_EQ(Value("rows_changed_total"), 3);
}

TEST_F(CascadeWatcherTest, WhatIsComparedIsDeclared) {
  Watch({Float("audit", 1), Strings("agreement_outputs", {"score"})});
  Request(6, {1, 2}, 7);
  EXPECT_EQ(Value("rows_changed_total"), 0) << "labels are not looked at";
  Watch({Float("audit", 1), Float("agreement_tolerance", 0.01F), Strings("agreement_outputs", {"score"})});
  Request(6, {});
  background_->RunAll();
  // Other scores, the same class: with a tolerance they count.
  std::vector<Tensor> answer = Answers(Counting(6));
  reinterpret_cast<float*>(answer[0].mutable_bytes())[0] = 0.7F;
  transport_.calls.back().Reply({}, answer);
  background_->RunAll();
  EXPECT_EQ(Value("rows_disagreed_total"), 1);
}

TEST_F(CascadeWatcherTest, DrawsTheShareThatIsDeclaredFromRequestsOfAnySize) {
  for (const double share : {0.01, 0.2, 0.9}) {
    Watch({Float("audit", static_cast<float>(share)), Int("audit_max_in_flight", 1024)});
    size_t kept = 0, drawn = 0;
    for (int round = 0; round < 4000; ++round) {
      const int64_t count = round % 3 == 0 ? 40 : 1;
      std::vector<int64_t> escalated;
      for (int64_t row = 0; row < count; row += 4) escalated.push_back(row);
      if (count == 1 && round % 2 == 0) escalated.clear();
      kept += static_cast<size_t>(count) - escalated.size();
      drawn += Request(count, escalated);
      background_->RunAll();
      if (!transport_.calls.empty() && transport_.calls.back().done) {
        for (const float x : transport_.calls.back().tensors[0].data<float>()) {
          EXPECT_TRUE(count == 1 || static_cast<int64_t>(x) % 4 != 0) << "row " << x << " escalated";
        }
        AnswerAudit(transport_.calls.back());
      }
    }
    const double want = share * static_cast<double>(kept);
    EXPECT_NEAR(static_cast<double>(drawn), want, 5 * std::sqrt(want)) << share;
  }
  EXPECT_EQ(Value("audits_dropped_total"), 0);
  EXPECT_EQ(Value("rows_disagreed_total"), 0);
}

TEST_F(CascadeWatcherTest, AuditsBeyondTheBoundAreDroppedAndCounted) {
  Watch({Float("audit", 1), Int("audit_max_in_flight", 2)});
  for (int i = 0; i < 5; ++i) Request(3, {});
  background_->RunAll();
  ASSERT_THAT(transport_.calls, SizeIs(2));
  EXPECT_EQ(Value("audits_dropped_total"), 9);
  AnswerAudit(transport_.calls[0]);
  // There is room for one again.
  Request(3, {});
  Request(3, {});
  background_->RunAll();
  ASSERT_THAT(transport_.calls, SizeIs(3));
  EXPECT_EQ(Value("audits_dropped_total"), 12);
  // Of a request more rows than an audit takes.
  AnswerAudit(transport_.calls[1]);
  Request(CascadeWatcher::kMaxAuditRows + 44, {});
  background_->RunAll();
  ASSERT_THAT(transport_.calls, SizeIs(4));
  EXPECT_EQ(transport_.calls[3].tensors[0].rows(), static_cast<int64_t>(CascadeWatcher::kMaxAuditRows));
  EXPECT_EQ(Value("audits_dropped_total"), 12 + 44);
}

TEST_F(CascadeWatcherTest, AFullModelThatIsBusyOrFailsIsNoDisagreement) {
  Watch({Float("audit", 1)});
  Request(3, {});
  background_->RunAll();
  transport_.calls[0].Fail(absl::ResourceExhaustedError("full"));
  background_->RunAll();
  // It is left alone for a while.
  EXPECT_EQ(Request(7, {}), 0u);
  clock_.now += CascadeWatcher::kBusyFor;
  EXPECT_EQ(Request(2, {}), 2u);
  background_->RunAll();
  ASSERT_THAT(transport_.calls, SizeIs(2));
  transport_.calls[1].Reply({}, {Tensor::Of<float>({1, 2}, {1, 2})});
  background_->RunAll();
  EXPECT_EQ(Value("audits_dropped_total"), 3 + 7 + 2);
  EXPECT_EQ(Value("rows_audited_total"), 0);
  // And there is room again.
  for (int i = 0; i < 4; ++i) Request(1, {});
  background_->RunAll();
  EXPECT_THAT(transport_.calls, SizeIs(6));
}

TEST_F(CascadeWatcherTest, CopiesForShadowsAreNotAudited) {
  Watch({Float("audit", 1)});
  const Ref<RequestContext> context = MakeRef<RequestContext>();
  context->shadow = true;
  std::vector<int64_t> escalated;
  EXPECT_EQ(watcher_->Begin(Ref<const RequestContext>(context.get()), 5, Tensor(), &escalated)->audited(), 0u);
}

TEST_F(CascadeWatcherTest, AnAuditOutlivesTheCascade) {
  Watch({Float("audit", 1)});
  Request(3, {});
  background_->RunAll();
  watcher_.reset();
  AnswerAudit(transport_.calls[0]);
  // One that was not sent yet ends with the executor.
  Watch({Float("audit", 1)});
  Request(3, {});
  watcher_.reset();
  background_->Stop();
}

TEST_F(CascadeWatcherTest, DriftOfWhatEscalatesIsToldAndTakenBack) {
  Watch(
      {Float("expected_escalated", 0.25F), Float("expected_escalated_within", 0.05F), Int("expected_over_ms", 60'000)});
  const auto requests = [&](int count, const std::vector<int64_t>& escalated) {
    for (int i = 0; i < count; ++i) {
      clock_.now += absl::Milliseconds(100);
      Request(4, escalated);
    }
  };
  requests(300, {1});
  EXPECT_EQ(Value("drifted"), 0);
  // Half of the rows now. As long as the window has the old ones it is not sure.
  requests(20, {1, 2});
  EXPECT_EQ(Value("drifted"), 0);
  requests(400, {1, 2});
  EXPECT_EQ(Value("drifted"), 1);
  requests(600, {1});
  EXPECT_EQ(Value("drifted"), 0);
  EXPECT_EQ(metrics_.Value("portico_cascade_share"), 0.25 + 0.75) << "escalated, saved";
}

TEST_F(CascadeWatcherTest, DriftOfAgreementIsTold) {
  Watch({Float("audit", 1), Float("expected_agreement", 0.99F)});
  const auto audits = [&](int count, size_t other) {
    for (int i = 0; i < count; ++i) {
      clock_.now += absl::Milliseconds(100);
      Request(10, {});
      background_->RunAll();
      AnswerAudit(transport_.calls.back(), other);
    }
  };
  audits(100, 0);
  EXPECT_EQ(Value("drifted"), 0) << "more than expected is no harm";
  audits(50, 1);
  EXPECT_EQ(Value("drifted"), 1);
}

// Brown-out, through the portal.

class BrownOutPortalTest : public CascadeWatcherTest {
 protected:
  void Make(Attrs attrs) {
    // The last input is how much each row needs the full model.
    attrs.push_back(String("digest", Sha256("full").Hex()));
    attrs.push_back(Strings("input_names", {"x"}));
    attrs.push_back(Strings("output_names", {"y"}));
    ModelBuilder model;
    model.Portal("Cascade", "full", {"escalate", "cheap", "x", "need"}, {"y", "status"}, {DType::kFloat}, {"N"},
                 std::move(attrs));
    model.graph().mutable_node(0)->set_name("cascade");
    auto spec = ReadPortalSpec(model.graph().node(0));
    ASSERT_TRUE(spec.ok()) << spec.status();
    auto portal = NewPortal(*spec, *router_);
    ASSERT_TRUE(portal.ok()) << portal.status();
    portal_ = *std::move(portal);
  }
  /// `count` rows that all escalate; row i needs it i. The answer is at `outputs_` once the call has ended.
  void Run(int64_t count) {
    Tensor mask = Tensor::Allocate(DType::kBool, {count});
    std::fill_n(mask.mutable_bytes(), count, '\1');
    std::vector<float> need, cheap(static_cast<size_t>(count), -1);
    for (int64_t i = 0; i < count; ++i) need.push_back(static_cast<float>(i));
    context_ = MakeRef<RequestContext>();
    outputs_.reset();
    portal_->Run(Ref<const RequestContext>(context_.get()),
                 {mask, Tensor::Of<float>({count}, absl::MakeConstSpan(cheap)), X(Counting(count)),
                  Tensor::Of<float>({count}, absl::MakeConstSpan(need))},
                 [this](Outputs outputs) { outputs_ = std::move(outputs); });
  }
  void Answer(absl::Duration after = absl::ZeroDuration()) {
    clock_.now += after;
    FakeTransport::Call& call = transport_.calls.back();
    std::vector<float> y(static_cast<size_t>(call.tensors[0].rows()), 100);
    call.Reply({}, {Tensor::Of<float>({call.tensors[0].rows()}, absl::MakeConstSpan(y))});
  }
  void Refuse() { transport_.calls.back().Fail(absl::ResourceExhaustedError("queue full")); }
  void Step() {
    clock_.now += BrownOut::kStep;
    timer_.RunDue();
  }
  /// Steps in which ten calls end, all refused or none.
  void Steps(int steps, bool refused) {
    for (int step = 0; step < steps; ++step) {
      for (int call = 0; call < 10; ++call) {
        Run(8);
        if (transport_.calls.back().done) refused ? Refuse() : Answer();
      }
      transport_.calls.clear();
      Step();
    }
  }
  std::vector<int> Status() const {
    const absl::Span<const int8_t> status = (*outputs_)->back().data<int8_t>();
    return std::vector<int>(status.begin(), status.end());
  }

  std::unique_ptr<Portal> portal_;
  Ref<RequestContext> context_;
  std::optional<Outputs> outputs_;
};

TEST_F(BrownOutPortalTest, RowsThatNeedItLeastKeepTheCheapAnswerAndAreNamed) {
  Make({Float("brown_out_max_shed", 0.5F), Int("row_status", 1), String("on_row_error", "cheap")});
  Run(8);
  ASSERT_THAT(transport_.calls, SizeIs(1));
  EXPECT_EQ(transport_.calls[0].tensors[0].rows(), 8) << "nobody is overloaded";
  Answer();
  EXPECT_TRUE(context_->row_notes.empty());
  EXPECT_EQ(timer_.queued(), 0u);

  Steps(10, /*refused=*/true);
  EXPECT_EQ(Value("brown_out_share"), 0.5);
  Run(8);
  ASSERT_TRUE(transport_.calls.back().done);
  EXPECT_THAT(transport_.calls.back().tensors[0].data<float>(), ElementsAre(4, 5, 6, 7));
  Answer();
  ASSERT_TRUE(outputs_.has_value() && outputs_->ok());
  EXPECT_THAT((**outputs_)[0].data<float>(), ElementsAre(-1, -1, -1, -1, 100, 100, 100, 100));
  EXPECT_THAT(Status(), ElementsAre(0, 0, 0, 0, 1, 1, 1, 1));
  EXPECT_THAT(context_->row_notes.Joined(), HasSubstr("0-3 full=brown_out RESOURCE_EXHAUSTED: "));
  const double escalated = Value("rows_escalated_total"), shed = Value("rows_shed_total");
  EXPECT_LE(shed, 0.5 * (escalated + shed));
  EXPECT_EQ(Value("rows_total"), escalated + shed);

  // It recovers, slowly, and then nothing is left of it.
  Steps(ShedLevel::kFall / 2, /*refused=*/false);
  EXPECT_NEAR(Value("brown_out_share"), 0.25, 0.02);
  Steps(ShedLevel::kFall / 2 + 1, /*refused=*/false);
  EXPECT_EQ(Value("brown_out_share"), 0);
  EXPECT_EQ(timer_.queued(), 0u);
  Run(8);
  EXPECT_EQ(transport_.calls.back().tensors[0].rows(), 8);
  Answer();
  EXPECT_TRUE(context_->row_notes.empty());
}

TEST_F(BrownOutPortalTest, CallsThatTakeLongCountAsDeclared) {
  Make({Float("brown_out_max_shed", 0.25F), Int("brown_out_slower_than_ms", 20), Int("row_status", 1)});
  for (int call = 0; call < 4; ++call) {
    Run(8);
    Answer(absl::Milliseconds(20));
  }
  EXPECT_EQ(timer_.queued(), 0u);
  for (int call = 0; call < 4; ++call) {
    Run(8);
    Answer(absl::Milliseconds(21));
  }
  EXPECT_EQ(timer_.queued(), 1u);
  Step();
  EXPECT_GT(Value("brown_out_share"), 0);
  EXPECT_LE(Value("brown_out_share"), 0.25);
}

TEST_F(BrownOutPortalTest, WhoHasGoneSaysNothingOfTheFullModel) {
  Make({Float("brown_out_max_shed", 0.5F), Int("row_status", 1)});
  Run(8);
  context_->Cancel();
  EXPECT_EQ(timer_.queued(), 0u);
}

TEST_F(BrownOutPortalTest, NothingIsOwedToACascadeThatHasGone) {
  Make({Float("brown_out_max_shed", 0.5F), Int("row_status", 1)});
  Run(8);
  Refuse();
  EXPECT_EQ(timer_.queued(), 1u);
  portal_.reset();
  Step();
  EXPECT_EQ(timer_.queued(), 0u);
}

TEST_F(BrownOutPortalTest, ANeedThatDoesNotFitIsRefused) {
  Make({Float("brown_out_max_shed", 0.5F), Int("row_status", 1)});
  portal_->Run(MakeRef<RequestContext>(),
               {Tensor::Of<bool>({2}, {true, false}), Tensor::Of<float>({2}, {1, 2}), X({0, 1}),
                Tensor::Of<float>({3}, {1, 2, 3})},
               [this](Outputs outputs) { outputs_ = std::move(outputs); });
  EXPECT_EQ(outputs_->status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(outputs_->status().message(), HasSubstr("the last input: got float32[3], want float32[2]"));
}

TEST(CascadeWatchTest, AttributesThatMakeNoSenseAreRefused) {
  const auto error_of = [](Attrs attrs) {
    attrs.push_back(Strings("input_names", {"x"}));
    attrs.push_back(Strings("output_names", {"y"}));
    ModelBuilder model;
    model.Portal("Cascade", "full", {"escalate", "cheap", "x"}, {"y"}, {DType::kFloat}, {"N"}, std::move(attrs));
    const auto spec = ReadPortalSpec(model.graph().node(0));
    return spec.ok() ? "" : std::string(spec.status().message());
  };
  EXPECT_EQ(error_of({Float("audit", 0.01F), Float("expected_agreement", 0.9F)}), "");
  EXPECT_THAT(error_of({Float("audit", 1.5F)}), HasSubstr("'audit': got 1.5, want a share from 0 to 1"));
  EXPECT_THAT(error_of({Float("audit", std::nanf(""))}), HasSubstr("'audit': got nan"));
  EXPECT_THAT(error_of({Float("expected_escalated", -2)}), HasSubstr("'expected_escalated': got -2"));
  EXPECT_THAT(error_of({Float("expected_agreement", 0.9F)}), HasSubstr("no 'audit'"));
  EXPECT_THAT(error_of({Int("audit_max_in_flight", 0)}), HasSubstr("want 1 to 1024"));
  EXPECT_THAT(error_of({Int("expected_over_ms", 10)}), HasSubstr("'expected_over': got 10ms, want 1s to 24h"));
  EXPECT_THAT(error_of({Strings("agreement_outputs", {"z"})}), HasSubstr("got 'z', want some of y"));
  EXPECT_THAT(error_of({Float("brown_out_max_shed", 0.5F)}),
              HasSubstr("inputs: got 3, want 4 at least: escalate, a cheap answer for each of 1 outputs, then the "
                        "inputs of the full model, then how much each row needs it"));
}

}  // namespace
}  // namespace portico
