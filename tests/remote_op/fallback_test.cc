// What a portal answers when its call has failed: on_error of the target's policy.

#include "remote_op/fallback.h"

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "remote_op/live_fallback.h"
#include "remote_op/portal.h"
#include "router/static_resolver.h"
#include "tests/remote_op/remote_spec.h"
#include "tests/router/fake_transport.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Outputs = absl::StatusOr<std::vector<Tensor>>;

OnErrorPolicy Defaults(std::map<std::string, std::string> values) {
  OnErrorPolicy policy;
  policy.kind = OnErrorPolicy::Kind::kDefaults;
  policy.defaults = std::move(values);
  return policy;
}

class FallbackTest : public ::testing::Test {
 protected:
  FallbackTest() : resolver_(std::map<std::string, std::vector<std::string>>{{"hub/enc", {"x://a"}}}) {}

  absl::Status Make(const OnErrorPolicy& on_error, std::vector<TensorSpec> outputs) {
    Router::Options options;
    options.policies["hub/enc"] = WithOnError(on_error);
    router_ = *Router::Create(std::move(options), transport_, resolver_, clock_, metrics_);
    auto portal = NewPortal(RemoteSpecOf({"x"}, std::move(outputs)), *router_);
    if (portal.ok()) portal_ = *std::move(portal);
    return portal.status();
  }
  static std::vector<TensorSpec> Scores() {
    return {SpecOf("score", DType::kFloat, {{-1, "N"}, {2, ""}}), SpecOf("label", DType::kString, {{-1, "N"}})};
  }
  static RoutePolicy WithOnError(const OnErrorPolicy& on_error) {
    RoutePolicy policy;
    policy.on_error = on_error;
    policy.timeout = absl::Milliseconds(50);
    return policy;
  }
  void SetOnError(const OnErrorPolicy& on_error) {
    EXPECT_TRUE(router_->SetPolicies({}, {{"hub/enc", WithOnError(on_error)}}).ok());
  }
  void MakeScores(const OnErrorPolicy& on_error) {
    const absl::Status status = Make(on_error, Scores());
    ASSERT_TRUE(status.ok()) << status;
  }
  /// One call for `rows` rows of `value`, ended by `end`.
  template <typename End>
  Outputs Run(int64_t rows, float value, End end, const Ref<RequestContext>& context = MakeRef<RequestContext>()) {
    std::optional<Outputs> outputs;
    portal_->Run(Ref<const RequestContext>(context.get()),
                 {Tensor::Of<float>({rows}, std::vector<float>(static_cast<size_t>(rows), value))},
                 [&](Outputs result) { outputs = std::move(result); });
    end(transport_.calls.back());
    EXPECT_TRUE(outputs.has_value());
    return *std::move(outputs);
  }
  static auto Fails(absl::StatusCode code) {
    return [code](FakeTransport::Call& call) { call.Fail(absl::Status(code, "went wrong")); };
  }
  static auto Answers(int64_t rows, float score, std::vector<absl::string_view> notes = {}) {
    return [=](FakeTransport::Call& call) {
      PeerHeader header;
      for (const absl::string_view note : notes) header.notes.push_back(note);
      call.Reply(header, {Tensor::Of<float>({rows, 2}, std::vector<float>(static_cast<size_t>(2 * rows), score)),
                          Tensor::OfStrings({rows}, std::vector<std::string>(static_cast<size_t>(rows), "cat"))});
    };
  }

  FakeClock clock_;
  FakeTransport transport_;
  CountedMetrics metrics_;
  const StaticResolver resolver_;
  std::unique_ptr<Router> router_;
  std::unique_ptr<Portal> portal_;
};

TEST_F(FallbackTest, DefaultsHaveTheRequestsRowsAndAreSaid) {
  MakeScores(Defaults({{"score", "0.25"}, {"label", "unknown"}}));
  auto context = MakeRef<RequestContext>();
  const Outputs outputs = Run(3, 1, Fails(absl::StatusCode::kUnavailable), context);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT((*outputs)[0].shape(), ElementsAre(3, 2));
  EXPECT_THAT((*outputs)[0].data<float>(), Each(0.25f));
  EXPECT_THAT((*outputs)[1].shape(), ElementsAre(3));
  EXPECT_EQ((*outputs)[1].StringAt(2), "unknown");
  EXPECT_THAT(context->fallbacks.Notes(), ElementsAre("hub/enc=defaults"));
  EXPECT_EQ(metrics_.Value("portico_portal_fallbacks_total"), 1);
}

