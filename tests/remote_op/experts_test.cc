#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "remote_op/portal.h"
#include "router/static_resolver.h"
#include "tests/remote_op/remote_spec.h"
#include "tests/router/fake_transport.h"
#include "tests/router/naive_experts.h"
#include "tests/router/random_gates.h"
#include "transport/wire_row_notes.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Outputs = absl::StatusOr<std::vector<Tensor>>;
using OnExpertError = ExpertsSpec::OnExpertError;
using OnRowError = ExpertsSpec::OnRowError;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr int kMaxExperts = 300;

/// What expert `e` answers to a row: y[0], y[1] and z.
std::vector<float> AnswerOf(int e, const std::vector<float>& x, int64_t id) {
  const auto factor = static_cast<float>(e + 1);
  return {x[0] * factor + 0.1f, x[1] / factor, static_cast<float>(id) + x[2] * 0.3f - factor};
}

class ExpertsTest : public ::testing::Test {
 protected:
  ExpertsTest() : timer_(clock_), resolver_(Peers()) {
    Router::Options options;
    options.timer = &timer_;
    router_ = *Router::Create(std::move(options), transport_, resolver_, clock_, metrics_);
  }

  static std::map<std::string, std::vector<std::string>> Peers() {
    std::map<std::string, std::vector<std::string>> peers;
    for (int e = 0; e < kMaxExperts; ++e) peers[absl::StrCat("e", e)] = {absl::StrCat("x://e", e)};
    return peers;
  }

  /// Experts e0, e1, ...: (x float[N,3], id int64[N]) → (y float[N,2], z float[N]), and the row status.
  static PortalSpec SpecFor(int experts, int k) {
    PortalSpec spec;
    spec.op_type = "Experts";
    spec.node_name = "moe";
    spec.signature = "serving_default";
    spec.input_names = {"x", "id"};
    spec.outputs = {SpecOf("y", DType::kFloat, {{-1, "N"}, {2, ""}}), SpecOf("z", DType::kFloat, {{-1, "N"}}),
                    SpecOf("row_status", DType::kInt8, {{-1, "N"}})};
    spec.experts.emplace();
    for (int e = 0; e < experts; ++e) spec.experts->targets.push_back({absl::StrCat("e", e), Digest()});
    spec.experts->k = k;
    spec.experts->k_min = k;
    spec.experts->row_status = true;
    return spec;
  }

  void Make(const PortalSpec& spec) {
    auto portal = NewPortal(spec, *router_);
    ASSERT_TRUE(portal.ok()) << portal.status();
    portal_ = *std::move(portal);
    (void)portal_->Health();  // Begins to connect.
    for (const PortalTarget& target : spec.experts->targets) {
      if (connected_.insert(target.name).second) transport_.Connected(absl::StrCat("x://", target.name));
    }
  }

  void Start(const std::vector<float>& gates, int experts) {
    const auto rows = static_cast<int64_t>(gates.size()) / experts;
    xs_.clear();
    ids_.clear();
    for (int64_t row = 0; row < rows; ++row) {
      for (int i = 0; i < 3; ++i) xs_.push_back(static_cast<float>(random_() % 1000) / 37.0f);
      ids_.push_back(static_cast<int64_t>(random_() % 1000));
    }
    StartWith({Tensor::Of<float>({rows, experts}, absl::MakeConstSpan(gates)),
               Tensor::Of<float>({rows, 3}, absl::MakeConstSpan(xs_)),
               Tensor::Of<int64_t>({rows}, absl::MakeConstSpan(ids_))});
  }
  void StartWith(std::vector<Tensor> inputs) {
    outputs_.reset();
    transport_.calls.clear();
    transport_.cancelled.clear();
    context_ = MakeRef<RequestContext>();
    portal_->Run(context_, std::move(inputs), [this](Outputs result) {
      ASSERT_FALSE(outputs_.has_value()) << "answered twice";
      outputs_ = std::move(result);
    });
  }

  std::vector<float> XOf(size_t row) const { return {xs_[3 * row], xs_[3 * row + 1], xs_[3 * row + 2]}; }

