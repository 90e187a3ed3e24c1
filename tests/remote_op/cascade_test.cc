// The portal that passes on the rows that escalate.

#include <algorithm>
#include <cmath>
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
#include "transport/wire_row_notes.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Outputs = absl::StatusOr<std::vector<Tensor>>;

std::vector<std::string> TextsOf(const Tensor& tensor) {
  std::vector<std::string> texts;
  for (uint64_t i = 0; i < tensor.num_elements(); ++i) texts.emplace_back(tensor.StringAt(i));
  return texts;
}

class CascadeTest : public ::testing::Test {
 protected:
  CascadeTest() : resolver_(std::map<std::string, std::vector<std::string>>{{"full", {"x://a"}}}) {}

  /// score float[N,2] and label string[N] from x float[N,1].
  void Make(Attrs attrs = {}, const OnErrorPolicy& on_error = {}, bool with_digest = true) {
    MakeOf(CascadeSpecOf({{"score", DType::kFloat, "N,2"}, {"label", DType::kString, "N"}}, {"x"}, std::move(attrs),
                         with_digest),
           on_error);
  }
  void MakeOf(const PortalSpec& spec, const OnErrorPolicy& on_error = {}) {
    Router::Options options;
    options.policies["full"].on_error = on_error;
    options.policies["full"].retries = 0;
    router_ = *Router::Create(std::move(options), transport_, resolver_, clock_, metrics_);
    auto portal = NewPortal(spec, *router_);
    ASSERT_TRUE(portal.ok()) << portal.status();
    portal_ = *std::move(portal);
  }
  /// Row i: x 10 i, cheap score (i, −i), cheap label "cheap".
  static std::vector<Tensor> Inputs(const std::vector<bool>& escalate) {
    const auto rows = static_cast<int64_t>(escalate.size());
    Tensor mask = Tensor::Allocate(DType::kBool, {rows});
    std::vector<float> score, x;
    for (int64_t i = 0; i < rows; ++i) {
      mask.mutable_bytes()[i] = escalate[static_cast<size_t>(i)] ? 1 : 0;
      score.insert(score.end(), {static_cast<float>(i), static_cast<float>(-i)});
      x.push_back(static_cast<float>(10 * i));
    }
    return {mask, Tensor::Of<float>({rows, 2}, absl::MakeConstSpan(score)),
            Tensor::OfStrings({rows}, std::vector<std::string>(escalate.size(), "cheap")),
            Tensor::Of<float>({rows, 1}, absl::MakeConstSpan(x))};
  }
  /// What "full" answers to its x: scores (x + 1, x + 2), label "full".
  static std::vector<Tensor> FullAnswer(const Tensor& x) {
    std::vector<float> score;
    for (const float value : x.data<float>()) score.insert(score.end(), {value + 1, value + 2});
    return {Tensor::Of<float>({x.rows(), 2}, absl::MakeConstSpan(score)),
            Tensor::OfStrings({x.rows()}, std::vector<std::string>(static_cast<size_t>(x.rows()), "full"))};
  }
  /// Runs, and has `end` end the call, where there is one.
  template <typename End>
  Outputs Run(std::vector<Tensor> inputs, End end) {
    std::optional<Outputs> outputs;
    context_ = MakeRef<RequestContext>();
    context_->deadline = Deadline::In(absl::Seconds(10), clock_);
    const size_t before = transport_.calls.size();
    portal_->Run(Ref<const RequestContext>(context_.get()), std::move(inputs),
                 [&](Outputs result) { outputs = std::move(result); });
    if (transport_.calls.size() > before) end(transport_.calls.back());
    EXPECT_TRUE(outputs.has_value());
    return *std::move(outputs);
  }
  static void Answer(FakeTransport::Call& call) { call.Reply({}, FullAnswer(call.tensors[0])); }
  static auto Fails(absl::StatusCode code) {
    return [code](FakeTransport::Call& call) { call.Fail(absl::Status(code, "went wrong")); };
  }
  /// An answer with a note of kind `kind` for the rows as they were sent.
  static auto AnswersWithNote(std::string kind, std::vector<int64_t> rows) {
    return [kind = std::move(kind), rows = std::move(rows)](FakeTransport::Call& call) {
      RowNotes notes;
      notes.Add("deep", kind, absl::UnavailableError("deep is away"), rows);
      const std::vector<RowNote> all = notes.Notes();
      PeerHeader header;
      WireRowNotes wire;
      wire.Put(all, &header);
      call.Reply(header, FullAnswer(call.tensors[0]));
    };
  }
  static std::vector<int> Status(const Outputs& outputs) {
    const absl::Span<const int8_t> status = outputs->back().data<int8_t>();
    return std::vector<int>(status.begin(), status.end());
  }

