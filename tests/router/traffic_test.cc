#include "router/traffic.h"

#include <cmath>
#include <map>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "router/live_revisions.h"
#include "router/request_key.h"
#include "router/revision.h"
#include "router/stable_hash.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

constexpr int kRequests = 100'000;

TrafficSplit Split(const std::vector<std::pair<std::string, double>>& arms) {
  TrafficSplit split;
  int64_t version = 0;
  for (const auto& [name, weight] : arms) split.arms.push_back({{name, "m", ++version}, weight, weight});
  return split;
}

TrafficDraw DrawOf(const TrafficSplit& split) { return TrafficDraw("m", split); }

size_t ArmOf(const TrafficDraw& draw, int request) { return draw.PickByHash(MixBits(static_cast<uint64_t>(request))); }

TEST(TrafficTest, ArmsGetTheirShares) {
  const TrafficDraw split = DrawOf(Split({{"a", 90}, {"b", 9}, {"c", 1}, {"none", 0}}));
  std::map<size_t, int> got;
  for (int i = 0; i < kRequests; ++i) ++got[ArmOf(split, i)];
  EXPECT_NEAR(got[0], 0.90 * kRequests, 500);
  EXPECT_NEAR(got[1], 0.09 * kRequests, 500);
  EXPECT_NEAR(got[2], 0.01 * kRequests, 200);
  EXPECT_EQ(got[3], 0);
}

TEST(TrafficTest, GrowingArmTakesRequestsAndNoOtherGainsAny) {
  TrafficSplit split = Split({{"a", 60}, {"b", 40}, {"c", 0}});
  TrafficSplit::Ramp& ramp = split.ramp.emplace();
  ramp.to = split.arms[2].target;
  ramp.steps = {1, 5, 25, 50, 100};
  ApplyRamp(&split);
  for (; ramp.step + 1 < ramp.steps.size();) {
    const TrafficDraw before = DrawOf(split);
    ++ramp.step;
    ApplyRamp(&split);
    const TrafficDraw after = DrawOf(split);
    int moved = 0;
    for (int i = 0; i < kRequests; ++i) {
      const size_t was = ArmOf(before, i), is = ArmOf(after, i);
      if (was == is) continue;
      ++moved;
      ASSERT_EQ(is, 2u) << "request " << i << " went from arm " << was;
    }
    const double gained = (ramp.steps[ramp.step] - ramp.steps[ramp.step - 1]) / 100;
    EXPECT_NEAR(moved, gained * kRequests, 700);
    EXPECT_DOUBLE_EQ(PercentOf(split, "c"), ramp.steps[ramp.step]);
  }
  // Taken back, everybody is where he was without the ramp.
  ramp.state = TrafficSplit::Ramp::State::kRolledBack;
  ApplyRamp(&split);
  const TrafficDraw back = DrawOf(split), without = DrawOf(Split({{"a", 60}, {"b", 40}}));
  for (int i = 0; i < kRequests; ++i) ASSERT_EQ(ArmOf(back, i), ArmOf(without, i));
}

TEST(TrafficTest, RequestsStickByKeyTenantOrNotAtAll) {
  RequestContext first, second;
  first.draw = 1;
  second.draw = 2;
  const auto hash = [](absl::string_view model, TrafficSplit::By by, const RequestContext& context) {
    TrafficSplit split = Split({{"a", 1}});
    split.by = by;
    return TrafficDraw(model, split).HashOf(context);
  };
  const auto same = [&](TrafficSplit::By by) { return hash("m", by, first) == hash("m", by, second); };
  EXPECT_FALSE(same(TrafficSplit::By::kKey)) << "without a key the draw decides";
  EXPECT_FALSE(same(TrafficSplit::By::kTenant));
  ASSERT_TRUE(TakeRequestKey("user 7", &first).ok());
  ASSERT_TRUE(TakeRequestKey("user 7", &second).ok());
  EXPECT_TRUE(same(TrafficSplit::By::kKey));
  EXPECT_FALSE(same(TrafficSplit::By::kRandom));
  first.tenant = second.tenant = "ads";
  EXPECT_TRUE(same(TrafficSplit::By::kTenant));
  // Who is in one model's canary is not for that reason in another's.
  EXPECT_NE(hash("m", TrafficSplit::By::kKey, first), hash("n", TrafficSplit::By::kKey, first));
}

TEST(TrafficTest, KeyThatIsTooLongIsRefusedAndNoneIsNone) {
  RequestContext context;
  EXPECT_TRUE(TakeRequestKey("", &context).ok());
  EXPECT_EQ(context.key, 0u);
  EXPECT_TRUE(TakeRequestKey(std::string(256, 'k'), &context).ok());
  EXPECT_NE(context.key, 0u);
  EXPECT_TRUE(absl::IsInvalidArgument(TakeRequestKey(std::string(257, 'k'), &context)));
}