  static int ExpertOf(const FakeTransport::Call& call) {
    int e = -1;
    EXPECT_TRUE(absl::SimpleAtoi(call.servable.substr(1), &e)) << call.servable;
    return e;
  }
  /// The call of an expert that is open; the test fails where there is none.
  FakeTransport::Call& OpenCall(int expert) {
    for (FakeTransport::Call& call : transport_.calls) {
      if (call.done && ExpertOf(call) == expert) return call;
    }
    ADD_FAILURE() << "no open call of expert " << expert;
    abort();
  }
  std::vector<int> Called() const {
    std::vector<int> called;
    for (const FakeTransport::Call& call : transport_.calls) called.push_back(ExpertOf(call));
    return called;
  }

  static void Reply(FakeTransport::Call& call, std::vector<Tensor> outputs) {
    PeerHeader header;
    header.tensors.resize(outputs.size());
    const char* const names[] = {"y", "z"};
    for (size_t i = 0; i < outputs.size(); ++i) header.tensors[i].name = names[i];
    call.Reply(header, std::move(outputs));
  }
  static void Answer(FakeTransport::Call& call) {
    const int e = ExpertOf(call);
    const auto x = call.tensors[0].data<float>();
    const auto id = call.tensors[1].data<int64_t>();
    std::vector<float> y, z;
    for (size_t row = 0; row < id.size(); ++row) {
      const std::vector<float> answer = AnswerOf(e, {x[3 * row], x[3 * row + 1], x[3 * row + 2]}, id[row]);
      y.insert(y.end(), {answer[0], answer[1]});
      z.push_back(answer[2]);
    }
    const auto rows = static_cast<int64_t>(id.size());
    Reply(call,
          {Tensor::Of<float>({rows, 2}, absl::MakeConstSpan(y)), Tensor::Of<float>({rows}, absl::MakeConstSpan(z))});
  }
  void Answer(int expert) { Answer(OpenCall(expert)); }
  void Fail(int expert) { OpenCall(expert).Fail(absl::UnavailableError(absl::StrCat("e", expert, " is away"))); }

  float Y(size_t row, size_t column) const { return (**outputs_)[0].data<float>()[2 * row + column]; }
  std::vector<int> Statuses() const {
    const auto statuses = (**outputs_)[2].data<int8_t>();
    return {statuses.begin(), statuses.end()};
  }
  std::string Notes() const { return context_->row_notes.Joined(); }
  absl::Status Error() const { return outputs_.has_value() ? outputs_->status() : absl::UnknownError("no answer"); }
  void ExpectDone() const {
    ASSERT_TRUE(outputs_.has_value());
    ASSERT_TRUE(outputs_->ok()) << outputs_->status();
  }

  std::mt19937 random_{11};
  FakeClock clock_;
  ManualTimer timer_;
  CountedMetrics metrics_;
  FakeTransport transport_;
  const StaticResolver resolver_;
  std::unique_ptr<Router> router_;
  std::unique_ptr<Portal> portal_;
  std::set<std::string> connected_;
  std::vector<float> xs_;
  std::vector<int64_t> ids_;
  Ref<RequestContext> context_;
  std::optional<Outputs> outputs_;
};

TEST_F(ExpertsTest, OneCallPerExpertForAllOfItsRows) {
  Make(SpecFor(3, 1));
  Start({9, 0, 0, 0, 0, 9, 9, 0, 0, 0, 0, 9}, 3);
  ASSERT_THAT(Called(), ElementsAre(0, 2));
  EXPECT_EQ(transport_.calls[0].tensors[0].rows(), 2);
  EXPECT_THAT(transport_.calls[1].tensors[1].data<int64_t>(), ElementsAre(ids_[1], ids_[3]));
  EXPECT_FALSE(outputs_.has_value());
  Answer(2);
  EXPECT_FALSE(outputs_.has_value());
  Answer(0);
  ExpectDone();
  for (size_t row = 0; row < 4; ++row) {
    const std::vector<float> want = AnswerOf(row % 2 == 0 ? 0 : 2, XOf(row), ids_[row]);
    EXPECT_EQ(Y(row, 0), want[0]);
    EXPECT_EQ(Y(row, 1), want[1]);
    EXPECT_EQ((**outputs_)[1].data<float>()[row], want[2]);
  }
  EXPECT_THAT(Statuses(), ElementsAre(0, 0, 0, 0));
  EXPECT_TRUE(context_->row_notes.empty());
  EXPECT_EQ(metrics_.Value("portico_experts_calls_total"), 2);
  EXPECT_EQ(metrics_.Value("portico_experts_expert_rows_total"), 4);
}

