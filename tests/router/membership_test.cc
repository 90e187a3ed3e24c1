// Replicas come and go while calls are made.

#include <atomic>
#include <future>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "router/router.h"
#include "router/static_resolver.h"
#include "tests/router/fake_transport.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Result = absl::StatusOr<PeerMessage>;

class MembershipTest : public ::testing::Test {
 protected:
  MembershipTest() { target_.servable.name = "m"; }

  void Make(std::vector<PeerAddress> members, RoutePolicy policy = {}) {
    resolver_.Update({{"m", members}, {"n", {"x://b"}}});
    Router::Options options;
    options.default_policy = policy;
    options.random = [] { return 0; };  // Of equal replicas the first.
    router_ = *Router::Create(std::move(options), transport_, resolver_, clock_, MetricRegistry::Null());
    router_->Warm(target_);
    for (const PeerAddress& member : members) transport_.Connected(member.url);
  }
  std::shared_ptr<absl::Status> Call() {
    auto status = std::make_shared<absl::Status>(absl::UnknownError("still out"));
    router_->Call(target_, MakeRef<RequestContext>(), {}, [status](Result r) { *status = r.status(); });
    return status;
  }
  std::string CallAndAnswer() {
    Call();
    transport_.calls.back().Reply();
    return transport_.calls.back().endpoint;
  }
  bool ClosedBecomes(int count) {
    for (const absl::Time end = absl::Now() + absl::Seconds(30); transport_.closed < count && absl::Now() < end;) {
      std::this_thread::yield();
    }
    return transport_.closed == count;
  }

  FakeClock clock_;
  FakeTransport transport_;
  StaticResolver resolver_{StaticResolver::Table()};
  std::unique_ptr<Router> router_;
  RouteTarget target_;
};

TEST_F(MembershipTest, AReplicaThatIsAddedIsConnectedToAtOnceAndTakesCalls) {
  Make({"x://a"});
  resolver_.Update({{"m", {"x://a", "x://b"}}});
  EXPECT_EQ(transport_.connects["x://b"], 1) << "before any call needs it";
  EXPECT_EQ(CallAndAnswer(), "x://a") << "the other one is not connected yet";
  transport_.Connected("x://b");
  Call();
  EXPECT_EQ(transport_.calls.back().endpoint, "x://a");
  Call();
  EXPECT_EQ(transport_.calls.back().endpoint, "x://b") << "the less busy one";
}

TEST_F(MembershipTest, ARequestGoesToNodesOfItsOwnRevisionAndToOthersWhereThereAreNone) {
  PeerAddress old("x://old"), both("x://both"), fresh("x://new");
  old.revisions = {1, 7};
  fresh.revisions = {8, 9};
  RoutePolicy policy;
  policy.balance = "round_robin";
  Make({old, both, fresh}, policy);
  const auto endpoints = [&](uint64_t revision) {
    std::set<std::string> seen;
    for (int i = 0; i < 6; ++i) {
      auto context = MakeRef<RequestContext>();
      context->revision = revision;
      router_->Call(target_, context, {}, [](Result) {});
      seen.insert(transport_.calls.back().endpoint);
    }
    for (FakeTransport::Call& call : transport_.calls) {
      if (call.done) call.Reply();
    }
    return seen;
  };
  EXPECT_THAT(endpoints(7), ElementsAre("x://both", "x://old"));
  EXPECT_THAT(endpoints(8), ElementsAre("x://both", "x://new"));
  EXPECT_EQ(endpoints(0).size(), 3u) << "a request of no revision";
  transport_.Lost("x://both");
  EXPECT_THAT(endpoints(8), ElementsAre("x://new"));
  transport_.Lost("x://new");
  EXPECT_THAT(endpoints(8), ElementsAre("x://old")) << "better than none: it may hold what is wanted";
  // What they answer may change while they stay.
  old.revisions = {1, 9};
  resolver_.Update({{"m", {old}}});
  ASSERT_TRUE(ClosedBecomes(2));
  EXPECT_THAT(endpoints(8), ElementsAre("x://old"));
  EXPECT_EQ(transport_.connects["x://old"], 1);
}

TEST_F(MembershipTest, AReplicaThatIsTakenOutFinishesItsCallsThenItsChannelCloses) {
  Make({"x://a", "x://b"});
  const auto first = Call();
  ASSERT_EQ(transport_.calls[0].endpoint, "x://a");
  resolver_.Update({{"m", {"x://b"}}});
  for (int i = 0; i < 10; ++i) EXPECT_EQ(CallAndAnswer(), "x://b");
  EXPECT_EQ(transport_.closed, 0) << "a call is out to it";
  EXPECT_EQ(first->code(), absl::StatusCode::kUnknown);
  transport_.calls[0].Reply();
  EXPECT_TRUE(first->ok()) << *first;
  EXPECT_TRUE(ClosedBecomes(1));
  resolver_.Update({{"m", {"x://a", "x://b"}}});
  EXPECT_EQ(transport_.connects["x://a"], 2) << "when it comes back it gets a new channel";
}

