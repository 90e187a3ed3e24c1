// What a router tells of its calls: spans, metrics, health of replicas.

#include "tests/router/router_fixture.h"
#include "tests/testing/recording_registry.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

TEST_F(RouterTest, SpansOfTheInnerHopHangBelowThePortalsOwn) {
  Make({"x://a"});
  auto context = MakeRef<RequestContext>();
  context->trace = {.trace_id_high = 1, .trace_id_low = 2, .parent_span_id = 3, .sampled = true};
  context->trace_state = "vendor=1";
  Call(target_, context);
  EXPECT_EQ(transport_.calls.back().header.trace_state, "vendor=1");
  const uint64_t portal_id = transport_.calls.back().header.parent_span_id;
  EXPECT_NE(portal_id, 3u);
  clock_.now += absl::Milliseconds(5);
  PeerHeader reply;
  reply.spans.push_back({.span_id = 9,
                         .parent_span_id = portal_id,
                         .name = "segment",
                         .node = "hub/0",
                         .start_us = 1'000'000,
                         .duration_ns = 1500});
  transport_.calls.back().Reply(reply);
  const std::vector<Span> spans = context->spans.Take();
  ASSERT_EQ(spans.size(), 2u);
  EXPECT_EQ(spans[0].name, "portal hub/enc");
  EXPECT_EQ(spans[0].span_id, portal_id);
  EXPECT_EQ(spans[0].parent_span_id, 3u);
  EXPECT_EQ(spans[0].duration, absl::Milliseconds(5));
  EXPECT_EQ(spans[1].name, "segment");
  EXPECT_EQ(spans[1].node, "hub/0");
  EXPECT_EQ(spans[1].parent_span_id, portal_id);
  EXPECT_EQ(spans[1].start, spans[0].start + (absl::Milliseconds(5) - absl::Nanoseconds(1500)) / 2);
  EXPECT_EQ(spans[1].duration, absl::Nanoseconds(1500));
  ASSERT_NE(spans[0].Text("endpoint"), nullptr);
  EXPECT_EQ(*spans[0].Text("endpoint"), "x://a");
}

TEST_F(RouterTest, ReplicasTellWhatCallsKnowOfThem) {
  Make({"x://a"});
  Call(target_);
  ASSERT_EQ(router_->Replicas().size(), 1u);
  EXPECT_EQ(router_->Replicas()[0].standing, Standing::kUnknown);
  transport_.Connected("x://a");
  clock_.now += absl::Milliseconds(3);
  transport_.calls.back().Reply();
  Call(target_);
  PeerHeader full;
  full.code = static_cast<uint32_t>(absl::StatusCode::kResourceExhausted);
  transport_.calls.back().Reply(full);
  Call(target_);  // Stays out.
  const std::vector<ReplicaStatus> replicas = router_->Replicas();
  EXPECT_EQ(replicas[0].target, "hub/enc");
  EXPECT_EQ(replicas[0].endpoint, "x://a");
  EXPECT_EQ(replicas[0].standing, Standing::kHere);
  EXPECT_EQ(replicas[0].in_flight, 1);
  EXPECT_EQ(replicas[0].failures, 1u);
  EXPECT_EQ(replicas[0].answers.buckets[6], 1u) << "from 2 to 5 ms";
  EXPECT_EQ(replicas[0].answers.sum, absl::Milliseconds(3));
  EXPECT_EQ(replicas[0].ejected_for, absl::ZeroDuration());
  const std::string text = ReplicaMetricsText(replicas);
  const std::string labels = R"(target="hub/enc",digest="",endpoint="x://a")";
  EXPECT_THAT(text, HasSubstr("portico_replica_latency_seconds_bucket{" + labels + ",le=\"0.002\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("portico_replica_latency_seconds_bucket{" + labels + ",le=\"0.005\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("portico_replica_state{" + labels + R"(,node="node-of-x://a",state="here"} 1)"));
  EXPECT_THAT(text, HasSubstr("\nportico_replicas_untold 0\n"));
}

TEST_F(RouterTest, MetricsOfReplicasAreBounded) {
  EXPECT_EQ(ReplicaMetricsText({}), "");
  const std::string text = ReplicaMetricsText(std::vector<ReplicaStatus>(1000));
  EXPECT_THAT(text, HasSubstr("\nportico_replicas_untold 744\n"));
  EXPECT_LT(text.size(), 1u << 20);
}

TEST_F(RouterTest, UnsampledRequestsLeaveNoSpans) {
  Make({"x://a"});
  auto context = MakeRef<RequestContext>();
  context->trace = {.trace_id_high = 1, .trace_id_low = 2, .parent_span_id = 3, .sampled = false};
  Call(target_, context);
  transport_.calls.back().Reply();
  EXPECT_TRUE(context->spans.Take().empty());
}

TEST_F(RouterTest, CallsThatTakeLongLeaveSpansThoughNotSampled) {
  Make({"x://a"});
  auto context = MakeRef<RequestContext>();
  context->trace = {.trace_id_high = 1, .trace_id_low = 2, .parent_span_id = 3, .sampled = false};
  context->span_floor = absl::Milliseconds(2);
  Call(target_, context);
  transport_.calls.back().Reply();
  EXPECT_TRUE(context->spans.Take().empty());
  Call(target_, context);
  const PeerHeader& sent = transport_.calls.back().header;
  EXPECT_FALSE(sent.sampled);
  const uint64_t portal_id = sent.parent_span_id;
  clock_.now += absl::Milliseconds(2);
  PeerHeader reply;
  reply.spans.push_back({.span_id = 9, .parent_span_id = portal_id, .name = "segment", .node = "hub/0"});
  transport_.calls.back().Reply(reply);
  const std::vector<Span> spans = context->spans.Take();
  ASSERT_EQ(spans.size(), 2u);
  EXPECT_EQ(spans[0].span_id, portal_id);
  EXPECT_EQ(spans[1].parent_span_id, portal_id);
}

TEST_F(RouterTest, CallsAreCountedByTargetAndCode) {
  RecordingRegistry registry;
  const StaticResolver resolver(std::map<std::string, std::vector<std::string>>{{"hub/enc", {"x://a"}}});
  auto router = *Router::Create({}, transport_, resolver, clock_, registry);
  for (int i = 0; i < 3; ++i) router->Call(target_, MakeRef<RequestContext>(), {}, [](Result) {});
  EXPECT_EQ(registry.series["portico_portal_calls_in_flight target=hub/enc"].value, 3);
  transport_.calls[0].Reply();
  clock_.now += absl::Seconds(2);
  transport_.calls[1].Reply();
  transport_.calls[2].Fail(absl::UnavailableError("lost"));
  EXPECT_EQ(registry.series["portico_portal_calls_in_flight target=hub/enc"].value, 0);
  EXPECT_EQ(registry.series["portico_portal_calls_total target=hub/enc code=OK"].value, 2);
  EXPECT_EQ(registry.series["portico_portal_calls_total target=hub/enc code=UNAVAILABLE"].value, 1);
  EXPECT_EQ(registry.series["portico_portal_latency_seconds target=hub/enc"].observed, 3);
  EXPECT_EQ(registry.series["portico_portal_latency_seconds target=hub/enc"].value, 2);
}

}  // namespace
}  // namespace portico