TEST_F(ExpertsTest, RowsOfAnExpertThatFailsGoToTheNextBest) {
  Make(SpecFor(3, 1));
  Start({9, 1, 5, 9, 5, 1, 0, 9, 1}, 3);
  ASSERT_THAT(Called(), ElementsAre(0, 1));
  Fail(0);
  ASSERT_THAT(Called(), ElementsAre(0, 1, 1, 2)) << "one row each";
  EXPECT_EQ(transport_.calls[2].tensors[1].data<int64_t>()[0], ids_[1]);
  EXPECT_EQ(transport_.calls[3].tensors[1].data<int64_t>()[0], ids_[0]);
  Answer(transport_.calls[3]);
  Answer(transport_.calls[2]);
  Answer(transport_.calls[1]);
  ExpectDone();
  EXPECT_EQ(Y(0, 0), AnswerOf(2, XOf(0), ids_[0])[0]);
  EXPECT_EQ(Y(1, 0), AnswerOf(1, XOf(1), ids_[1])[0]);
  EXPECT_EQ(Y(2, 0), AnswerOf(1, XOf(2), ids_[2])[0]);
  EXPECT_THAT(Statuses(), ElementsAre(0, 0, 0));
  EXPECT_THAT(Notes(), AllOf(HasSubstr("0-1 e0=next UNAVAILABLE"), HasSubstr("e0 is away")));
}

TEST_F(ExpertsTest, ExpertsThatWereFoundAwayAreNotAskedAgain) {
  Make(SpecFor(3, 1));
  Start({9, 8, 1, 8, 9, 1}, 3);
  Fail(0);
  ASSERT_THAT(Called(), ElementsAre(0, 1, 1));
  Fail(1);
  // Row 0 had moved on to e1 meanwhile: what that says is not waited for.
  EXPECT_THAT(transport_.cancelled, ElementsAre(2));
  ASSERT_THAT(Called(), ElementsAre(0, 1, 1, 2));
  EXPECT_EQ(transport_.calls[3].tensors[0].rows(), 2);
  Answer(2);
  ExpectDone();
  EXPECT_EQ(Y(0, 1), AnswerOf(2, XOf(0), ids_[0])[1]);
  EXPECT_EQ(Y(1, 1), AnswerOf(2, XOf(1), ids_[1])[1]);
}

TEST_F(ExpertsTest, RenormalizesOverThoseThatAnswered) {
  PortalSpec spec = SpecFor(3, 2);
  spec.experts->on_expert_error = OnExpertError::kRenormalize;
  spec.experts->weights = ExpertWeights::kRenormalize;
  Make(spec);
  Start({0.5f, 0.25f, 0.25f, 0.1f, 0.5f, 0.4f}, 3);
  ASSERT_THAT(Called(), ElementsAre(0, 1, 2));
  Fail(1);
  Answer(0);
  Answer(2);
  ExpectDone();
  EXPECT_THAT(transport_.calls, SizeIs(3)) << "nobody else is asked";
  EXPECT_EQ(Y(0, 0), AnswerOf(0, XOf(0), ids_[0])[0]) << "all of the weight";
  EXPECT_EQ(Y(1, 0), AnswerOf(2, XOf(1), ids_[1])[0]);
  EXPECT_THAT(Statuses(), ElementsAre(1, 1));
  EXPECT_THAT(Notes(), HasSubstr("0-1 e1=fewer UNAVAILABLE"));
  EXPECT_EQ(metrics_.Value("portico_experts_rows_fewer_total"), 2);
}

TEST_F(ExpertsTest, AFailedExpertMayTakeTheRowAlong) {
  PortalSpec spec = SpecFor(3, 2);
  spec.experts->on_expert_error = OnExpertError::kFail;
  Make(spec);
  Start({9, 8, 1, 9, 1, 8}, 3);
  Answer(0);
  Fail(1);
  Answer(2);
  ExpectDone();
  EXPECT_TRUE(std::isnan(Y(0, 0)) && std::isnan(Y(0, 1)));
  EXPECT_FALSE(std::isnan(Y(1, 0)));
  EXPECT_THAT(Statuses(), ElementsAre(2, 0));
  EXPECT_THAT(Notes(), HasSubstr("0 e1=mark UNAVAILABLE"));
}