TEST(TrafficTest, ShadowGetsItsPercentWhateverTheArm) {
  TrafficSplit::Shadow shadow;
  shadow.percent = 10;
  TrafficSplit split = Split({{"a", 50}, {"b", 50}});
  split.by = TrafficSplit::By::kRandom;
  const TrafficDraw arms = DrawOf(split);
  const ShadowDraw draw("m", shadow);
  std::map<size_t, int> copied;
  RequestContext context;
  for (int i = 0; i < kRequests; ++i) {
    context.draw = MixBits(static_cast<uint64_t>(i) + 1);
    if (draw.Draws(context)) ++copied[arms.Pick(context)];
  }
  EXPECT_NEAR(copied[0], 0.05 * kRequests, 400);
  EXPECT_NEAR(copied[1], 0.05 * kRequests, 400);
}

TEST(TrafficTest, HashesAreWhatEarlierReleasesMeetToo) {
  // Nodes of two releases answer one request: they have to choose the same arm.
  RequestContext context;
  context.draw = 0x1234'5678'9abc'def0;
  TrafficSplit split = Split({{"1", 70}, {"canary", 30}});
  split.by = TrafficSplit::By::kRandom;
  EXPECT_EQ(TrafficDraw("digit", split).HashOf(context), MixBits(context.draw + StableHash("digit")));
  const auto time = [&](absl::string_view arm, double weight) {
    const uint64_t own = MixBits(TrafficDraw("digit", split).HashOf(context) ^ StableHash(arm));
    return -std::log((static_cast<double>(own >> 11) + 0.5) * 0x1p-53) / weight;
  };
  for (int i = 0; i < 1000; ++i) {
    context.draw = MixBits(static_cast<uint64_t>(i) + 1);
    EXPECT_EQ(TrafficDraw("digit", split).Pick(context), time("1", 70) <= time("canary", 30) ? 0u : 1u);
  }
}

/// `m` in versions 1 and 2, 70 to 30, served by one node; version 3 is its shadow.
Revision SplitRevision() {
  Revision revision;
  revision.number = 7;
  Revision::Model model;
  model.name = "m";
  model.path = "/models/m";
  Digest third;
  third.bytes[0] = 3;
  model.pins = {{1, {}}, {2, {}}, {3, third}};
  model.labels = {{"canary", 2}};
  revision.models = {model};
  revision.nodes = {{.name = "n", .serve = {"m"}}};
  TrafficSplit& split = revision.traffic["m"];
  split.by = TrafficSplit::By::kTenant;
  split.arms = {{{"1", "m", 1}, 70, 100}, {{"canary", "m", 2}, 30, 0}};
  TrafficSplit::Shadow& shadow = split.shadow.emplace();
  shadow.to = {"3", "m", 3};
  shadow.percent = 12.5;
  shadow.timeout = absl::Milliseconds(250);
  TrafficSplit::Ramp& ramp = split.ramp.emplace();
  ramp.to = split.arms[1].target;
  ramp.steps = {1, 30, 100};
  ramp.step = 1;
  ramp.state = TrafficSplit::Ramp::State::kStopped;
  ramp.why = "back to revision 3: \"really\"";
  return revision;
}

TEST(TrafficTest, RevisionDocumentSaysItAll) {
  const Revision revision = SplitRevision();
  TempFolder folder;
  const auto read = ReadRevision(folder.Write("7.yaml", FormatRevision(revision)));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(FormatRevision(*read), FormatRevision(revision));
  const TrafficSplit& split = read->traffic.at("m");
  EXPECT_EQ(split.by, TrafficSplit::By::kTenant);
  EXPECT_EQ(split.arms, revision.traffic.at("m").arms);
  EXPECT_EQ(split.shadow, revision.traffic.at("m").shadow);
  EXPECT_TRUE(split.ramp->SameAs(*revision.traffic.at("m").ramp));
  EXPECT_EQ(split.ramp->step, 1u);
  EXPECT_EQ(split.ramp->why, "back to revision 3: \"really\"");
}

TEST(TrafficTest, DocumentThatIsWrongIsRefused) {
  const std::string good = FormatRevision(SplitRevision());
  TempFolder folder;
  for (const auto& [from, to] : {std::pair("weight: 70", "weight: -1"),
                                 {"by: tenant", "by: moon"},
                                 {"state: stopped", "state: dizzy"},
                                 {"step: 1", "step: 9"},
                                 {"percent: 12.5", "percent: 101"},
                                 {"steps: [1, 30, 100]", "steps: [30, 1]"}}) {
    std::string bad = good;
    ASSERT_NE(bad.find(from), std::string::npos) << from << "\n" << good;
    bad.replace(bad.find(from), std::string(from).size(), to);
    EXPECT_TRUE(absl::IsInvalidArgument(ReadRevision(folder.Write("bad.yaml", bad)).status())) << to;
  }
}

/// A mesh of that revision, at one node.
class RouteTest : public ::testing::Test {
 protected:
  RouteTest() {
    const Revision revision = SplitRevision();
    live_.Add(RevisionView::Of(revision, revision.nodes[0], &arms_));
    live_.Flip(7);
  }

