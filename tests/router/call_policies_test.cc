// Keys of a policy that say when a call is hedged and what stands in for its answer.

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "router/revision.h"
#include "router/yaml_node.h"
#include "yaml-cpp/yaml.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

absl::StatusOr<RoutePolicy> Read(const std::string& keys, const RoutePolicy& base = {}) {
  const absl::StatusOr<YamlNode> node = ParseYaml(keys, "p.yaml");
  if (!node.ok()) return node.status();
  return ReadRoutePolicy(*node, "policy 'm'", base);
}

/// What is written is read back as the same.
void ExpectSurvives(const RoutePolicy& policy) {
  Revision revision;
  revision.default_policy = policy;
  YAML::Emitter out;
  out << YAML::BeginMap;
  Emit(policy.hedge, out);
  Emit(policy.on_error, out);
  out << YAML::EndMap;
  const auto read = Read(out.c_str());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->hedge, policy.hedge) << out.c_str();
  EXPECT_EQ(read->on_error, policy.on_error) << out.c_str();
}

TEST(CallPoliciesTest, HedgingIsOffUnlessAsked) {
  EXPECT_FALSE(RoutePolicy().hedge.on());
  EXPECT_EQ(RoutePolicy().on_error.kind, OnErrorPolicy::Kind::kFail);
  ExpectSurvives(RoutePolicy());
}

TEST(CallPoliciesTest, AHedgeComesAfterATimeOrAPercentile) {
  const auto timed = Read("{hedge_after: 20ms, hedge_percent: 3}");
  ASSERT_TRUE(timed.ok()) << timed.status();
  EXPECT_EQ(timed->hedge.after, absl::Milliseconds(20));
  EXPECT_EQ(timed->hedge.percent, 3);
  EXPECT_TRUE(timed->hedge.on());
  ExpectSurvives(*timed);
  const auto learned = Read("{hedge_after: p99}", *timed);
  ASSERT_TRUE(learned.ok()) << learned.status();
  EXPECT_EQ(learned->hedge.percentile, 99);
  EXPECT_EQ(learned->hedge.percent, 3) << "what is left out is as in the default policy";
  EXPECT_TRUE(learned->hedge.on());
  ExpectSurvives(*learned);
  const auto off = Read("{hedge_after: off}", *learned);
  ASSERT_TRUE(off.ok()) << off.status();
  EXPECT_FALSE(off->hedge.on());
  EXPECT_FALSE(Read("{hedge_percent: 0}", *timed)->hedge.on());
}

TEST(CallPoliciesTest, OnErrorHasThreeForms) {
  const auto defaults = Read("{on_error: {defaults: {score: 0.5, label: \"none: at all\"}}}");
  ASSERT_TRUE(defaults.ok()) << defaults.status();
  EXPECT_EQ(defaults->on_error.kind, OnErrorPolicy::Kind::kDefaults);
  EXPECT_THAT(defaults->on_error.defaults, ElementsAre(Pair("label", "none: at all"), Pair("score", "0.5")));
  ExpectSurvives(*defaults);
  const auto last = Read("{on_error: last_known}");
  ASSERT_TRUE(last.ok()) << last.status();
  EXPECT_EQ(last->on_error.kind, OnErrorPolicy::Kind::kLastKnown);
  ExpectSurvives(*last);
  const auto bounded = Read("{on_error: {last_known: {max_mib: 8, max_age: 30s}}}");
  ASSERT_TRUE(bounded.ok()) << bounded.status();
  EXPECT_EQ(bounded->on_error.max_bytes, 8u << 20);
  EXPECT_EQ(bounded->on_error.max_age, absl::Seconds(30));
  ExpectSurvives(*bounded);
  EXPECT_EQ(Read("{on_error: fail}", *bounded)->on_error, OnErrorPolicy());
}

TEST(CallPoliciesTest, AWindowIsANumber) {
  EXPECT_EQ(RoutePolicy().max_in_flight, 0);
  EXPECT_EQ(Read("{max_in_flight: 64}")->max_in_flight, 64);
}

TEST(CallPoliciesTest, WhatMakesNoSenseIsRefused) {
  const struct {
    const char* keys;
    const char* want;
  } cases[] = {
      {"{hedge_after: soon}", "policy 'm': hedge_after: got 'soon', want a time such as 20ms"},
      {"{hedge_after: 0ms}", "hedge_after: got '0ms'"},
      {"{hedge_after: p100}", "got 'p100', want p50 to p99"},
      {"{hedge_after: p}", "hedge_after: got 'p'"},
      {"{hedge_percent: 101}", "hedge_percent: got '101', want a whole number from 0 to 100"},
      {"{max_in_flight: -1}", "max_in_flight: got '-1'"},
      {"{on_error: retry}", "on_error: got 'retry', want fail, last_known, or {defaults: {OUTPUT: VALUE}}"},
      {"{on_error: {defaults: {}}}", "on_error: defaults: got no output"},
      {"{on_error: {defaults: {y: [1]}}}", "on_error: defaults: y: got a list, want text"},
      {"{on_error: {default: {y: 1}}}", "on_error: got unknown key 'default'"},
      {"{on_error: {}}", "on_error: got no key, want"},
      {"{on_error: {last_known: {max_mib: 0}}}", "max_mib: got '0'"},
  };
  for (const auto& test : cases) {
    const auto read = Read(test.keys);
    EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument) << test.keys;
    EXPECT_THAT(std::string(read.status().message()), HasSubstr(test.want)) << test.keys;
    EXPECT_THAT(std::string(read.status().message()), ::testing::StartsWith("p.yaml:1: ")) << test.keys;
  }
}

}  // namespace
}  // namespace portico