TEST_F(ExpertsTest, AFailedExpertMayTakeTheRequestAlong) {
  PortalSpec spec = SpecFor(3, 2);
  spec.experts->on_expert_error = OnExpertError::kFail;
  spec.experts->on_row_error = OnRowError::kFail;
  Make(spec);
  Start({9, 8, 1, 9, 1, 8}, 3);
  Fail(1);
  EXPECT_EQ(Error().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Error().message(), AllOf(HasSubstr("portal 'moe' to e0, e1, e2"), HasSubstr("e1 is away")));
  EXPECT_THAT(transport_.cancelled, ElementsAre(0, 2)) << "what is still out is taken back";
}

TEST_F(ExpertsTest, RowsThatNobodyAnswersAreMarkedAndSaid) {
  Make(SpecFor(2, 1));
  Start({9, 1, 1, 9}, 2);
  Fail(0);
  Fail(1);
  ExpectDone();
  EXPECT_TRUE(std::isnan(Y(0, 0)) && std::isnan(Y(1, 1)));
  EXPECT_THAT(Statuses(), ElementsAre(2, 2));
  EXPECT_THAT(Notes(), AllOf(HasSubstr("e0=mark"), HasSubstr("e1=mark")));
  EXPECT_EQ(metrics_.Value("portico_experts_rows_failed_total"), 2);
}

TEST_F(ExpertsTest, RowsThatNobodyAnswersMayFailTheRequest) {
  PortalSpec spec = SpecFor(2, 1);
  spec.experts->on_row_error = OnRowError::kFail;
  Make(spec);
  Start({1, -kInfinity, 1, 9}, 2);
  Answer(1);
  Fail(0);
  EXPECT_EQ(Error().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Error().message(), AllOf(HasSubstr("row 0"), HasSubstr("e0 is away")));
}

TEST_F(ExpertsTest, AnExpertThatWasNeverThereCostsNoTime) {
  PortalSpec spec = SpecFor(2, 1);
  spec.experts->targets[0].name = "nobody";
  auto portal = NewPortal(spec, *router_);
  ASSERT_TRUE(portal.ok()) << portal.status();
  portal_ = *std::move(portal);
  EXPECT_THAT(portal_->Health().message(), HasSubstr("2 of 2 experts cannot be reached: portal to 'nobody'"));
  transport_.Connected("x://e1");
  EXPECT_THAT(portal_->Health().message(), HasSubstr("1 of 2 experts cannot be reached: portal to 'nobody'"));
  Start({9, 1, 1, 9}, 2);
  ASSERT_THAT(Called(), ElementsAre(1, 1));
  Answer(1);
  Answer(1);
  ExpectDone();
  EXPECT_THAT(Notes(), HasSubstr("0 nobody=next UNAVAILABLE"));
}

TEST_F(ExpertsTest, FromItsTimeOnKMinAnswersAreEnough) {
  PortalSpec spec = SpecFor(3, 2);
  spec.experts->k_min = 1;
  spec.experts->k_min_after = absl::Milliseconds(20);
  Make(spec);
  Start({9, 8, 1, 9, 1, 8}, 3);
  Answer(0);
  EXPECT_FALSE(outputs_.has_value()) << "there is time";
  clock_.now += absl::Milliseconds(20);
  timer_.RunDue();
  ExpectDone();
  EXPECT_EQ(Y(0, 0), AnswerOf(0, XOf(0), ids_[0])[0]);
  EXPECT_THAT(Statuses(), ElementsAre(1, 1));
  EXPECT_THAT(transport_.cancelled, ElementsAre(1, 2));
  EXPECT_THAT(Notes(), AllOf(HasSubstr("0 e1=fewer DEADLINE_EXCEEDED"), HasSubstr("1 e2=fewer")));
}