  FakeClock clock_;
  FakeTransport transport_;
  CountedMetrics metrics_;
  const StaticResolver resolver_;
  std::unique_ptr<Router> router_;
  std::unique_ptr<Portal> portal_;
  /// Of the last Run().
  Ref<RequestContext> context_;
};

TEST_F(CascadeTest, WhereNothingEscalatesThereIsNoCall) {
  Make({Int("row_status", 1)});
  const std::vector<Tensor> inputs = Inputs({false, false, false});
  const Outputs outputs = Run(inputs, Answer);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT(transport_.calls, IsEmpty());
  EXPECT_THAT(transport_.connects, IsEmpty());
  ASSERT_THAT(*outputs, SizeIs(3));
  EXPECT_EQ((*outputs)[0].bytes().data(), inputs[1].bytes().data());
  EXPECT_EQ((*outputs)[1].bytes().data(), inputs[2].bytes().data());
  EXPECT_THAT(Status(outputs), ElementsAre(0, 0, 0));
  EXPECT_EQ(metrics_.Value("portico_cascade_rows_total"), 3);
  EXPECT_EQ(metrics_.Value("portico_cascade_calls_total"), 0);
}

TEST_F(CascadeTest, RowsThatEscalateGoInOneCallAndComeBackInOrder) {
  Make({Int("row_status", 1)});
  const Outputs outputs = Run(Inputs({false, true, true, false, true}), Answer);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  ASSERT_THAT(transport_.calls, SizeIs(1));
  const FakeTransport::Call& call = transport_.calls[0];
  EXPECT_EQ(call.servable, "full");
  EXPECT_EQ(call.digest, Sha256("full"));
  EXPECT_THAT(call.names, IsEmpty());
  ASSERT_THAT(call.tensors, SizeIs(1));
  EXPECT_THAT(call.tensors[0].shape(), ElementsAre(3, 1));
  EXPECT_THAT(call.tensors[0].data<float>(), ElementsAre(10, 20, 40));
  EXPECT_THAT((*outputs)[0].data<float>(), ElementsAre(0, 0, 11, 12, 21, 22, 3, -3, 41, 42));
  EXPECT_THAT(TextsOf((*outputs)[1]), ElementsAre("cheap", "full", "full", "cheap", "full"));
  EXPECT_THAT(Status(outputs), ElementsAre(0, 1, 1, 0, 1));
  EXPECT_TRUE(context_->row_notes.empty());
  EXPECT_EQ(metrics_.Value("portico_cascade_rows_total"), 5);
  EXPECT_EQ(metrics_.Value("portico_cascade_rows_escalated_total"), 3);
  EXPECT_EQ(metrics_.Value("portico_cascade_calls_total"), 1);
  EXPECT_EQ(metrics_.Value("portico_cascade_rows_failed_total"), 0);
}

TEST_F(CascadeTest, WithoutADigestTensorsGoByName) {
  Make({}, {}, /*with_digest=*/false);
  const Outputs outputs = Run(Inputs({true, false}), [](FakeTransport::Call& call) {
    std::vector<Tensor> answer = FullAnswer(call.tensors[0]);
    PeerHeader header;
    header.tensors.resize(2);
    header.tensors[0].name = "label";
    header.tensors[1].name = "score";
    call.Reply(header, {answer[1], answer[0]});
  });
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT(transport_.calls[0].names, ElementsAre("x"));
  ASSERT_THAT(*outputs, SizeIs(2)) << "no row status was asked for";
  EXPECT_THAT(TextsOf((*outputs)[1]), ElementsAre("full", "cheap"));
}

