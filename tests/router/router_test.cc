#include "tests/router/router_fixture.h"

#include <set>

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(RouterTest, UnknownPolicyIsRefusedWithItsTarget) {
  Router::Options options;
  options.policies["hub/enc"].balance = "roulette";
  const StaticResolver resolver{std::map<std::string, std::vector<std::string>>()};
  const auto router = Router::Create(options, transport_, resolver, clock_, MetricRegistry::Null());
  EXPECT_EQ(router.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(router.status().message(), AllOf(HasSubstr("hub/enc"), HasSubstr("roulette")));
}

TEST_F(RouterTest, NothingIsContactedBeforeTheFirstCall) {
  Make({"x://a"});
  EXPECT_TRUE(transport_.connects.empty());
  router_->Warm(target_);
  EXPECT_EQ(transport_.connects["x://a"], 1);
}

TEST_F(RouterTest, TargetsShareTheChannelOfAnEndpoint) {
  Make({"x://a"});
  Call(target_);
  RouteTarget other = target_;
  other.servable.name = "hub/other";
  Call(other);
  other.servable.digest = DigestOf('1');
  Call(other);
  EXPECT_EQ(transport_.connects["x://a"], 1);
  EXPECT_EQ(transport_.calls.size(), 3u);
}

TEST_F(RouterTest, WhatTravelsWithARequestIsInTheHeader) {
  Make({"x://a"});
  target_.servable.digest = DigestOf('1');
  target_.servable.version = 4;
  target_.input_names = {"left", "right"};
  auto context = MakeRef<RequestContext>();
  context->deadline = Deadline::In(absl::Seconds(3), clock_);
  context->tenant = "acme";
  context->product = "search";
  context->priority = -2;
  context->revision = 17;
  context->hop = 3;
  context->attempt = 1;
  context->trace = {.trace_id_high = 1, .trace_id_low = 2, .parent_span_id = 3, .sampled = false};
  Call(target_, context, {Tensor::Of<float>({1}, {1}), Tensor::Of<float>({1}, {2})});
  ASSERT_EQ(transport_.calls.size(), 1u);
  const FakeTransport::Call& call = transport_.calls[0];
  EXPECT_EQ(call.servable, "hub/enc");
  EXPECT_EQ(call.digest, DigestOf('1'));
  EXPECT_EQ(call.header.version, 4);
  EXPECT_EQ(call.signature, "serving_default");
  EXPECT_EQ(call.tenant, "acme");
  EXPECT_EQ(call.product, "search");
  EXPECT_EQ(call.header.priority, -2);
  EXPECT_EQ(call.header.revision, 17u);
  EXPECT_EQ(call.header.hop, 4u);
  EXPECT_EQ(call.header.attempt, 1u);
  EXPECT_EQ(call.header.trace_id_high, 1u);
  EXPECT_EQ(call.header.trace_id_low, 2u);
  EXPECT_EQ(call.header.parent_span_id, 3u);
  EXPECT_THAT(call.names, ElementsAre("left", "right"));
  EXPECT_EQ(call.tensors[1].data<float>()[0], 2);
}

TEST_F(RouterTest, CopiesAreNotTakenElsewhereAndSayNothingOfReplicas) {
  Router::Options options;
  options.default_policy.eject_after = 1;
  Make({"x://a", "x://b"}, std::move(options));
  router_->Warm(target_);
  for (const char* endpoint : {"x://a", "x://b"}) transport_.Connected(endpoint);
  for (int i = 0; i < 20; ++i) {
    auto context = MakeRef<RequestContext>();
    context->shadow = true;
    context->draw = 6;
    const auto result = Call(target_, context);
    ASSERT_EQ(transport_.calls.size(), static_cast<size_t>(i) + 1);
    EXPECT_TRUE(transport_.calls.back().header.shadow);
    EXPECT_EQ(transport_.calls.back().header.draw, 6u);
    transport_.calls.back().Fail(absl::UnavailableError("gone"));
    EXPECT_TRUE(absl::IsUnavailable((*result)->status()));
  }
  EXPECT_EQ(transport_.calls.size(), 20u) << "no other replica was asked";
  for (const ReplicaStatus& replica : router_->Replicas()) EXPECT_EQ(replica.ejections, 0u);
}

TEST_F(RouterTest, ClientsKeyDecidesWhichReplicaWhereCallsAreHashed) {
  Router::Options options;
  options.default_policy.balance = "consistent_hash";
  Make({"x://a", "x://b"}, std::move(options));
  router_->Warm(target_);
  for (const char* endpoint : {"x://a", "x://b"}) transport_.Connected(endpoint);
  std::set<std::string> of_keys;
  for (uint64_t key = 1; key <= 20; ++key) {
    std::set<std::string> endpoints;
    for (float content = 0; content < 5; ++content) {
      auto context = MakeRef<RequestContext>();
      context->key = key;
      Call(target_, context, {Tensor::Of<float>({1}, {content})});
      EXPECT_EQ(transport_.calls.back().header.key, key);
      endpoints.insert(transport_.calls.back().endpoint);
      transport_.calls.back().Reply({});
    }
    EXPECT_EQ(endpoints.size(), 1u) << "key " << key;
    of_keys.merge(endpoints);
  }
  EXPECT_EQ(of_keys.size(), 2u);
}

TEST_F(RouterTest, SoonerOfRequestAndPolicyIsTheDeadline) {
  Router::Options options;
  options.policies["hub/enc"].timeout = absl::Seconds(2);
  Make({"x://a"}, options);
  auto context = MakeRef<RequestContext>();
  context->deadline = Deadline::In(absl::Seconds(5), clock_);
  clock_.now += absl::Seconds(4);  // One second is left, less than the policy's two.
  Call(target_, context);
  Call(target_);
  RouteTarget other = target_;
  other.servable.name = "hub/other";
  Call(other);
  EXPECT_EQ(transport_.calls[0].deadline.Remaining(clock_), absl::Seconds(1));
  EXPECT_EQ(transport_.calls[1].deadline.Remaining(clock_), absl::Seconds(2));
  EXPECT_EQ(transport_.calls[2].deadline.Remaining(clock_), absl::Seconds(60)) << "no call is without a deadline";
}

TEST_F(RouterTest, ExpiredAndCancelledRequestsAreNotSent) {
  Make({"x://a"});
  auto late = MakeRef<RequestContext>();
  late->deadline = Deadline::At(clock_.now);
  EXPECT_EQ(StatusOfCall(target_, late).code(), absl::StatusCode::kDeadlineExceeded);
  auto gone = MakeRef<RequestContext>();
  gone->cancelled = true;
  EXPECT_EQ(StatusOfCall(target_, gone).code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(transport_.calls.empty());
}

TEST_F(RouterTest, HopBeyondTheLimitIsInternal) {
  Make({"x://a"});
  auto context = MakeRef<RequestContext>();
  context->hop = RequestContext::kMaxHops;
  EXPECT_EQ(StatusOfCall(target_, context).code(), absl::StatusCode::kInternal);
  context->hop = RequestContext::kMaxHops - 1;
  Call(target_, context);
  EXPECT_EQ(transport_.calls.size(), 1u);
}

TEST_F(RouterTest, InputNamesThatDoNotFitTheTensorsAreInternal) {
  Make({"x://a"});
  target_.input_names = {"left", "right"};
  EXPECT_EQ(StatusOfCall(target_).code(), absl::StatusCode::kInternal);
}

TEST_F(RouterTest, TargetThatNobodyServesIsUnavailable) {
  Make({"x://a"});
  target_.servable.name = "hub/none";
  const absl::Status status = StatusOfCall(target_);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(status.message(), AllOf(HasSubstr("hub/none"), HasSubstr("serve")));
}

TEST_F(RouterTest, EndpointThatNobodyCanReadIsNamed) {
  Make({"garbage"});
  const absl::Status status = StatusOfCall(target_);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(status.message(), HasSubstr("garbage"));
}

TEST_F(RouterTest, ConnectedReplicaIsPreferredToOneThatNeverWas) {
  Make({"x://a", "x://b", "x://c"});
  router_->Warm(target_);
  transport_.Connected("x://b");
  for (int i = 0; i < 20; ++i) Call(target_);
  for (const auto& call : transport_.calls) EXPECT_EQ(call.endpoint, "x://b");
}

TEST_F(RouterTest, FirstCallGoesToAReplicaThatIsStillConnecting) {
  Make({"x://a"});
  Call(target_);
  EXPECT_EQ(transport_.calls.size(), 1u);
  EXPECT_EQ(router_->Health(target_).code(), absl::StatusCode::kUnavailable) << "usable, but not known to be there";
}

TEST_F(RouterTest, ReplicaThatTheTransportGaveUpOnIsNotCalled) {
  Make({"x://a", "x://b"});
  router_->Warm(target_);
  transport_.Lost("x://a");  // Never connected; 'b' is still being connected to.
  for (int i = 0; i < 20; ++i) Call(target_);
  for (const auto& call : transport_.calls) EXPECT_EQ(call.endpoint, "x://b");
  transport_.Lost("x://b");
  const absl::Status status = StatusOfCall(target_);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(status.message(), AllOf(HasSubstr("x://a (no connection)"), HasSubstr("x://b (no connection)")));
}

TEST_F(RouterTest, CallsGoToTheOtherReplicaAfterALossAndBackAfterItsReturn) {
  Make({"x://a", "x://b"});
  router_->Warm(target_);
  transport_.Connected("x://a");
  transport_.Connected("x://b");
  transport_.Lost("x://a");
  for (int i = 0; i < 20; ++i) Call(target_);
  for (const auto& call : transport_.calls) EXPECT_EQ(call.endpoint, "x://b");
  transport_.Connected("x://a");
  transport_.Lost("x://b");
  Call(target_);
  EXPECT_EQ(transport_.calls.back().endpoint, "x://a");
}

TEST_F(RouterTest, WithoutAnyReplicaTheMessageNamesEndpointsAndTheirState) {
  Make({"x://a", "x://b"});
  target_.servable.digest = DigestOf('1');
  router_->Warm(target_);
  transport_.Connected("x://a");
  transport_.Connected("x://b", {{"hub/enc", 3, DigestOf('2')}});
  transport_.Lost("x://a");
  const absl::Status status = StatusOfCall(target_);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(status.message(), AllOf(HasSubstr("x://a (lost"), HasSubstr("x://b"), HasSubstr("node-of-x://b"),
                                      HasSubstr(DigestOf('2').Short()), HasSubstr(DigestOf('1').Short())));
  EXPECT_TRUE(transport_.calls.empty());
  EXPECT_EQ(router_->Health(target_), status);
}

TEST_F(RouterTest, OnlyReplicasThatHoldTheDigestAreCalled) {
  Make({"x://a", "x://b", "x://c"});
  target_.servable.digest = DigestOf('1');
  router_->Warm(target_);
  transport_.Connected("x://a", {{"hub/enc", 1, DigestOf('0')}});
  transport_.Connected("x://b", {{"hub/enc", 1, DigestOf('0')}, {"hub/enc", 2, DigestOf('1')}});
  transport_.Connected("x://c", {{"hub/else", 1, DigestOf('1')}});
  EXPECT_TRUE(router_->Health(target_).ok());
  for (int i = 0; i < 20; ++i) Call(target_);
  for (const auto& call : transport_.calls) EXPECT_EQ(call.endpoint, "x://b");
}

TEST_F(RouterTest, ReplicaThatHasNotSaidWhatItHoldsIsTried) {
  Make({"x://a"});
  target_.servable.digest = DigestOf('1');
  router_->Warm(target_);
  transport_.Connected("x://a", {});
  Call(target_);
  EXPECT_EQ(transport_.calls.size(), 1u);
}

TEST_F(RouterTest, ReplicaThatHoldsNothingYetIsLeftAlone) {
  Make({"x://a", "x://b"});
  router_->Warm(target_);
  transport_.Connected("x://a", {}, true);
  transport_.Lost("x://b");
  EXPECT_THAT(StatusOfCall(target_).message(), HasSubstr("x://a (node 'node-of-x://a' connected, serves nothing yet)"));
  transport_.Connected("x://b", {{"hub/enc", 1, DigestOf('1')}}, true);
  for (int i = 0; i < 20; ++i) Call(target_);
  for (const auto& call : transport_.calls) EXPECT_EQ(call.endpoint, "x://b");
  transport_.calls.clear();
  transport_.Lost("x://b");
  transport_.Connected("x://a", {{"hub/enc", 1, DigestOf('1')}}, true);
  Call(target_);
  EXPECT_EQ(transport_.calls.back().endpoint, "x://a");
}

TEST_F(RouterTest, ReplicaIsTakenInAsSoonAsItAnnouncesTheDigest) {
  Make({"x://a"});
  target_.servable.digest = DigestOf('1');
  router_->Warm(target_);
  transport_.Connected("x://a", {{"hub/enc", 1, DigestOf('0')}});
  EXPECT_FALSE(router_->Health(target_).ok());
  transport_.Connected("x://a", {{"hub/enc", 1, DigestOf('0')}, {"hub/enc", 2, DigestOf('1')}});
  EXPECT_TRUE(router_->Health(target_).ok());
  Call(target_);
  EXPECT_EQ(transport_.calls.size(), 1u);
}

TEST_F(RouterTest, CallsInFlightAreSpreadOverTheReplicas) {
  Make({"x://a", "x://b", "x://c", "x://d"});
  router_->Warm(target_);
  std::map<std::string, int> calls;
  for (const auto& [endpoint, count] : transport_.connects) transport_.Connected(endpoint);
  for (int i = 0; i < 400; ++i) Call(target_);  // None is answered.
  for (const auto& call : transport_.calls) ++calls[call.endpoint];
  for (const auto& [endpoint, count] : calls) EXPECT_NEAR(count, 100, 4) << endpoint;
}

TEST_F(RouterTest, SlowReplicaIsAvoidedWhenIdleAndTriedAgainLater) {
  Make({"x://slow", "x://fast"});
  router_->Warm(target_);
  transport_.Connected("x://slow");
  transport_.Connected("x://fast");
  const auto call = [&] {
    Call(target_);
    const std::string endpoint = transport_.calls.back().endpoint;
    clock_.now += endpoint == "x://slow" ? absl::Milliseconds(20) : absl::Milliseconds(10);
    transport_.calls.back().Reply();
    return endpoint;
  };
  call();
  call();  // Now both are known.
  for (int i = 0; i < 20; ++i) EXPECT_EQ(call(), "x://fast");
  int slow = 0;
  for (int i = 0; i < 6000; ++i) slow += call() == "x://slow";
  EXPECT_GT(slow, 0) << "what was learned long ago must fade";
  EXPECT_LT(slow, 60);
}

TEST_F(RouterTest, FastRefusalsDoNotAttractCalls) {
  Router::Options options;
  options.default_policy.retries = 0;
  Make({"x://bad", "x://good"}, options);
  router_->Warm(target_);
  transport_.Connected("x://bad");
  transport_.Connected("x://good");
  PeerHeader refusal;
  refusal.code = static_cast<uint32_t>(absl::StatusCode::kResourceExhausted);
  std::map<std::string, int> calls;
  for (int i = 0; i < 1000; ++i) {
    Call(target_);
    FakeTransport::Call& call = transport_.calls.back();
    ++calls[call.endpoint];
    clock_.now += call.endpoint == "x://bad" ? absl::Microseconds(100) : absl::Milliseconds(10);
    call.Reply(call.endpoint == "x://bad" ? refusal : PeerHeader());
  }
  EXPECT_GT(calls["x://good"], 950);
}

TEST_F(RouterTest, ErrorsOfInnerHopsAreMappedAndNameThePortal) {
  Make({"x://a"});
  const std::vector<std::pair<absl::StatusCode, absl::StatusCode>> table = {
      {absl::StatusCode::kUnavailable, absl::StatusCode::kUnavailable},
      {absl::StatusCode::kDeadlineExceeded, absl::StatusCode::kDeadlineExceeded},
      {absl::StatusCode::kResourceExhausted, absl::StatusCode::kResourceExhausted},
      {absl::StatusCode::kCancelled, absl::StatusCode::kCancelled},
      {absl::StatusCode::kInternal, absl::StatusCode::kInternal},
      {absl::StatusCode::kNotFound, absl::StatusCode::kInternal},
      {absl::StatusCode::kInvalidArgument, absl::StatusCode::kInternal},
      {absl::StatusCode::kFailedPrecondition, absl::StatusCode::kInternal},
      {absl::StatusCode::kUnimplemented, absl::StatusCode::kInternal},
      {absl::StatusCode::kPermissionDenied, absl::StatusCode::kInternal},
      {static_cast<absl::StatusCode>(99), absl::StatusCode::kInternal}};
  for (const auto& [inner, outer] : table) {
    for (const bool from_transport : {false, true}) {
      if (from_transport && static_cast<int>(inner) == 99) continue;
      const auto result = Call(target_);
      if (from_transport) {
        transport_.calls.back().Fail(absl::Status(inner, "the reason"));
      } else {
        PeerHeader reply;
        reply.code = static_cast<uint32_t>(inner);
        reply.message = "the reason";
        transport_.calls.back().Reply(reply);
      }
      ASSERT_TRUE(result->has_value());
      EXPECT_EQ((*result)->status().code(), outer);
      EXPECT_THAT((*result)->status().message(),
                  AllOf(HasSubstr("portal to 'hub/enc' at x://a: "), HasSubstr("the reason")));
    }
  }
}

TEST_F(RouterTest, PathOfHopsAccumulates) {
  Make({"x://a"});
  const auto result = Call(target_);
  PeerHeader reply;
  reply.code = static_cast<uint32_t>(absl::StatusCode::kUnavailable);
  reply.message = "portal to 'hub/inner' at x://z: lost the peer";
  transport_.calls.back().Reply(reply);
  EXPECT_EQ((*result)->status().message(),
            "portal to 'hub/enc' at x://a: portal to 'hub/inner' at x://z: lost the peer");
}

TEST_F(RouterTest, DestructionCancelsWhatIsOutAndRefusesWhatComesFromCompletions) {
  Make({"x://a", "x://b"});
  std::vector<absl::StatusCode> codes;
  for (int i = 0; i < 4; ++i) {
    router_->Call(target_, MakeRef<RequestContext>(), {}, [this, &codes](Result result) {
      codes.push_back(result.status().code());
      router_->Call(target_, MakeRef<RequestContext>(), {},
                    [&codes](Result again) { codes.push_back(again.status().code()); });
    });
  }
  delete router_.get();  // Not reset(): completions still use the pointer.
  (void)router_.release();
  EXPECT_EQ(codes.size(), 8u);
  for (const absl::StatusCode code : codes) EXPECT_EQ(code, absl::StatusCode::kCancelled);
}

TEST_F(RouterTest, OnceStoppedItRefusesCallsAndIsThereForTheRest) {
  Make({"x://a", "x://b"});
  std::vector<absl::StatusCode> codes;
  const auto note = [&codes](Result result) { codes.push_back(result.status().code()); };
  router_->Call(target_, MakeRef<RequestContext>(), {}, note);
  EXPECT_THAT(codes, IsEmpty());
  router_->Stop();
  EXPECT_THAT(codes, ElementsAre(absl::StatusCode::kCancelled));
  EXPECT_FALSE(router_->Call(target_, MakeRef<RequestContext>(), {}, note));
  EXPECT_THAT(codes, ElementsAre(absl::StatusCode::kCancelled, absl::StatusCode::kCancelled));
  // What work that runs out may ask for, of targets known and new: nothing is connected to.
  const size_t connects = transport_.connects.size();
  RouteTarget other = target_;
  other.servable.name = "other";
  router_->CountFallback(target_, "defaults");
  router_->CountFallback(other, "defaults");
  EXPECT_FALSE(router_->Health(other).ok());
  EXPECT_EQ(router_->tables().Find("clicks", 0).group, nullptr);
  EXPECT_EQ(router_->Replicas().size(), 2u);
  EXPECT_EQ(transport_.connects.size(), connects);
  router_->Stop();
}

TEST_F(RouterTest, CallThatTheTransportDropsIsAnsweredWithInternal) {
  Make({"x://a"});
  const auto result = Call(target_);
  transport_.calls.clear();
  ASSERT_TRUE(result->has_value());
  EXPECT_EQ((*result)->status().code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace portico
