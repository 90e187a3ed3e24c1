// Policies that change while calls are under way, as a new revision changes them.

#include <atomic>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "router/router.h"
#include "router/static_resolver.h"
#include "tests/router/fake_transport.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Result = absl::StatusOr<PeerMessage>;

class LivePoliciesTest : public ::testing::Test {
 protected:
  LivePoliciesTest() : timer_(clock_) { target_.servable.name = "m"; }

  void Make(const RoutePolicy& policy) {
    resolver_.emplace(std::map<std::string, std::vector<std::string>>{{"m", {"x://a", "x://b"}}});
    Router::Options options;
    options.policies["m"] = policy;
    options.random = [] { return 0; };  // Of equal replicas the first.
    options.timer = &timer_;
    router_ = *Router::Create(std::move(options), transport_, *resolver_, clock_, metrics_);
    router_->Warm(target_);
    for (const char* endpoint : {"x://a", "x://b"}) transport_.Connected(endpoint);
  }
  absl::Status Change(const RoutePolicy& policy) { return router_->SetPolicies({}, {{"m", policy}}); }
  std::shared_ptr<std::optional<Result>> Call() {
    auto result = std::make_shared<std::optional<Result>>();
    router_->Call(target_, MakeRef<RequestContext>(), {}, [result](Result r) { *result = std::move(r); });
    return result;
  }
  absl::Duration TimeOfLastCall() const { return transport_.calls.back().deadline.Remaining(clock_); }

  FakeClock clock_;
  ManualTimer timer_;
  FakeTransport transport_;
  CountedMetrics metrics_;
  std::optional<StaticResolver> resolver_;
  std::unique_ptr<Router> router_;
  RouteTarget target_;
};

TEST_F(LivePoliciesTest, CallsGoByThePolicyTheyBeganWith) {
  Make({.timeout = absl::Seconds(1)});
  const auto first = Call();
  EXPECT_EQ(TimeOfLastCall(), absl::Seconds(1));
  ASSERT_TRUE(Change({.timeout = absl::Seconds(3), .retries = 0}).ok());
  const auto second = Call();
  EXPECT_EQ(TimeOfLastCall(), absl::Seconds(3));
  // The first may still be retried, the second may not.
  transport_.calls[0].Fail(absl::UnavailableError("lost"));
  EXPECT_FALSE(first->has_value());
  ASSERT_EQ(transport_.calls.size(), 3u);
  EXPECT_EQ(TimeOfLastCall(), absl::Seconds(1)) << "what its own policy says";
  transport_.calls[2].Reply();
  EXPECT_TRUE((*first)->ok());
  transport_.calls[1].Fail(absl::UnavailableError("lost"));
  ASSERT_TRUE(second->has_value());
  EXPECT_FALSE((*second)->ok());
  EXPECT_EQ(transport_.connects["x://a"], 1) << "the connection stays";
}

TEST_F(LivePoliciesTest, TheLimitOfCallsInFlightCountsThoseThatAreOut) {
  Make({});
  for (int i = 0; i < 3; ++i) Call();
  ASSERT_TRUE(Change({.max_in_flight = 1}).ok());
  const auto none = Call();  // Those without a limit are not counted.
  EXPECT_FALSE(none->has_value());
  EXPECT_THAT((*Call())->status().message(), HasSubstr("want at most 1"));
  ASSERT_TRUE(Change({.max_in_flight = 2}).ok());
  EXPECT_FALSE(Call()->has_value());
  EXPECT_TRUE(Call()->has_value());
  ASSERT_TRUE(Change({}).ok());
  EXPECT_FALSE(Call()->has_value());
  for (FakeTransport::Call& call : transport_.calls) call.Reply();
  ASSERT_TRUE(Change({.max_in_flight = 1}).ok());
  EXPECT_FALSE(Call()->has_value()) << "all places are free again";
}

TEST_F(LivePoliciesTest, HedgingBeginsAndEnds) {
  Make({});
  Call();
  HedgePolicy hedge;
  hedge.after = absl::Milliseconds(20);
  ASSERT_TRUE(Change({.hedge = hedge}).ok());
  Call();
  ASSERT_EQ(transport_.calls.size(), 2u);
  clock_.now += absl::Milliseconds(20);
  timer_.RunDue();
  EXPECT_EQ(transport_.calls.size(), 3u) << "of the second call alone";
  ASSERT_TRUE(Change({}).ok());
  Call();
  clock_.now += absl::Seconds(1);
  timer_.RunDue();
  EXPECT_EQ(transport_.calls.size(), 4u);
}