TEST_F(CascadeTest, WhereAllEscalateNothingIsCopied) {
  Make({Int("row_status", 1)});
  const std::vector<Tensor> inputs = Inputs({true, true, true});
  std::vector<Tensor> answer;
  const Outputs outputs = Run(inputs, [&](FakeTransport::Call& call) {
    answer = FullAnswer(call.tensors[0]);
    call.Reply({}, answer);
  });
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_EQ(transport_.calls[0].tensors[0].bytes().data(), inputs[3].bytes().data());
  EXPECT_EQ((*outputs)[0].bytes().data(), answer[0].bytes().data());
  EXPECT_EQ((*outputs)[1].bytes().data(), answer[1].bytes().data());
  EXPECT_THAT(Status(outputs), ElementsAre(1, 1, 1));
}

TEST_F(CascadeTest, AnEmptyBatchHasAnEmptyAnswer) {
  Make({Int("row_status", 1)});
  const Outputs outputs = Run(Inputs({}), Answer);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT(transport_.calls, IsEmpty());
  EXPECT_THAT((*outputs)[0].shape(), ElementsAre(0, 2));
  EXPECT_THAT((*outputs)[1].shape(), ElementsAre(0));
  EXPECT_THAT((*outputs)[2].shape(), ElementsAre(0));
}

TEST_F(CascadeTest, SharedInputsTravelWhole) {
  MakeOf(CascadeSpecOf({{"y", DType::kFloat, "N"}}, {"table", "x", "scale"},
                       {Strings("shared_inputs", {"scale", "table"})}, true));
  const Tensor table = Tensor::Of<float>({2, 2}, {1, 2, 3, 4});
  const Tensor scale = Tensor::Of<float>({}, {5});
  const Outputs outputs = Run({Tensor::Of<bool>({3}, {false, true, false}), Tensor::Of<float>({3}, {0, 1, 2}), table,
                               Tensor::Of<int64_t>({3}, {7, 8, 9}), scale},
                              [](FakeTransport::Call& call) { call.Reply({}, {Tensor::Of<float>({1}, {50})}); });
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  const std::vector<Tensor>& sent = transport_.calls[0].tensors;
  ASSERT_THAT(sent, SizeIs(3));
  EXPECT_EQ(sent[0].bytes().data(), table.bytes().data());
  EXPECT_THAT(sent[0].shape(), ElementsAre(2, 2));
  EXPECT_THAT(sent[1].data<int64_t>(), ElementsAre(8));
  EXPECT_THAT(sent[2].shape(), IsEmpty());
  EXPECT_THAT((*outputs)[0].data<float>(), ElementsAre(0, 50, 2));
}

TEST_F(CascadeTest, ARowOfTenMegabytesIsSentInPlace) {
  MakeOf(CascadeSpecOf({{"y", DType::kFloat, "N,W"}}, {"x"}, {}, true));
  constexpr int64_t kWide = 10 << 18;
  const Tensor x = Tensor::Allocate(DType::kFloat, {3, kWide});
  Tensor cheap = Tensor::Allocate(DType::kFloat, {3, kWide});
  std::fill_n(reinterpret_cast<float*>(cheap.mutable_bytes()), 3 * kWide, 1.0f);
  Tensor full = Tensor::Allocate(DType::kFloat, {1, kWide});
  std::fill_n(reinterpret_cast<float*>(full.mutable_bytes()), kWide, 2.0f);
  const Outputs outputs = Run({Tensor::Of<bool>({3}, {false, true, false}), cheap, x},
                              [&](FakeTransport::Call& call) { call.Reply({}, {full}); });
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_EQ(transport_.calls[0].tensors[0].bytes().data(), x.bytes().data() + kWide * 4);
  const absl::Span<const float> y = (*outputs)[0].data<float>();
  EXPECT_EQ(y[kWide - 1], 1.0f);
  EXPECT_EQ(y[kWide], 2.0f);
  EXPECT_EQ(y[2 * kWide - 1], 2.0f);
  EXPECT_EQ(y[2 * kWide], 1.0f);
}