TEST_F(ExpertsTest, EveryRowWaitsForItsKMin) {
  PortalSpec spec = SpecFor(3, 2);
  spec.experts->k_min = 1;
  Make(spec);
  Start({9, 8, -kInfinity, -kInfinity, 8, 9}, 3);
  Answer(0);
  EXPECT_FALSE(outputs_.has_value()) << "row 1 has no answer";
  Answer(2);
  ExpectDone();
  EXPECT_EQ(timer_.scheduled(), 0);
  EXPECT_THAT(Statuses(), ElementsAre(1, 1));
  EXPECT_THAT(transport_.cancelled, ElementsAre(1));
}

TEST_F(ExpertsTest, LateAnswersAreIgnored) {
  PortalSpec spec = SpecFor(2, 2);
  spec.experts->k_min = 1;
  Make(spec);
  transport_.cancel_completes = false;
  Start({9, 8}, 2);
  Answer(0);
  ExpectDone();
  portal_ = nullptr;
  Answer(1);
  EXPECT_THAT(Statuses(), ElementsAre(1));
}

TEST_F(ExpertsTest, TimeThatIsOverDoesNotFillRowsThatHaveNothing) {
  PortalSpec spec = SpecFor(2, 2);
  spec.experts->k_min = 1;
  spec.experts->k_min_after = absl::Milliseconds(20);
  Make(spec);
  Start({9, 8}, 2);
  clock_.now += absl::Milliseconds(20);
  timer_.RunDue();
  EXPECT_FALSE(outputs_.has_value());
  Fail(0);
  EXPECT_FALSE(outputs_.has_value());
  Answer(1);
  ExpectDone();
  EXPECT_THAT(Statuses(), ElementsAre(1));
}

TEST_F(ExpertsTest, ARequestThatIsCancelledTakesItsCallsBack) {
  Make(SpecFor(3, 2));
  Start({9, 8, 1}, 3);
  context_->Cancel();
  EXPECT_EQ(Error().code(), absl::StatusCode::kCancelled);
  EXPECT_THAT(transport_.calls, SizeIs(2)) << "no next best for a client that has gone";
}

TEST_F(ExpertsTest, FullExpertsPassRowsOn) {
  PortalSpec spec = SpecFor(2, 1);
  spec.experts->capacity = 1;
  Make(spec);
  Start({9, 1, 9, 1, 9, 1, 9, 1}, 2);
  ASSERT_THAT(Called(), ElementsAre(0, 1));
  EXPECT_EQ(transport_.calls[0].tensors[0].rows(), 2);
  Answer(0);
  Answer(1);
  ExpectDone();
  EXPECT_EQ(Y(1, 0), AnswerOf(0, XOf(1), ids_[1])[0]);
  EXPECT_EQ(Y(2, 0), AnswerOf(1, XOf(2), ids_[2])[0]);
  EXPECT_EQ(metrics_.Value("portico_experts_rows_overflowed_total"), 2);
  spec.experts->capacity = 0.5f;
  Make(spec);
  Start({9, 1, 9, 1, 9, 1, 9, 1}, 2);
  Answer(0);
  Answer(1);
  ExpectDone();
  EXPECT_THAT(Statuses(), ElementsAre(0, 0, 2, 2));
  EXPECT_THAT(Notes(), HasSubstr("2-3 moe=mark RESOURCE_EXHAUSTED: capacity"));
}

TEST_F(ExpertsTest, NoRowsAreNoCall) {
  Make(SpecFor(3, 2));
  Start({}, 3);
  ExpectDone();
  EXPECT_THAT(transport_.calls, IsEmpty());
  EXPECT_THAT((**outputs_)[0].shape(), ElementsAre(0, 2));
  EXPECT_THAT((**outputs_)[1].shape(), ElementsAre(0));
  EXPECT_THAT((**outputs_)[2].shape(), ElementsAre(0));
}

TEST_F(ExpertsTest, RowsWithoutAUsableGateAreMarked) {
  Make(SpecFor(2, 1));
  Start({kNan, 1, 9, 1, -kInfinity, -kInfinity}, 2);
  ASSERT_THAT(Called(), ElementsAre(0));
  Answer(0);
  ExpectDone();
  EXPECT_TRUE(std::isnan(Y(0, 0)) && std::isnan(Y(2, 0)));
  EXPECT_THAT(Statuses(), ElementsAre(2, 0, 2));
  EXPECT_THAT(Notes(), HasSubstr("0,2 moe=mark INVALID_ARGUMENT: gate: got "));
}

