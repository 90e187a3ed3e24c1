// Calls, hedges, cancellations and the router's end on many threads at once, through real transports.

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/event_thread.h"
#include "base/mutex.h"
#include "gtest/gtest.h"
#include "router/router.h"
#include "router/static_resolver.h"

namespace portico {
namespace {

/// Answers at once, or within half a millisecond.
class UnsteadyPeer final : public CallHandler {
 public:
  UnsteadyPeer(Transport& transport, const std::string& endpoint) {
    auto listener = transport.Listen(endpoint, *this, {});
    EXPECT_TRUE(listener.ok()) << listener.status();
    listener_ = *std::move(listener);
  }
  ~UnsteadyPeer() override { listener_.reset(); }
  const std::string& endpoint() const { return listener_->endpoint(); }

  void OnCall(PeerMessage call, PeerReply reply) override {
    static thread_local std::mt19937_64 random{std::random_device{}()};
    const auto delay = static_cast<int64_t>(random() % 500);
    if (delay < 150) return reply(PeerHeader(), call.tensors);
    answers_.At(
        Clock::Real().Now() + absl::Microseconds(delay),
        [reply = std::move(reply), tensors = std::move(call.tensors)]() mutable { reply(PeerHeader(), tensors); });
  }
  void OnCancel(uint64_t, uint64_t) override { cancels.fetch_add(1); }

  std::atomic<int> cancels{0};

 private:
  EventThread answers_{"answers", Clock::Real()};
  std::unique_ptr<Listener> listener_;
};

/// Waits until as many answers have come as calls were begun.
class Tally {
 public:
  void Begin() {
    MutexLock lock(&mutex_);
    ++open_;
  }
  void End(absl::StatusCode code) {
    MutexLock lock(&mutex_);
    ++codes_[code];
    if (--open_ == 0) idle_.NotifyAll();
  }
  std::map<absl::StatusCode, int> Wait() {
    MutexLock lock(&mutex_);
    while (open_ > 0) idle_.Wait(&mutex_);
    return codes_;
  }

 private:
  Mutex mutex_;
  CondVar idle_;
  int open_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<absl::StatusCode, int> codes_ ABSL_GUARDED_BY(mutex_);
};

class HedgeStressTest : public ::testing::TestWithParam<const char*> {
 protected:
  HedgeStressTest() : transport_(NewTransports({}, Clock::Real())) {
    std::vector<std::string> endpoints;
    for (int i = 0; i < 3; ++i) {
      std::string endpoint = GetParam();
      if (endpoint == "inproc://") absl::StrAppend(&endpoint, i);
      peers_.push_back(std::make_unique<UnsteadyPeer>(*transport_, endpoint));
      endpoints.push_back(peers_.back()->endpoint());
    }
    resolver_ = std::make_unique<StaticResolver>(std::map<std::string, std::vector<std::string>>{{"m", endpoints}});
    target_.servable.name = "m";
  }
  std::unique_ptr<Router> NewRouter() {
    Router::Options options;
    options.default_policy.hedge.after = absl::Microseconds(100);
    options.default_policy.hedge.percent = 100;
    options.default_policy.timeout = absl::Seconds(20);
    return *Router::Create(std::move(options), *transport_, *resolver_, Clock::Real(), MetricRegistry::Null());
  }
  void Call(Router& router, const Ref<const RequestContext>& context, Tally& tally) {
    tally.Begin();
    const std::vector<Tensor> tensors = {Tensor::Of<int64_t>({1}, {42})};
    router.Call(target_, context, tensors, [&tally](absl::StatusOr<PeerMessage> reply) {
      if (reply.ok()) {
        EXPECT_EQ(reply->tensors.at(0).bytes().size(), 8u);
      }
      tally.End(reply.status().code());
    });
  }

  std::unique_ptr<Transport> transport_;
  std::vector<std::unique_ptr<UnsteadyPeer>> peers_;
  std::unique_ptr<StaticResolver> resolver_;
  RouteTarget target_;
};

TEST_P(HedgeStressTest, EveryCallEndsOnceWhoeverWinsOrLeaves) {
  constexpr int kThreads = 3;
  constexpr int kBursts = 150;
  constexpr int kBurst = 8;
  const std::unique_ptr<Router> router = NewRouter();
  std::atomic<int> ok{0}, cancelled{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int b = 0; b < kBursts; ++b) {
        Tally tally;
        std::vector<Ref<RequestContext>> contexts;
        for (int i = 0; i < kBurst; ++i) {
          contexts.push_back(MakeRef<RequestContext>());
          Call(*router, contexts.back(), tally);
        }
        for (size_t i = 0; i < contexts.size(); i += 2) contexts[i]->Cancel();
        const auto codes = tally.Wait();
        for (const auto& [code, count] : codes) {
          if (code == absl::StatusCode::kOk) ok += count;
          if (code == absl::StatusCode::kCancelled) cancelled += count;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(ok + cancelled, kThreads * kBursts * kBurst);
  EXPECT_GE(ok, kThreads * kBursts * kBurst / 2) << "who was not cancelled was answered";
  EXPECT_GT(cancelled, 0);
}

TEST_P(HedgeStressTest, ARouterMayGoWhileHedgesAreOut) {
  for (int round = 0; round < 30; ++round) {
    Tally tally;
    auto context = MakeRef<RequestContext>();
    std::thread leaves;
    {
      const std::unique_ptr<Router> router = NewRouter();
      for (int i = 0; i < 20; ++i) Call(*router, context, tally);
      if (round % 2 == 0) std::this_thread::sleep_for(std::chrono::microseconds(100 * round));
      leaves = std::thread([&] { context->Cancel(); });
    }
    leaves.join();
    tally.Wait();
  }
}

INSTANTIATE_TEST_SUITE_P(Transports, HedgeStressTest, ::testing::Values("inproc://", "tcp://127.0.0.1:0"),
                         [](const auto& info) { return info.param[0] == 'i' ? "Inproc" : "Stream"; });

}  // namespace
}  // namespace portico