TEST_F(CascadeTest, RowsWhoseCallFailedAreMarked) {
  Make({Int("row_status", 1)});
  const Outputs outputs = Run(Inputs({false, true, false, true}), Fails(absl::StatusCode::kUnavailable));
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  const absl::Span<const float> score = (*outputs)[0].data<float>();
  for (const size_t row : {1, 3}) EXPECT_TRUE(std::isnan(score[2 * row]) && std::isnan(score[2 * row + 1])) << row;
  EXPECT_EQ(score[4], 2) << "other rows are as they were";
  EXPECT_THAT(TextsOf((*outputs)[1]), ElementsAre("cheap", "", "cheap", ""));
  EXPECT_THAT(Status(outputs), ElementsAre(0, 2, 0, 2));
  EXPECT_EQ(context_->row_notes.Joined(), "1,3 full=mark UNAVAILABLE: portal to 'full' at x://a: went wrong");
  EXPECT_EQ(metrics_.Value("portico_cascade_rows_failed_total"), 2);
}

TEST_F(CascadeTest, RowsWhoseCallFailedMayKeepTheCheapAnswer) {
  Make({String("on_row_error", "cheap"), Int("row_status", 1)});
  const Outputs outputs = Run(Inputs({true, false, true}), Fails(absl::StatusCode::kDeadlineExceeded));
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT((*outputs)[0].data<float>(), ElementsAre(0, 0, 1, -1, 2, -2));
  EXPECT_THAT(TextsOf((*outputs)[1]), ElementsAre("cheap", "cheap", "cheap"));
  EXPECT_THAT(Status(outputs), ElementsAre(2, 0, 2));
  EXPECT_THAT(context_->row_notes.Joined(), HasSubstr("0,2 full=cheap DEADLINE_EXCEEDED: "));
}

TEST_F(CascadeTest, RowsWhoseCallFailedMayFailTheRequest) {
  Make({String("on_row_error", "fail")});
  EXPECT_TRUE(Run(Inputs({false, false}), Answer).ok());
  const Outputs outputs = Run(Inputs({true, false}), Fails(absl::StatusCode::kUnavailable));
  EXPECT_EQ(outputs.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(outputs.status().message()), HasSubstr("portal to 'full' at x://a"));
  EXPECT_EQ(metrics_.Value("portico_cascade_rows_failed_total"), 1);
}

TEST_F(CascadeTest, WhoHasGoneOrWaitsNoMoreGetsNoMarks) {
  Make({String("on_row_error", "cheap")});
  EXPECT_EQ(Run(Inputs({true}), Fails(absl::StatusCode::kCancelled)).status().code(), absl::StatusCode::kCancelled);
  const auto late = [&](FakeTransport::Call& call) {
    EXPECT_EQ(call.deadline.at(), clock_.now + absl::Seconds(10));
    clock_.now += absl::Seconds(10);
    call.Fail(absl::DeadlineExceededError("late"));
  };
  EXPECT_EQ(Run(Inputs({true}), late).status().code(), absl::StatusCode::kDeadlineExceeded);
  const auto leave = [&](FakeTransport::Call&) { context_->Cancel(); };
  EXPECT_EQ(Run(Inputs({true}), leave).status().code(), absl::StatusCode::kCancelled);
  EXPECT_THAT(transport_.cancelled, SizeIs(1)) << "the call is taken back";
  EXPECT_TRUE(context_->row_notes.empty());
}