TEST_F(ExpertsTest, RowsWithoutAUsableGateMayFailTheRequest) {
  PortalSpec spec = SpecFor(2, 1);
  spec.experts->on_row_error = OnRowError::kFail;
  Make(spec);
  Start({9, 1, kNan, 1}, 2);
  EXPECT_EQ(Error().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Error().message(), HasSubstr("row 1: gate: got NaN"));
  EXPECT_THAT(transport_.calls, IsEmpty());
}

TEST_F(ExpertsTest, InputsThatDoNotFitAreRefused) {
  Make(SpecFor(3, 1));
  const auto error_of = [&](Tensor gate, int64_t rows) {
    StartWith({std::move(gate), Tensor::Allocate(DType::kFloat, {rows, 3}), Tensor::Allocate(DType::kInt64, {2})});
    EXPECT_THAT(transport_.calls, IsEmpty());
    EXPECT_EQ(Error().code(), absl::StatusCode::kInvalidArgument);
    return std::string(Error().message());
  };
  EXPECT_THAT(error_of(Tensor::Allocate(DType::kFloat, {2, 4}), 2),
              HasSubstr("portal 'moe' to e0, e1, e2: gate: got float32[2,4], want float32[N,3]"));
  EXPECT_THAT(error_of(Tensor::Allocate(DType::kDouble, {2, 3}), 2), HasSubstr("gate: got float64[2,3]"));
  EXPECT_THAT(error_of(Tensor::Allocate(DType::kFloat, {6}), 2), HasSubstr("gate: got float32[6]"));
  EXPECT_THAT(error_of(Tensor::Allocate(DType::kFloat, {2, 3}), 5),
              HasSubstr("input 'x': got float32[5,3], want 2 rows, as the gate has"));
}

TEST_F(ExpertsTest, AnswersThatDoNotFitCountAsAFailureOfTheExpert) {
  Make(SpecFor(2, 1));
  Start({9, 1, 9, 1}, 2);
  Reply(OpenCall(0), {Tensor::Allocate(DType::kFloat, {1, 2}), Tensor::Allocate(DType::kFloat, {1})});
  Answer(1);
  ExpectDone();
  EXPECT_THAT(Notes(), AllOf(HasSubstr("0-1 e0=next INTERNAL"), HasSubstr("got float32[1,2], want 2 rows")));
}