TEST_F(LivePoliciesTest, ABudgetOfRetriesIsSwitchedOffAndOn) {
  Make({});
  ASSERT_TRUE(Change({.retry_percent = 0}).ok());
  auto result = Call();
  transport_.calls.back().Fail(absl::UnavailableError("lost"));
  EXPECT_TRUE(result->has_value());
  ASSERT_TRUE(Change({.retry_percent = 20}).ok());
  result = Call();
  transport_.calls.back().Fail(absl::UnavailableError("lost"));
  EXPECT_FALSE(result->has_value());
}

TEST_F(LivePoliciesTest, ReplicasAreJudgedByTheNewPolicyAndWhatIsKnownOfThemStays) {
  Make({.retries = 0, .eject_after = 0});
  const auto fail = [&] {
    Call();
    transport_.calls.back().Fail(absl::DeadlineExceededError("late"));
    return transport_.calls.back().endpoint;
  };
  std::map<std::string, int> failed;
  for (int i = 0; i < 6; ++i) ++failed[fail()];
  EXPECT_EQ(metrics_.Value("portico_portal_ejections_total"), 0);
  ASSERT_TRUE(Change({.retries = 0, .eject_after = 1}).ok());
  fail();
  EXPECT_EQ(metrics_.Value("portico_portal_ejections_total"), 1);
}

TEST_F(LivePoliciesTest, BalanceIsExchangedAndOneThatThereIsNotChangesNothing) {
  Make({.timeout = absl::Seconds(1)});
  ASSERT_TRUE(Change({.timeout = absl::Seconds(2), .balance = "round_robin"}).ok());
  std::map<std::string, int> seen;
  for (int i = 0; i < 4; ++i) {
    Call();
    transport_.calls.back().Reply();
    ++seen[transport_.calls.back().endpoint];
  }
  EXPECT_EQ(seen["x://a"], 2);
  const absl::Status status = Change({.timeout = absl::Seconds(3), .balance = "roulette"});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), AllOf(HasSubstr("policy 'm'"), HasSubstr("roulette")));
  Call();
  EXPECT_EQ(TimeOfLastCall(), absl::Seconds(2));
}

TEST_F(LivePoliciesTest, TargetsWithoutAnEntryGoByTheDefault) {
  Make({.timeout = absl::Seconds(1)});
  ASSERT_TRUE(router_->SetPolicies({.timeout = absl::Seconds(7)}, {}).ok());
  Call();
  EXPECT_EQ(TimeOfLastCall(), absl::Seconds(7));
}

/// Answers everything at once, from whichever thread.
class AnsweringTransport final : public Transport {
 public:
  absl::StatusOr<std::unique_ptr<Channel>> Connect(const std::string&, ChannelOptions options) override {
    PeerState state;
    state.connected = true;
    options.on_state(state);
    return std::make_unique<AnsweringChannel>();
  }
  absl::StatusOr<std::unique_ptr<Listener>> Listen(const std::string&, CallHandler&, ListenOptions) override {
    return absl::UnimplementedError("calls only");
  }

 private:
  struct AnsweringChannel final : Channel {
    uint64_t Call(const PeerHeader&, absl::Span<const Tensor>, Deadline, Done done) override {
      done(PeerMessage());
      return 1;
    }
    void Cancel(uint64_t) override {}
  };
};

TEST(LivePoliciesStressTest, ChangesUnderLoadFailNoCall) {
  AnsweringTransport transport;
  const StaticResolver resolver(std::map<std::string, std::vector<std::string>>{{"m", {"x://a", "x://b"}}});
  const auto router = *Router::Create({}, transport, resolver, Clock::Real(), MetricRegistry::Null());
  RouteTarget target;
  target.servable.name = "m";
  std::atomic<bool> over{false};
  std::atomic<int> failed{0}, answered{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < 3; ++i) {
    callers.emplace_back([&] {
      while (!over) {
        router->Call(target, MakeRef<RequestContext>(), {},
                     [&](Result result) { ++(result.ok() ? answered : failed); });
      }
    });
  }
  RoutePolicy policies[3];
  policies[1] = {.timeout = absl::Seconds(20), .balance = "consistent_hash", .max_in_flight = 100};
  policies[2] = {.balance = "round_robin", .eject_after = 1, .slow_start = absl::ZeroDuration()};
  policies[2].hedge.percentile = 95;
  for (int i = 0; i < 2'000 || answered < 10'000; ++i) ASSERT_TRUE(router->SetPolicies(policies[i % 3], {}).ok());
  over = true;
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(failed, 0);
}

}  // namespace
}  // namespace portico