TEST_F(CascadeTest, ThePolicysFallbackComesFirst) {
  OnErrorPolicy defaults;
  defaults.kind = OnErrorPolicy::Kind::kDefaults;
  defaults.defaults = {{"score", "0.5"}, {"label", "unknown"}};
  Make({Int("row_status", 1)}, defaults);
  const Outputs outputs = Run(Inputs({false, true, true}), Fails(absl::StatusCode::kUnavailable));
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT((*outputs)[0].data<float>(), ElementsAre(0, 0, 0.5, 0.5, 0.5, 0.5));
  EXPECT_THAT(TextsOf((*outputs)[1]), ElementsAre("cheap", "unknown", "unknown"));
  EXPECT_THAT(Status(outputs), ElementsAre(0, 2, 2));
  EXPECT_EQ(context_->fallbacks.Joined(), "full=defaults");
  EXPECT_THAT(context_->row_notes.Joined(), HasSubstr("1-2 full=defaults UNAVAILABLE"));
  EXPECT_EQ(metrics_.Value("portico_portal_fallbacks_total"), 1);
}

TEST_F(CascadeTest, AFallbackHasTheRowsThatEscalatedThoughASharedInputComesFirst) {
  OnErrorPolicy defaults;
  defaults.kind = OnErrorPolicy::Kind::kDefaults;
  defaults.defaults = {{"y", "7"}};
  MakeOf(CascadeSpecOf({{"y", DType::kInt32, "N"}}, {"table", "x"}, {Strings("shared_inputs", {"table"})}, true),
         defaults);
  const Outputs outputs = Run({Tensor::Of<bool>({3}, {false, true, true}), Tensor::Of<int32_t>({3}, {0, 1, 2}),
                               Tensor::Of<float>({5}, {1, 2, 3, 4, 5}), Tensor::Of<int64_t>({3}, {7, 8, 9})},
                              Fails(absl::StatusCode::kUnavailable));
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT((*outputs)[0].data<int32_t>(), ElementsAre(0, 7, 7));
}

TEST_F(CascadeTest, TheLastAnswerToTheSameRowsStandsInWhereverTheyAre) {
  OnErrorPolicy last_known;
  last_known.kind = OnErrorPolicy::Kind::kLastKnown;
  Make({Int("row_status", 1)}, last_known);
  ASSERT_TRUE(Run(Inputs({false, true}), Answer).ok());
  // Row 1 of two is row 1 of three: the full model sees the same.
  const Outputs known = Run(Inputs({false, true, false}), Fails(absl::StatusCode::kUnavailable));
  ASSERT_TRUE(known.ok()) << known.status();
  EXPECT_THAT((*known)[0].data<float>(), ElementsAre(0, 0, 11, 12, 2, -2));
  EXPECT_THAT(Status(known), ElementsAre(0, 2, 0));
  const Outputs unknown = Run(Inputs({true, false}), Fails(absl::StatusCode::kUnavailable));
  ASSERT_TRUE(unknown.ok()) << unknown.status();
  EXPECT_TRUE(std::isnan((*unknown)[0].data<float>()[0])) << "without a fallback the portal's own rule holds";
}

TEST_F(CascadeTest, AnAnswerThatDoesNotFitIsNone) {
  Make({Int("row_status", 1)});
  const struct {
    std::vector<Tensor> answer;
    const char* want;
  } cases[] = {
      {{}, "got 0 outputs, want 2"},
      {{Tensor::Of<float>({1, 2}, {1, 2}), Tensor::OfStrings({1}, std::vector<std::string>{"a"})},
       "output 'score': got float32[1,2], want float32[2,2]: a row for each"},
      {{Tensor::Allocate(DType::kFloat, {3, 2}), Tensor::OfStrings({3}, std::vector<std::string>(3))},
       "output 'score': got float32[3,2], want float32[2,2]"},
      {{Tensor::Allocate(DType::kFloat, {2, 3}), Tensor::OfStrings({2}, std::vector<std::string>(2))},
       "got float32[2,3], want float32[N,2]"},
      {{Tensor::Allocate(DType::kDouble, {2, 2}), Tensor::OfStrings({2}, std::vector<std::string>(2))},
       "got float64[2,2], want float32[N,2]"},
  };
  for (const auto& test : cases) {
    const Outputs outputs =
        Run(Inputs({true, false, true}), [&](FakeTransport::Call& call) { call.Reply({}, test.answer); });
    ASSERT_TRUE(outputs.ok()) << outputs.status();
    EXPECT_THAT(Status(outputs), ElementsAre(2, 0, 2));
    ASSERT_THAT(context_->row_notes.Notes(), SizeIs(1));
    EXPECT_EQ(context_->row_notes.Notes()[0].why.code(), absl::StatusCode::kInternal);
    EXPECT_THAT(std::string(context_->row_notes.Notes()[0].why.message()), HasSubstr(test.want));
  }
}