TEST_F(ExpertsTest, AnswersOfDifferentShapesAreRefusedAndBothExpertsAreNamed) {
  PortalSpec spec = SpecFor(2, 1);
  spec.outputs[0].dims[1] = {-1, "D"};
  Make(spec);
  Start({9, 1, 1, 9}, 2);
  Reply(OpenCall(1), {Tensor::Allocate(DType::kFloat, {1, 5}), Tensor::Allocate(DType::kFloat, {1})});
  Answer(0);
  EXPECT_EQ(Error().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(Error().message(), AllOf(HasSubstr("output 'y': got float32[1,2] of expert 'e0' and float32[1,5] of "
                                                 "expert 'e1'"),
                                       HasSubstr("want rows of one shape")));
}

TEST_F(ExpertsTest, WhatAnExpertSaysOfSingleRowsIsSaidOfTheRequests) {
  Make(SpecFor(2, 1));
  Start({9, 1, 1, 9, 9, 1, 1, 9}, 2);
  const auto answer_with = [&](int expert, const std::string& kind) {
    WireRowNotes wire;
    PeerHeader header;
    const std::vector<RowNote> notes = {{"deep", kind, absl::UnavailableError("gone"), {{1, 1}}}};
    wire.Put(notes, &header);
    header.tensors.resize(2);
    header.tensors[0].name = "y";
    header.tensors[1].name = "z";
    OpenCall(expert).Reply(header, {Tensor::Of<float>({2, 2}, {1, 2, 3, 4}), Tensor::Of<float>({2}, {5, 6})});
  };
  answer_with(0, "cheap");
  answer_with(1, std::string(RowNotes::kMark));
  ExpectDone();
  EXPECT_THAT(Statuses(), ElementsAre(0, 0, 0, 2)) << "what stands in a marked row is no answer";
  EXPECT_EQ(Y(2, 0), 3);
  EXPECT_TRUE(std::isnan(Y(3, 0)));
  EXPECT_THAT(Notes(), AllOf(HasSubstr("2 deep=cheap UNAVAILABLE: gone"), HasSubstr("3 e1=mark UNAVAILABLE: gone")));
}

TEST_F(ExpertsTest, WithoutAnyAnswerAnUnknownShapeIsAnError) {
  PortalSpec spec = SpecFor(1, 1);
  spec.outputs[0].dims[1] = {-1, "D"};
  Make(spec);
  Start({9}, 1);
  Fail(0);
  EXPECT_EQ(Error().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Error().message(), HasSubstr("output 'y': got no answer to any row"));
}

TEST_F(ExpertsTest, PortalsThatCannotWorkAreRefused) {
  PortalSpec spec = SpecFor(2, 1);
  spec.experts.reset();
  EXPECT_EQ(NewPortal(spec, *router_).status().code(), absl::StatusCode::kInvalidArgument);
  spec = SpecFor(2, 1);
  spec.input_names = {"x", "x"};
  EXPECT_THAT(NewPortal(spec, *router_).status().message(), HasSubstr("'x' twice"));
}

TEST_F(ExpertsTest, AnswersEqualAPlainReferenceWhoeverFailsAndWhoeverIsFirst) {
  for (int round = 0; round < 600; ++round) {
    SCOPED_TRACE(round);
    const int experts = round % 40 == 0 ? kMaxExperts : 1 + static_cast<int>(random_() % 12);
    const int rows = static_cast<int>(random_() % 33);
    const RandomGates input(random_, rows, experts);
    PortalSpec spec = SpecFor(experts, input.rule.k);
    spec.experts->weights = input.rule.weights;
    spec.experts->capacity = input.rule.capacity;
    const bool refill = random_() % 3 != 0;
    if (!refill) spec.experts->on_expert_error = OnExpertError::kRenormalize;
    std::set<int> failing;
    if (random_() % 2 == 0) {
      for (int e = 0; e < experts; ++e) {
        if (random_() % 3 == 0) failing.insert(e);
      }
    }
    Make(spec);
    Start(input.gates, experts);
    const NaiveExperts naive(input.rule, input.gates);
    std::set<int> wanted;
    for (const auto& chosen : naive.Chosen()) wanted.insert(chosen.begin(), chosen.end());
    ASSERT_EQ(Called(), std::vector<int>(wanted.begin(), wanted.end())) << "one call for each expert that is chosen";
    while (true) {
      std::vector<size_t> open;
      for (size_t i = 0; i < transport_.calls.size(); ++i) {
        if (transport_.calls[i].done) open.push_back(i);
      }
      if (open.empty()) break;
      FakeTransport::Call& call = transport_.calls[open[random_() % open.size()]];
      if (failing.contains(ExpertOf(call))) {
        call.Fail(absl::UnavailableError("away"));
      } else {
        Answer(call);
      }
    }
    ExpectDone();
    const NaiveExperts::Rows answered = naive.Answered(failing, refill);
    for (int row = 0; row < rows; ++row) {
      SCOPED_TRACE(row);
      const std::vector<int>& own = answered[static_cast<size_t>(row)];
      const auto at = static_cast<size_t>(row);
      const std::vector<float> weights = naive.Weights(row, own);
      std::vector<float> want(3, own.empty() ? kNan : 0);
      for (size_t i = 0; i < own.size(); ++i) {
        const std::vector<float> answer = AnswerOf(own[i], XOf(at), ids_[at]);
        for (size_t c = 0; c < 3; ++c) {
          const float part = weights[i] * answer[c];
          want[c] = i == 0 ? part : want[c] + part;
        }
      }
      const std::vector<float> got = {Y(at, 0), Y(at, 1), (**outputs_)[1].data<float>()[at]};
      for (size_t c = 0; c < 3; ++c) {
        ASSERT_TRUE(got[c] == want[c] || (own.empty() && std::isnan(got[c]))) << got[c] << " for " << want[c];
      }
      const int status = own.empty() ? 2 : static_cast<int>(own.size()) < input.rule.k ? 1 : 0;
      ASSERT_EQ(Statuses()[at], status);
    }
  }
}

}  // namespace
}  // namespace portico