TEST_F(FallbackTest, ZeroRowsAreAnsweredToo) {
  MakeScores(Defaults({{"score", "0.25"}, {"label", "unknown"}}));
  const Outputs outputs = Run(0, 1, Fails(absl::StatusCode::kUnavailable));
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT((*outputs)[0].shape(), ElementsAre(0, 2));
}

TEST_F(FallbackTest, OnlyWhatIsTheMeshsFaultFallsBack) {
  MakeScores(Defaults({{"score", "0"}, {"label", "?"}}));
  for (const absl::StatusCode code : {absl::StatusCode::kUnavailable, absl::StatusCode::kDeadlineExceeded,
                                      absl::StatusCode::kResourceExhausted, absl::StatusCode::kInternal}) {
    EXPECT_TRUE(Run(1, 1, Fails(code)).ok()) << absl::StatusCodeToString(code);
  }
  EXPECT_EQ(Run(1, 1, Fails(absl::StatusCode::kCancelled)).status().code(), absl::StatusCode::kCancelled);
}

TEST_F(FallbackTest, AnAnswerThatDoesNotFitFallsBack) {
  MakeScores(Defaults({{"score", "0"}, {"label", "?"}}));
  const Outputs outputs = Run(1, 1, [](FakeTransport::Call& call) { call.Reply(); });
  EXPECT_TRUE(outputs.ok()) << outputs.status();
}