TEST_F(CascadeTest, AnAnswerOfOtherInnerExtentsThanTheCheapOneIsNone) {
  MakeOf(CascadeSpecOf({{"y", DType::kFloat, "N,W"}}, {"x"}, {}, true));
  const Outputs outputs = Run(
      {Tensor::Of<bool>({2}, {true, false}), Tensor::Allocate(DType::kFloat, {2, 4}), Tensor::Of<float>({2}, {1, 2})},
      [](FakeTransport::Call& call) {
        call.Reply({}, {Tensor::Of<float>({1, 1}, {1})});
      });
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT(std::string(context_->row_notes.Notes()[0].why.message()),
              HasSubstr("got float32[1,1], want float32[1,4]"));
}

TEST_F(CascadeTest, WhatStoodInFurtherDownIsSaidOfTheRequestsRows) {
  Make({Int("row_status", 1)});
  const Outputs outputs = Run(Inputs({false, true, false, true, true}), AnswersWithNote("cheap", {1, 2}));
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT((*outputs)[0].data<float>(), ElementsAre(0, 0, 11, 12, 2, -2, 31, 32, 41, 42));
  EXPECT_THAT(Status(outputs), ElementsAre(0, 1, 0, 1, 1)) << "the full model has answered";
  EXPECT_EQ(context_->row_notes.Joined(), "3-4 deep=cheap UNAVAILABLE: deep is away");
}

TEST_F(CascadeTest, RowsThatTheFullModelMarkedAreNotAnswered) {
  Make({Int("row_status", 1)});
  const Outputs marked = Run(Inputs({true, true, false, true}), AnswersWithNote("mark", {1, 2, 7}));
  ASSERT_TRUE(marked.ok()) << marked.status();
  EXPECT_EQ((*marked)[0].data<float>()[0], 1);
  for (const size_t row : {1, 3}) EXPECT_TRUE(std::isnan((*marked)[0].data<float>()[2 * row])) << row;
  EXPECT_THAT(TextsOf((*marked)[1]), ElementsAre("full", "", "cheap", ""));
  EXPECT_THAT(Status(marked), ElementsAre(1, 2, 0, 2));
  EXPECT_EQ(context_->row_notes.Joined(), "1,3 full=mark UNAVAILABLE: deep is away");
  EXPECT_EQ(metrics_.Value("portico_cascade_rows_failed_total"), 2);

  Make({String("on_row_error", "cheap"), Int("row_status", 1)});
  const Outputs kept = Run(Inputs({true, true, false, true}), AnswersWithNote("mark", {0}));
  ASSERT_TRUE(kept.ok()) << kept.status();
  EXPECT_THAT((*kept)[0].data<float>(), ElementsAre(0, 0, 11, 12, 2, -2, 31, 32));
  EXPECT_THAT(Status(kept), ElementsAre(2, 1, 0, 1));
  EXPECT_EQ(context_->row_notes.Joined(), "0 full=cheap UNAVAILABLE: deep is away");

  Make({String("on_row_error", "fail")});
  const Outputs failed = Run(Inputs({false, true, false, true}), AnswersWithNote("mark", {1}));
  EXPECT_EQ(failed.status(), absl::UnavailableError("portal 'cascade' to 'full': row 3: deep is away"));
}

