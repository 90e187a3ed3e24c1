// Which replicas are put aside, and how much those get that have just come.

#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "router/replica_set.h"
#include "tests/router/fake_transport.h"

namespace portico {
namespace {

TEST(ReplicaTest, AShareOfFaultsPutsAsideThoughNoneAreInARow) {
  const auto balance = *NewBalancePolicy("p2c");
  const LivePolicy policy({}, *balance);
  const FakeClock clock;
  Replica replica(std::make_shared<Endpoint>("x://a"), 0, policy);
  for (int i = 0; i < 1000; ++i) {
    const bool fault = i % 2 == 0 && i % 10 < 8;
    ASSERT_FALSE(replica.Learn(clock.now, absl::Milliseconds(1), fault ? Blame::kFault : Blame::kNone))
        << "two of five";
  }
  Replica another(std::make_shared<Endpoint>("x://b"), 0, policy);
  int calls = 0;
  while (calls < 100 &&
         !another.Learn(clock.now, absl::Milliseconds(1), calls % 2 == 0 ? Blame::kNone : Blame::kFault)) {
    ++calls;
  }
  EXPECT_EQ(calls, 19) << "every second one, as soon as there are enough";
  EXPECT_TRUE(another.Ejected(clock.now));
  EXPECT_FALSE(another.Ejected(clock.now + absl::Seconds(1)));
}

TEST(ReplicaTest, OneThatIsOutrunAgainAndAgainWithoutAnAnswerIsPutAside) {
  const auto balance = *NewBalancePolicy("p2c");
  const LivePolicy policy({}, *balance);
  const FakeClock clock;
  Replica stopped(std::make_shared<Endpoint>("x://a"), 0, policy), slow(std::make_shared<Endpoint>("x://b"), 0, policy);
  int outrun = 1;
  while (outrun < 100 && !stopped.Learn(clock.now, absl::Milliseconds(5), Blame::kOutrun)) ++outrun;
  EXPECT_EQ(outrun, 2 * policy.policy().eject_after);
  for (int i = 0; i < 100; ++i) {
    EXPECT_FALSE(slow.Learn(clock.now, absl::Milliseconds(5), Blame::kOutrun));
    if (i % 3 != 0) continue;
    EXPECT_FALSE(slow.Learn(clock.now, absl::Milliseconds(5), Blame::kNone));
  }
}

class OutlierTest : public ::testing::Test {
 protected:
  OutlierTest() : balance_(*NewBalancePolicy("round_robin")) {}

  void Make(int replicas) {
    ServableRef target;
    target.name = "m";
    set_ = std::make_unique<ReplicaSet>(target, *balance_, policy_, MetricRegistry::Null());
    for (int i = 0; i < replicas; ++i) Add(i, /*connected=*/true);
  }
  void Add(int number, bool connected) {
    const std::string url = "x://" + std::to_string(number);
    auto endpoint = std::make_shared<Endpoint>(url);
    endpoint->Connect(transport_, {});
    if (connected) transport_.Connected(url);
    members_.push_back({endpoint, 0});
    set_->SetMembers(members_);
  }
  /// One call, answered after what `took` says of its replica; or 1 ms.
  std::string Call(const std::map<std::string, absl::Duration>& took) {
    const Ref<Replica> replica = set_->Pick(clock_.now, random_());
    const std::string url = replica->endpoint().url();
    const auto found = took.find(url);
    const absl::Duration latency = found == took.end() ? absl::Milliseconds(1) : found->second;
    clock_.now += absl::Milliseconds(5);
    replica->Learn(clock_.now, latency, Blame::kNone);
    return url;
  }
  std::map<std::string, int> Calls(int count, const std::map<std::string, absl::Duration>& took = {}) {
    std::map<std::string, int> calls;
    for (int i = 0; i < count; ++i) ++calls[Call(took)];
    return calls;
  }

  FakeClock clock_;
  FakeTransport transport_;
  std::mt19937_64 random_{7};
  RoutePolicy policy_;
  const std::unique_ptr<BalancePolicy> balance_;
  std::vector<ReplicaSet::Member> members_;
  std::unique_ptr<ReplicaSet> set_;
};

TEST_F(OutlierTest, AReplicaAHundredTimesSlowerIsPutAsideAndTriedAgain) {
  Make(2);
  const std::map<std::string, absl::Duration> slow = {{"x://1", absl::Milliseconds(100)}};
  // Round robin: what keeps calls away is that it is put aside.
  Calls(80, slow);
  EXPECT_EQ(Calls(100, slow)["x://1"], 0);
  clock_.now += absl::Seconds(1);
  EXPECT_GE(Calls(20, slow)["x://1"], 8) << "it comes back";
  Calls(60, slow);
  EXPECT_EQ(Calls(100, slow)["x://1"], 0) << "and goes";
  clock_.now += absl::Seconds(1);
  Calls(20);
  EXPECT_NEAR(Calls(100)["x://1"], 50, 1) << "healthy again, within a second";
}

TEST_F(OutlierTest, OneInAHundredSlowCallsAndASomewhatSlowerReplicaAreLeftAlone) {
  Make(3);
  for (int round = 0; round < 20; ++round) {
    EXPECT_GE(Calls(99, {{"x://1", absl::Milliseconds(4)}})["x://1"], 32);
  }
}

TEST_F(OutlierTest, ZeroTurnsItOff) {
  policy_.eject_slower = 0;
  Make(2);
  const std::map<std::string, absl::Duration> slow = {{"x://1", absl::Milliseconds(100)}};
  Calls(200, slow);
  EXPECT_EQ(Calls(100, slow)["x://1"], 50);
}

TEST_F(OutlierTest, AReplicaThatConnectsLaterGetsAGrowingShare) {
  Make(2);
  EXPECT_EQ(Calls(100)["x://0"], 50) << "those that start together share at once";
  clock_.now += absl::Seconds(10);
  Calls(2);
  Add(2, /*connected=*/true);
  const int first = Calls(100)["x://2"], second = Calls(100)["x://2"], third = Calls(100)["x://2"];
  Calls(200);
  const int full = Calls(300)["x://2"];
  EXPECT_LT(first, 12);
  EXPECT_GT(second, first);
  EXPECT_GT(third, second);
  EXPECT_EQ(full, 100);
}

TEST_F(OutlierTest, AReplicaThatIsAloneTakesAllCallsHoweverNewItIs) {
  Make(0);
  Add(0, /*connected=*/true);
  EXPECT_EQ(Calls(10)["x://0"], 10);
  clock_.now += absl::Seconds(10);
  Calls(1);
  Add(1, /*connected=*/true);
  transport_.Lost("x://0");
  EXPECT_EQ(Calls(10)["x://1"], 10);
}

}  // namespace
}  // namespace portico