TEST_F(FallbackTest, NobodyIsAnsweredWhoHasGoneOrWaitsNoMore) {
  MakeScores(Defaults({{"score", "0"}, {"label", "?"}}));
  auto late = MakeRef<RequestContext>();
  late->deadline = Deadline::In(absl::Milliseconds(10), clock_);
  const auto expire = [&](FakeTransport::Call& call) {
    clock_.now += absl::Milliseconds(10);
    call.Fail(absl::DeadlineExceededError("late"));
  };
  EXPECT_EQ(Run(1, 1, expire, late).status().code(), absl::StatusCode::kDeadlineExceeded);
  auto gone = MakeRef<RequestContext>();
  const auto leave = [&](FakeTransport::Call& call) {
    gone->cancelled = true;
    call.Fail(absl::UnavailableError("lost"));
  };
  EXPECT_EQ(Run(1, 1, leave, gone).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(metrics_.Value("portico_portal_fallbacks_total"), 0);
}

TEST_F(FallbackTest, ThePolicysTimeoutFallsBackWhereTheRequestHasTimeLeft) {
  MakeScores(Defaults({{"score", "0"}, {"label", "?"}}));
  auto patient = MakeRef<RequestContext>();
  patient->deadline = Deadline::In(absl::Seconds(1), clock_);
  const auto expire = [&](FakeTransport::Call& call) {
    EXPECT_EQ(call.deadline.at(), clock_.now + absl::Milliseconds(50));
    clock_.now += absl::Milliseconds(50);
    call.Fail(absl::DeadlineExceededError("late"));
  };
  EXPECT_TRUE(Run(1, 1, expire, patient).ok());
}

TEST_F(FallbackTest, EveryDTypeReadsItsValue) {
  const struct {
    DType dtype;
    const char* value;
    std::string bytes;
  } cases[] = {
      {DType::kFloat16, "1.5", std::string("\x00\x3e", 2)},
      {DType::kBfloat16, "1.5", std::string("\xc0\x3f", 2)},
      {DType::kDouble, "1", std::string("\0\0\0\0\0\0\xf0\x3f", 8)},
      {DType::kInt8, "-1", "\xff"},
      {DType::kUint8, "255", "\xff"},
      {DType::kInt16, "-2", std::string("\xfe\xff", 2)},
      {DType::kUint16, "258", std::string("\x02\x01", 2)},
      {DType::kInt32, "-1", "\xff\xff\xff\xff"},
      {DType::kUint32, "1", std::string("\1\0\0\0", 4)},
      {DType::kInt64, "-1", "\xff\xff\xff\xff\xff\xff\xff\xff"},
      {DType::kUint64, "18446744073709551615", "\xff\xff\xff\xff\xff\xff\xff\xff"},
      {DType::kBool, "true", "\x01"},
  };
  for (const auto& test : cases) {
    const absl::Status made = Make(Defaults({{"y", test.value}}), {SpecOf("y", test.dtype, {})});
    ASSERT_TRUE(made.ok()) << made;
    const Outputs outputs = Run(4, 1, Fails(absl::StatusCode::kUnavailable));
    ASSERT_TRUE(outputs.ok()) << outputs.status();
    EXPECT_THAT((*outputs)[0].shape(), IsEmpty());
    EXPECT_EQ((*outputs)[0].bytes(), test.bytes) << DTypeName(test.dtype);
  }
}

TEST_F(FallbackTest, DefaultsThatDoNotFitAreRefusedWhenThePortalIsMade) {
  const Dim rows{-1, "N"};
  const struct {
    std::map<std::string, std::string> values;
    TensorSpec output;
    const char* want;
  } cases[] = {
      {{{"x", "1"}}, SpecOf("y", DType::kFloat, {rows}), "output 'y': on_error: defaults: got no value"},
      {{{"y", "much"}}, SpecOf("y", DType::kFloat, {rows}), "got 'much', want a value of float32[N]"},
      {{{"y", "1.5"}}, SpecOf("y", DType::kInt64, {rows}), "got '1.5', want a value of int64[N]"},
      {{{"y", "256"}}, SpecOf("y", DType::kUint8, {rows}), "got '256', want a value of uint8[N]"},
      {{{"y", "-1"}}, SpecOf("y", DType::kUint32, {rows}), "got '-1'"},
      {{{"y", "1"}}, SpecOf("y", DType::kInvalid, {rows}), "got '1', want a value of any[N]"},
      {{{"y", "1"}}, SpecOf("y", DType::kFloat, {rows, {-1, "T"}}), "got float32[N,T], want a shape that is known"},
  };
  for (const auto& test : cases) {
    const absl::Status made = Make(Defaults(test.values), {test.output});
    EXPECT_EQ(made.code(), absl::StatusCode::kInvalidArgument) << test.want;
    EXPECT_THAT(std::string(made.message()), AllOf(HasSubstr("portal 'portal_0' to 'hub/enc'"), HasSubstr(test.want)));
  }
  EXPECT_FALSE(Make(Defaults({{"a", "1"}, {"b", "1"}}),
                    {SpecOf("a", DType::kFloat, {rows}), SpecOf("b", DType::kFloat, {{-1, "M"}})})
                   .ok())
      << "one of the two is not the request's rows";
}

TEST_F(FallbackTest, TheLastAnswerToTheSameInputsStandsIn) {
  OnErrorPolicy policy;
  policy.kind = OnErrorPolicy::Kind::kLastKnown;
  MakeScores(policy);
  EXPECT_FALSE(Run(2, 1, Fails(absl::StatusCode::kUnavailable)).ok()) << "nothing is known yet";
  ASSERT_TRUE(Run(2, 1, Answers(2, 0.5)).ok());
  ASSERT_TRUE(Run(2, 1, Answers(2, 0.75)).ok());
  auto context = MakeRef<RequestContext>();
  const Outputs outputs = Run(2, 1, Fails(absl::StatusCode::kUnavailable), context);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT((*outputs)[0].data<float>(), Each(0.75f));
  EXPECT_EQ((*outputs)[1].StringAt(1), "cat");
  EXPECT_EQ(context->fallbacks.Joined(), "hub/enc=last_known");
  EXPECT_FALSE(Run(2, 3, Fails(absl::StatusCode::kUnavailable)).ok()) << "other inputs";
  EXPECT_FALSE(Run(3, 1, Fails(absl::StatusCode::kUnavailable)).ok()) << "other rows";
}

TEST_F(FallbackTest, AChangedPolicyReachesAPortalThatIsThere) {
  MakeScores({});
  EXPECT_FALSE(Run(1, 1, Fails(absl::StatusCode::kUnavailable)).ok());
  SetOnError(Defaults({{"score", "0.25"}, {"label", "?"}}));
  Outputs outputs = Run(1, 1, Fails(absl::StatusCode::kUnavailable));
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT((*outputs)[0].data<float>(), Each(0.25f));
  OnErrorPolicy last_known;
  last_known.kind = OnErrorPolicy::Kind::kLastKnown;
  SetOnError(last_known);
  EXPECT_FALSE(Run(1, 1, Fails(absl::StatusCode::kUnavailable)).ok()) << "nothing is known yet";
  ASSERT_TRUE(Run(1, 1, Answers(1, 0.5)).ok());
  outputs = Run(1, 1, Fails(absl::StatusCode::kUnavailable));
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT((*outputs)[0].data<float>(), Each(0.5f));
  SetOnError(last_known);
  EXPECT_TRUE(Run(1, 1, Fails(absl::StatusCode::kUnavailable)).ok()) << "the same said again forgets nothing";
  SetOnError({});
  EXPECT_FALSE(Run(1, 1, Fails(absl::StatusCode::kUnavailable)).ok());
  SetOnError(last_known);
  EXPECT_FALSE(Run(1, 1, Fails(absl::StatusCode::kUnavailable)).ok()) << "what is out of use holds no memory";
}

TEST_F(FallbackTest, ACallEndsByThePolicyItBeganWith) {
  MakeScores(Defaults({{"score", "0.25"}, {"label", "?"}}));
  const auto change_and_fail = [&](FakeTransport::Call& call) {
    SetOnError({});
    call.Fail(absl::UnavailableError("went wrong"));
  };
  EXPECT_TRUE(Run(1, 1, change_and_fail).ok());
  EXPECT_FALSE(Run(1, 1, Fails(absl::StatusCode::kUnavailable)).ok());
}

TEST_F(FallbackTest, APolicyThatDoesNotFitLeavesAPortalWhatItHad) {
  MakeScores(Defaults({{"score", "0.25"}, {"label", "?"}}));
  Revision revision;
  revision.policies["hub/enc"].on_error = Defaults({{"other", "1"}});
  EXPECT_THAT(std::string(portal_->AcceptsPolicies(revision).message()), HasSubstr("output 'score': on_error"));
  SetOnError(Defaults({{"other", "1"}}));
  EXPECT_TRUE(Run(1, 1, Fails(absl::StatusCode::kUnavailable)).ok());
  revision.policies.clear();
  EXPECT_TRUE(portal_->AcceptsPolicies(revision).ok());
}

TEST_F(FallbackTest, WhatIsLoadedForTheNextRevisionMayFitItsPolicyAlone) {
  MakeScores(Defaults({{"score", "0.25"}, {"label", "?"}}));
  const std::vector<TensorSpec> renamed = {SpecOf("rank", DType::kFloat, {{-1, "N"}, {2, ""}}),
                                           SpecOf("label", DType::kString, {{-1, "N"}})};
  EXPECT_FALSE(NewPortal(RemoteSpecOf({"x"}, renamed), *router_).ok());
  const OnErrorPolicy next = Defaults({{"rank", "0.75"}, {"label", "?"}});
  router_->ExpectPolicies({}, {{"hub/enc", WithOnError(next)}});
  auto portal = NewPortal(RemoteSpecOf({"x"}, renamed), *router_);
  ASSERT_TRUE(portal.ok()) << portal.status();
  portal_ = *std::move(portal);
  EXPECT_FALSE(Run(1, 1, Fails(absl::StatusCode::kUnavailable)).ok()) << "it is not current yet";
  SetOnError(next);
  const Outputs outputs = Run(1, 1, Fails(absl::StatusCode::kUnavailable));
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT((*outputs)[0].data<float>(), Each(0.75f));
}

TEST_F(FallbackTest, APortalMayGoAfterTheRouterAndBeforeAPolicyChanges) {
  MakeScores({});
  router_ = nullptr;
  portal_ = nullptr;
  MakeScores({});
  portal_ = nullptr;
  SetOnError(Defaults({{"score", "0"}, {"label", "?"}}));
}

// What the thread sanitizer looks at.
TEST_F(FallbackTest, CallsGoOnWhilePoliciesChange) {
  MakeScores({});
  LiveFallback live(RemoteSpecOf({"x"}, Scores()), *router_);
  ASSERT_TRUE(live.Begin().ok());
  std::atomic<bool> over{false};
  std::vector<std::thread> callers;
  for (int i = 0; i < 3; ++i) {
    callers.emplace_back([&, i] {
      const Tensor input = Tensor::Of<float>({1}, {static_cast<float>(i)});
      const std::vector<std::string> labels = {"cat"};
      const std::vector<Tensor> outputs = {Tensor::Of<float>({1, 2}, {1, 2}), Tensor::OfStrings({1}, labels)};
      while (!over) {
        Fallback* const fallback = live.Get();
        if (fallback == nullptr) continue;
        const Fallback::Question question = fallback->Ask({input});
        fallback->Remember(question, outputs);
        const auto answer = fallback->Answer(question);
        EXPECT_TRUE(!answer.has_value() || answer->size() == 2);
      }
    });
  }
  OnErrorPolicy last_known;
  last_known.kind = OnErrorPolicy::Kind::kLastKnown;
  const OnErrorPolicy policies[] = {last_known, {}, Defaults({{"score", "1"}, {"label", "?"}})};
  for (int i = 0; i < 300; ++i) SetOnError(policies[i % 3]);
  over = true;
  for (std::thread& caller : callers) caller.join();
}

TEST_F(FallbackTest, WhatAFallbackAnsweredFurtherDownIsNotRemembered) {
  OnErrorPolicy policy;
  policy.kind = OnErrorPolicy::Kind::kLastKnown;
  MakeScores(policy);
  auto context = MakeRef<RequestContext>();
  ASSERT_TRUE(Run(1, 1, Answers(1, 0.5, {"deep=defaults"}), context).ok());
  EXPECT_EQ(context->fallbacks.Joined(), "deep=defaults") << "passed up";
  EXPECT_FALSE(Run(1, 1, Fails(absl::StatusCode::kUnavailable)).ok());
}

TEST_F(FallbackTest, WhatStoodInSomeRowsFurtherDownIsNotRemembered) {
  OnErrorPolicy policy;
  policy.kind = OnErrorPolicy::Kind::kLastKnown;
  MakeScores(policy);
  auto context = MakeRef<RequestContext>();
  const auto answers = [](FakeTransport::Call& call) {
    PeerHeader header;
    header.row_status.push_back({0, 14, "deep is away", {}, "deep", "cheap"});
    call.Reply(header, {Tensor::Of<float>({1, 2}, {1, 2}), Tensor::OfStrings({1}, std::vector<std::string>{"cat"})});
  };
  ASSERT_TRUE(Run(1, 1, answers, context).ok());
  EXPECT_EQ(context->row_notes.Joined(), "0 deep=cheap UNAVAILABLE: deep is away");
  EXPECT_FALSE(Run(1, 1, Fails(absl::StatusCode::kUnavailable)).ok());
}

TEST_F(FallbackTest, WhatIsTooOldDoesNotStandIn) {
  OnErrorPolicy policy;
  policy.kind = OnErrorPolicy::Kind::kLastKnown;
  policy.max_age = absl::Seconds(30);
  MakeScores(policy);
  ASSERT_TRUE(Run(1, 1, Answers(1, 0.5)).ok());
  clock_.now += absl::Seconds(30);
  EXPECT_TRUE(Run(1, 1, Fails(absl::StatusCode::kUnavailable)).ok());
  clock_.now += absl::Seconds(1);
  EXPECT_FALSE(Run(1, 1, Fails(absl::StatusCode::kUnavailable)).ok());
}

TEST_F(FallbackTest, WhatIsKnownIsBoundedInBytes) {
  OnErrorPolicy policy;
  policy.kind = OnErrorPolicy::Kind::kLastKnown;
  // Each answer: 256 beside 8 bytes of scores and 19 of labels.
  policy.max_bytes = 3 * 283;
  MakeScores(policy);
  for (const float value : {1.f, 2.f, 3.f}) ASSERT_TRUE(Run(1, value, Answers(1, value)).ok());
  ASSERT_TRUE(Run(1, 1, Fails(absl::StatusCode::kUnavailable)).ok()) << "asked for: not the next to leave";
  ASSERT_TRUE(Run(1, 4, Answers(1, 4)).ok());
  EXPECT_FALSE(Run(1, 2, Fails(absl::StatusCode::kUnavailable)).ok());
  for (const float value : {1.f, 3.f, 4.f}) {
    const Outputs outputs = Run(1, value, Fails(absl::StatusCode::kUnavailable));
    ASSERT_TRUE(outputs.ok()) << value;
    EXPECT_THAT((*outputs)[0].data<float>(), Each(value));
  }
  ASSERT_TRUE(Run(100, 5, Answers(100, 5)).ok());
  EXPECT_FALSE(Run(100, 5, Fails(absl::StatusCode::kUnavailable)).ok()) << "larger than all";
  EXPECT_TRUE(Run(1, 4, Fails(absl::StatusCode::kUnavailable)).ok());
}

}  // namespace
}  // namespace portico