TEST_F(CascadeTest, WhatStoodInFurtherDownIsNotRemembered) {
  OnErrorPolicy last_known;
  last_known.kind = OnErrorPolicy::Kind::kLastKnown;
  Make({}, last_known);
  ASSERT_TRUE(Run(Inputs({true}), AnswersWithNote("cheap", {0})).ok());
  const Outputs outputs = Run(Inputs({true}), Fails(absl::StatusCode::kUnavailable));
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_TRUE(std::isnan((*outputs)[0].data<float>()[0]));
}

TEST_F(CascadeTest, RowStatusThatCannotBeReadIsNoAnswer) {
  Make();
  const Outputs outputs = Run(Inputs({true}), [](FakeTransport::Call& call) {
    PeerHeader header;
    header.row_status.push_back({0, 14, "lost", "\xff", "deep", "cheap"});
    call.Reply(header, FullAnswer(call.tensors[0]));
  });
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT(context_->row_notes.Joined(), HasSubstr("0 full=mark INTERNAL"));
}

TEST_F(CascadeTest, InputsThatDoNotFitAreRefused) {
  Make();
  const struct {
    size_t input;
    Tensor tensor;
    const char* want;
  } cases[] = {
      {0, Tensor::Of<float>({2}, {0, 1}), "input 'escalate': got float32[2], want bool[N]"},
      {0, Tensor::Allocate(DType::kBool, {2, 1}), "input 'escalate': got bool[2,1], want bool[N]"},
      {0, Tensor::Of<bool>({}, {true}), "input 'escalate': got bool[], want bool[N]"},
      {0, Tensor::Of<bool>({3}, {true, true, true}), "cheap answer 'score': got float32[2,2], want 3 rows"},
      {1, Tensor::Allocate(DType::kFloat, {2, 3}), "cheap answer 'score': got float32[2,3], want float32[N,2]"},
      {1, Tensor::Allocate(DType::kInt32, {2, 2}), "cheap answer 'score': got int32[2,2], want float32[N,2]"},
      {2, Tensor::OfStrings({1}, std::vector<std::string>{"a"}), "cheap answer 'label': got string[1], want 2 rows"},
      {3, Tensor::Allocate(DType::kFloat, {3, 1}), "input 'x': got float32[3,1], want 2 rows, as 'escalate' has"},
      {3, Tensor::Allocate(DType::kFloat, {}), "input 'x': got float32[], want 2 rows"},
  };
  for (const bool escalates : {false, true}) {
    for (const auto& test : cases) {
      std::vector<Tensor> inputs = Inputs({escalates, escalates});
      inputs[test.input] = test.tensor;
      const Outputs outputs = Run(inputs, Answer);
      EXPECT_EQ(outputs.status().code(), absl::StatusCode::kInvalidArgument) << test.want;
      EXPECT_THAT(std::string(outputs.status().message()),
                  AllOf(HasSubstr("portal 'cascade' to 'full': "), HasSubstr(test.want)));
    }
  }
  EXPECT_THAT(transport_.calls, IsEmpty());
  EXPECT_FALSE(Run({}, Answer).ok());
}

TEST_F(CascadeTest, HealthAndTargetAreTheFullModels) {
  Make();
  EXPECT_THAT(portal_->Target(), HasSubstr("full"));
  EXPECT_EQ(portal_->Health().code(), absl::StatusCode::kUnavailable);
  transport_.Connected("x://a");
  EXPECT_TRUE(portal_->Health().ok());
}

TEST_F(CascadeTest, DefaultsThatDoNotFitAreRefusedWhenThePortalIsMade) {
  Router::Options options;
  options.policies["full"].on_error.kind = OnErrorPolicy::Kind::kDefaults;
  options.policies["full"].on_error.defaults = {{"other", "1"}};
  router_ = *Router::Create(std::move(options), transport_, resolver_, clock_, metrics_);
  const auto portal = NewPortal(CascadeSpecOf({{"y", DType::kFloat, "N"}}, {"x"}), *router_);
  EXPECT_EQ(portal.status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace portico