TEST_F(MembershipTest, AReplicaThatStaysKeepsItsChannelAndWhatWasLearned) {
  RoutePolicy policy;
  policy.eject_after = 1;
  policy.retries = 0;
  Make({"x://bad", "x://good"}, policy);
  Call();
  ASSERT_EQ(transport_.calls.back().endpoint, "x://bad");
  transport_.calls.back().Fail(absl::InternalError("broken"));
  resolver_.Update({{"m", {"x://new", "x://bad", "x://good", "x://good"}}});
  EXPECT_EQ(transport_.connects["x://bad"], 1);
  EXPECT_EQ(transport_.connects["x://good"], 1);
  std::map<std::string, int> calls;
  for (int i = 0; i < 20; ++i) ++calls[CallAndAnswer()];
  EXPECT_EQ(calls["x://bad"], 0) << "it is put aside as before";
  EXPECT_EQ(calls["x://good"], 20);
}

TEST_F(MembershipTest, AChannelStaysWhileAnotherTargetUsesIt) {
  Make({"x://a", "x://b"});
  RouteTarget other;
  other.servable.name = "n";
  router_->Warm(other);
  resolver_.Update({{"m", {}}, {"n", {"x://b"}}});
  EXPECT_TRUE(ClosedBecomes(1));
  EXPECT_EQ(transport_.connects["x://b"], 1);
  const auto none = Call();
  EXPECT_EQ(none->code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(none->message(), HasSubstr("no node that serves it"));
  EXPECT_TRUE(router_->Health(other).ok());
  resolver_.Update({{"m", {"x://b"}}, {"n", {"x://b"}}});
  EXPECT_EQ(CallAndAnswer(), "x://b");
}

TEST_F(MembershipTest, ACallLostWithTheReplicaThatWasTakenOutGoesToAMember) {
  Make({"x://a", "x://b"});
  const auto status = Call();
  ASSERT_EQ(transport_.calls[0].endpoint, "x://a");
  resolver_.Update({{"m", {"x://b"}}});
  Channel::Done done = std::exchange(transport_.calls[0].done, nullptr);
  done(absl::UnavailableError("lost"));
  ASSERT_EQ(transport_.calls.size(), 2u);
  EXPECT_EQ(transport_.calls[1].endpoint, "x://b");
  transport_.calls[1].Reply();
  EXPECT_TRUE(status->ok()) << *status;
  done = nullptr;
  EXPECT_TRUE(ClosedBecomes(1));
}

TEST_F(MembershipTest, ARouterThatHasGoneIsToldNothing) {
  Make({"x://a"});
  router_ = nullptr;
  resolver_.Update({{"m", {"x://b"}}});
  EXPECT_EQ(transport_.connects["x://b"], 0);
}

/// Answers everything.
class Peer final : public CallHandler {
 public:
  Peer(Transport& transport, const std::string& endpoint) { listener_ = *transport.Listen(endpoint, *this, {}); }
  void OnCall(PeerMessage call, PeerReply reply) override { reply(PeerHeader(), call.tensors); }

 private:
  std::unique_ptr<Listener> listener_;
};

TEST(MembershipInprocTest, ChangesUnderLoadFailNoCall) {
  const std::unique_ptr<Transport> transport = NewInprocTransport(Clock::Real());
  const Peer a(*transport, "inproc://a"), b(*transport, "inproc://b"), c(*transport, "inproc://c");
  StaticResolver resolver{StaticResolver::Table{{"m", {"inproc://a"}}}};
  auto router = *Router::Create({}, *transport, resolver, Clock::Real(), MetricRegistry::Null());
  RouteTarget target;
  target.servable.name = "m";
  std::atomic<bool> over{false};
  std::vector<absl::Status> failed(3, absl::OkStatus());
  std::atomic<int> answered{0};
  std::vector<std::thread> callers;
  for (absl::Status& status : failed) {
    callers.emplace_back([&] {
      while (!over && status.ok()) {
        std::promise<absl::Status> answer;
        router->Call(target, MakeRef<RequestContext>(), {}, [&](Result r) { answer.set_value(r.status()); });
        status = answer.get_future().get();
        ++answered;
      }
    });
  }
  const std::vector<std::vector<PeerAddress>> rounds = {
      {"inproc://b"}, {"inproc://a", "inproc://c"}, {"inproc://c"}, {"inproc://a", "inproc://b", "inproc://c"}};
  for (int i = 0; i < 200; ++i) {
    resolver.Update({{"m", rounds[static_cast<size_t>(i) % rounds.size()]}});
    const int until = answered + 10;
    for (const absl::Time end = absl::Now() + absl::Seconds(10); answered < until && absl::Now() < end;) {
      std::this_thread::yield();
    }
  }
  over = true;
  for (std::thread& caller : callers) caller.join();
  for (const absl::Status& status : failed) EXPECT_TRUE(status.ok()) << status;
  EXPECT_GE(answered, 2000);
  router = nullptr;
}

}  // namespace
}  // namespace portico
