// A peer that says hello and then never answers: calls to it wait without holding threads, and end at their deadline.

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "tensorflow_serving/predict.grpc.pb.h"
#include "tests/integration/node_fixture.h"
#include "tests/integration/tf_tensor.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"
#include "transport/transport.h"

namespace portico {
namespace {

constexpr int kCalls = 10'000;

/// Takes calls and keeps them. Thread-safe.
class SilentPeer final : public CallHandler {
 public:
  SilentPeer() : transport_(NewTransports({}, Clock::Real())) {
    auto listener = transport_->Listen("zmq+tcp://127.0.0.1:0", *this, {});
    PORTICO_CHECK(listener.ok());
    listener_ = *std::move(listener);
  }
  ~SilentPeer() override {
    std::vector<PeerReply> unanswered;
    {
      MutexLock lock(&mutex_);
      unanswered.swap(calls_);
    }
    unanswered.clear();
    listener_.reset();
  }

  const std::string& endpoint() const { return listener_->endpoint(); }

  void OnCall(PeerMessage call, PeerReply reply) override {
    MutexLock lock(&mutex_);
    calls_.push_back(std::move(reply));
    arrived_.NotifyAll();
  }

  /// Waits until that many calls have come. False when they do not within `timeout`.
  bool Await(size_t calls, absl::Duration timeout) {
    const absl::Time until = absl::Now() + timeout;
    MutexLock lock(&mutex_);
    while (calls_.size() < calls) {
      if (absl::Now() >= until) return false;
      arrived_.WaitFor(&mutex_, until - absl::Now());
    }
    return true;
  }

 private:
  const std::unique_ptr<Transport> transport_;
  std::unique_ptr<Listener> listener_;
  Mutex mutex_;
  CondVar arrived_;
  std::vector<PeerReply> calls_ ABSL_GUARDED_BY(mutex_);
};

/// Many Predict calls of one client under way at once. For one thread.
class HeldCalls {
 public:
  explicit HeldCalls(const std::string& address)
      : stub_(tensorflow::serving::PredictionService::NewStub(
            grpc::CreateChannel(address, grpc::InsecureChannelCredentials()))) {
    request_.mutable_model_spec()->set_name("waits");
    (*request_.mutable_inputs())["x"] = ToTensorFlow(Tensor::Of<float>({1, 2}, {1, 2}));
  }

  ~HeldCalls() {
    for (const auto& call : calls_) call->context.TryCancel();
    Finish();
    queue_.Shutdown();
  }

  void Start(int count) {
    for (int i = 0; i < count; ++i) {
      calls_.push_back(std::make_unique<Call>());
      Call& call = *calls_.back();
      call.context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(5));
      call.reader = stub_->AsyncPredict(&call.context, request_, &queue_);
      call.reader->Finish(&call.response, &call.status, &call);
    }
  }

  /// Waits for all; returns their statuses.
  std::vector<grpc::Status> Finish() {
    for (; finished_ < calls_.size(); ++finished_) {
      void* tag = nullptr;
      bool ok = false;
      PORTICO_CHECK(queue_.Next(&tag, &ok));
    }
    std::vector<grpc::Status> statuses;
    for (const auto& call : calls_) statuses.push_back(call->status);
    return statuses;
  }

 private:
  struct Call {
    grpc::ClientContext context;
    tensorflow::serving::PredictResponse response;
    grpc::Status status;
    std::unique_ptr<grpc::ClientAsyncResponseReader<tensorflow::serving::PredictResponse>> reader;
  };

  const std::unique_ptr<tensorflow::serving::PredictionService::Stub> stub_;
  tensorflow::serving::PredictRequest request_;
  grpc::CompletionQueue queue_;
  std::vector<std::unique_ptr<Call>> calls_;
  size_t finished_ = 0;
};

/// How many this process has.
int Threads() {
  const auto tasks = std::filesystem::directory_iterator("/proc/self/task");
  return static_cast<int>(std::distance(begin(tasks), end(tasks)));
}

TEST(SilentPeer, TenThousandHeldCallsCostNoThreadAndNoOtherModel) {
  const TempFolder folder;
  ModelBuilder()
      .Input("x", DType::kFloat, {"N", 2})
      .Output("y", DType::kFloat, {"N", 2})
      .Portal("Remote", "hub/silent", {"x"}, {"answer"}, {DType::kFloat}, {"N,2"})
      .Node("Relu", {"answer"}, {"y"})
      .WriteTo(folder.File("waits/1/model.onnx"));
  ModelBuilder()
      .Input("x", DType::kFloat, {"N", 2})
      .Output("y", DType::kFloat, {"N", 2})
      .Node("Relu", {"x"}, {"y"})
      .WriteTo(folder.File("other/1/model.onnx"));
  SilentPeer peer;
  Node::Options options = LocalNode("front", {{"waits", folder.File("waits")}, {"other", folder.File("other")}});
  options.peers["hub/silent"] = {peer.endpoint()};
  // The node's own limit, so that it is the node that ends the calls and not the client.
  options.default_policy.timeout = absl::Seconds(60);
  const std::unique_ptr<Node> node = StartNode(std::move(options));
  PredictClient client(node->grpc_address());
  const std::vector<NamedTensor> inputs = {{"x", Tensor::Of<float>({1, 2}, {-1, 5})}};
  const auto other_answers = [&] {
    auto outputs = client.Predict("other", inputs, absl::Seconds(30));
    return outputs.ok() && (*outputs)["y"].data<float>()[1] == 5;
  };

  // A few calls first, so that whatever starts threads lazily has done so.
  HeldCalls held(node->grpc_address());
  held.Start(100);
  ASSERT_TRUE(peer.Await(100, absl::Seconds(50)));
  ASSERT_TRUE(other_answers());
  const int threads = Threads();

  held.Start(kCalls - 100);
  ASSERT_TRUE(peer.Await(kCalls, absl::Seconds(50))) << "calls did not reach the peer while others were held";
  // An answered call of the other model may be on its way out.
  EXPECT_GE(node->inference().in_flight(), kCalls);
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(other_answers());
  EXPECT_LE(Threads(), threads + 4) << "a few may be others' business";
  EXPECT_GE(node->inference().in_flight(), kCalls) << "calls ended before their deadline";

  int expired = 0;
  for (const grpc::Status& status : held.Finish()) {
    expired += status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED &&
               absl::StrContains(status.error_message(), "hub/silent");
  }
  EXPECT_EQ(expired, kCalls);
  EXPECT_TRUE(other_answers());
  EXPECT_TRUE(node->inference().Drain(absl::Seconds(10))) << "calls that ended still count as inside";
  node->Stop();
}

}  // namespace
}  // namespace portico
