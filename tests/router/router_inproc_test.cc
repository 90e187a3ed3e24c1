#include <atomic>
#include <future>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "router/router.h"
#include "router/static_resolver.h"

namespace portico {
namespace {

using Result = absl::StatusOr<PeerMessage>;

/// A node that answers with its name, or keeps the call.
class Peer final : public CallHandler {
 public:
  Peer(Transport& transport, const std::string& endpoint, bool silent) : endpoint_(endpoint), silent_(silent) {
    ListenOptions options;
    options.self.node = endpoint;
    listener_ = *transport.Listen(endpoint, *this, options);
  }
  void OnCall(PeerMessage call, PeerReply reply) override {
    std::lock_guard<std::mutex> lock(mutex_);
    ++calls_;
    if (silent_) {
      kept_.push_back(std::move(reply));
      return;
    }
    PeerHeader header;
    header.node = endpoint_;
    reply(header, call.tensors);
  }
  void Kill() { listener_.reset(); }
  int calls() {
    std::lock_guard<std::mutex> lock(mutex_);
    return calls_;
  }

 private:
  const std::string endpoint_;
  const bool silent_;
  std::mutex mutex_;
  int calls_ = 0;
  std::vector<PeerReply> kept_;
  std::unique_ptr<Listener> listener_;
};

/// The answer of one call, waited for.
class Answer {
 public:
  Router::Done Done() {
    return [this](Result result) { promise_.set_value(std::move(result)); };
  }
  const Result& Wait() { return future_.get(); }

 private:
  std::promise<Result> promise_;
  std::shared_future<Result> future_ = promise_.get_future().share();
};

class RouterInprocTest : public ::testing::Test {
 protected:
  RouterInprocTest()
      : transport_(NewInprocTransport(Clock::Real())),
        resolver_(std::map<std::string, std::vector<std::string>>{{"m", {"inproc://a", "inproc://b"}}}) {
    Router::Options options;
    options.random = [] { return 0; };  // Of equal replicas the first, 'a'.
    router_ = *Router::Create(options, *transport_, resolver_, Clock::Real(), MetricRegistry::Null());
    target_.servable.name = "m";
  }
  std::unique_ptr<Transport> transport_;
  const StaticResolver resolver_;
  std::unique_ptr<Router> router_;
  RouteTarget target_;
};

TEST_F(RouterInprocTest, CallOfANodeKilledMidCallGoesToTheOther) {
  Peer silent(*transport_, "inproc://a", /*silent=*/true);
  Peer other(*transport_, "inproc://b", /*silent=*/false);
  Answer answer;
  {
    const std::vector<Tensor> tensors = {Tensor::Of<int64_t>({2}, {5, 6})};
    router_->Call(target_, MakeRef<RequestContext>(), tensors, answer.Done());
  }
  ASSERT_EQ(silent.calls(), 1);
  silent.Kill();
  ASSERT_TRUE(answer.Wait().ok()) << answer.Wait().status();
  EXPECT_EQ(answer.Wait()->header.node, "inproc://b");
  EXPECT_EQ(answer.Wait()->tensors[0].data<int64_t>()[1], 6);
}

TEST_F(RouterInprocTest, WithoutAnotherNodeACallOfAKilledOneIsUnavailableAndSaysWhatWasTried) {
  Peer silent(*transport_, "inproc://a", /*silent=*/true);
  Answer first;
  router_->Call(target_, MakeRef<RequestContext>(), {}, first.Done());
  silent.Kill();
  EXPECT_EQ(first.Wait().status().code(), absl::StatusCode::kUnavailable);
  const std::string message(first.Wait().status().message());
  EXPECT_THAT(message, testing::HasSubstr("portal to 'm' at inproc://b, try 2: endpoint 'inproc://b': no connection"));
  EXPECT_THAT(message, testing::HasSubstr("; before, at inproc://a: "));
}

TEST_F(RouterInprocTest, SilentPeerEndsWithTheDeadline) {
  Peer a(*transport_, "inproc://a", /*silent=*/true);
  Peer b(*transport_, "inproc://b", /*silent=*/true);
  auto context = MakeRef<RequestContext>();
  context->deadline = Deadline::In(absl::Milliseconds(30), Clock::Real());
  Answer answer;
  router_->Call(target_, context, {}, answer.Done());
  EXPECT_EQ(answer.Wait().status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(RouterInprocTest, ManyThreadsCallAtOnceWhileAReplicaComesAndGoes) {
  Peer steady(*transport_, "inproc://a", /*silent=*/false);
  std::atomic<int> ok{0};
  std::atomic<int> unavailable{0};
  std::atomic<int> other{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t) {
    callers.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        Answer answer;
        router_->Call(target_, MakeRef<RequestContext>(), {}, answer.Done());
        const absl::Status status = answer.Wait().status();
        ++(status.ok() ? ok : status.code() == absl::StatusCode::kUnavailable ? unavailable : other);
      }
    });
  }
  for (int i = 0; i < 20; ++i) Peer passing(*transport_, "inproc://b", /*silent=*/false);
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(ok + unavailable, 2000);
  EXPECT_EQ(other, 0);
  EXPECT_GT(ok, 0);
}

}  // namespace
}  // namespace portico