  TrafficArms arms_{MetricRegistry::Null()};
  LiveRevisions live_{2, &arms_};
};

TEST_F(RouteTest, BareNameGoesToAnArmAndWhoAsksForAVersionGetsThat) {
  EXPECT_TRUE(live_.draws());
  std::map<int64_t, int> got;
  for (int i = 1; i <= 1000; ++i) {
    RequestContext context;
    context.revision = 7;
    context.draw = static_cast<uint64_t>(i);
    const auto ref = live_.Route({.name = "m"}, context);
    ASSERT_TRUE(ref.ok());
    ++got[ref->version];
    ASSERT_TRUE(context.arm);
    EXPECT_EQ(context.arm->name(), ref->version == 1 ? "1" : "canary");
  }
  EXPECT_NEAR(got[1], 700, 60);
  EXPECT_NEAR(got[2], 300, 60);
  for (const ServableRef& exact :
       {ServableRef{.name = "m", .version = 3}, ServableRef{.name = "m", .label = "canary"}}) {
    RequestContext context;
    context.draw = 1;
    const auto ref = live_.Route(exact, context);
    ASSERT_TRUE(ref.ok());
    EXPECT_EQ(ref->version, exact.version == 3 ? 3 : 2);
    EXPECT_FALSE(context.arm);
  }
}

TEST_F(RouteTest, WithoutARequestTheNameMeansWhatMostRequestsGet) {
  EXPECT_EQ(live_.Narrow({.name = "m"}, 0)->version, 1);
  EXPECT_EQ(live_.Narrow({.name = "m", .label = "canary"}, 0)->version, 2);
}

TEST_F(RouteTest, NodesThatServeNoArmOfItDrawAllTheSame) {
  Revision revision = SplitRevision();
  revision.nodes.push_back({.name = "front"});
  TrafficArms arms(MetricRegistry::Null());
  LiveRevisions live(1, &arms);
  live.Add(RevisionView::Of(revision, revision.nodes[1], &arms));
  EXPECT_TRUE(live.draws());
  EXPECT_TRUE(arms.Read().empty());
}

TEST_F(RouteTest, EveryHopGivesARequestTheSameArmAndCopiesCountForNone) {
  const Revision revision = SplitRevision();
  TrafficArms others(MetricRegistry::Null());
  LiveRevisions hop(1, &others);
  hop.Add(RevisionView::Of(revision, revision.nodes[0], &others));
  for (int i = 1; i <= 200; ++i) {
    RequestContext context, deeper;
    context.revision = deeper.revision = 7;
    context.draw = deeper.draw = static_cast<uint64_t>(i);
    deeper.hop = 1;
    deeper.shadow = true;
    EXPECT_EQ(live_.Route({.name = "m"}, context)->version, hop.Route({.name = "m"}, deeper)->version);
    EXPECT_FALSE(deeper.arm);
  }
}

TEST_F(RouteTest, ArmsCountWhatBecameOfTheirRequestsOnce) {
  RequestContext context;
  context.tenant = "t";
  ASSERT_TRUE(live_.Route({.name = "m"}, context).ok());
  context.CountArm(absl::OkStatus(), absl::Milliseconds(3));
  context.CountArm(absl::InternalError(""), absl::ZeroDuration());
  RequestContext failed, gone;
  failed.tenant = gone.tenant = "t";
  ASSERT_TRUE(live_.Route({.name = "m"}, failed).ok());
  ASSERT_TRUE(live_.Route({.name = "m"}, gone).ok());
  failed.CountArm(absl::InternalError(""), absl::Milliseconds(1));
  gone.CountArm(absl::CancelledError(""), absl::Milliseconds(1));
  ArmCounts sum;
  for (const ArmCounts& counts : arms_.Read()) {
    if (counts.arm == context.arm->name()) sum = counts;
  }
  EXPECT_EQ(sum.requests, 2u);
  EXPECT_EQ(sum.errors, 1u);
  const absl::Duration p99 = QuantileOf(sum.latencies, 0.99);
  EXPECT_GE(p99, absl::Milliseconds(3));
  EXPECT_LE(p99, absl::Microseconds(3200));
}

TEST_F(RouteTest, CopiesAreBoundedByNumberAndBytes) {
  ArmTally tally(MetricRegistry::Null(), "m", "3");
  TrafficSplit::Shadow limits;
  limits.max_in_flight = 2;
  limits.max_mib = 1;
  EXPECT_TRUE(tally.EnterCopy(limits, 10));
  EXPECT_TRUE(tally.EnterCopy(limits, 10));
  EXPECT_FALSE(tally.EnterCopy(limits, 10));
  tally.LeaveCopy(10);
  EXPECT_FALSE(tally.EnterCopy(limits, 1 << 20));
  EXPECT_TRUE(tally.EnterCopy(limits, (1 << 20) - 10));
}

}  // namespace
}  // namespace portico
