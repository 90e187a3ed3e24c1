// A client that goes takes its work along at every hop: three nodes in a chain, and the deepest one's queue.

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "node/node.h"
#include "tensorflow_serving/predict.grpc.pb.h"
#include "tests/node/frontend/raw_http.h"
#include "tests/node/frontend/slow_predict.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using Call = PredictUnderWay;

/// front → mid → deep. The deep node has one worker, and a model of which kBusyRows keep it busy for long.
class CancelChainTest : public ::testing::TestWithParam<const char*> {
 protected:
  CancelChainTest() {
    WriteSlowModel(folder_.File("deep/1/model.onnx"), BusyLayers());
    deep_ = StartNode("deep", "");
    WritePortal("mid", "deep");
    mid_ = StartNode("mid", deep_->peer_endpoint());
    WritePortal("front", "mid");
    front_ = StartNode("front", mid_->peer_endpoint());
    deep_stub_ = PredictStub(*deep_);
    front_stub_ = PredictStub(*front_);
  }
  ~CancelChainTest() override {
    if (busy_started_) busy_.done.wait(false);
  }

  /// All connections made, and the deep node's worker at work for long.
  void KeepDeepBusy() {
    Call warm;
    StartPredict(*front_stub_, warm, "front", 1);
    warm.done.wait(false);
    ASSERT_TRUE(warm.status.ok()) << warm.status.error_message();
    // It counts a moment longer than its answer takes.
    ASSERT_TRUE(WaitForMetric(*deep_, "portico_requests_in_flight 0\n"));
    busy_started_ = true;
    StartPredict(*deep_stub_, busy_, "deep", kBusyRows);
    ASSERT_TRUE(WaitForMetric(*deep_, "portico_requests_in_flight 1\n"));
  }
  /// While the deep node's worker is at work, nothing of the other request is left at the hops before it, where the
  /// portals' calls ended with `code` (empty: any). At the deep node it has left the queue: it is never run.
  void ExpectDropped(const std::string& code) {
    for (const Node* node : {front_.get(), mid_.get()}) {
      const char* target = node == front_.get() ? "mid" : "deep";
      EXPECT_TRUE(WaitForMetric(*node, "portico_requests_in_flight 0\n"));
      EXPECT_TRUE(WaitForMetric(*node, absl::StrCat("portico_portal_calls_in_flight{target=\"", target, "\"} 0\n")));
      if (code.empty()) continue;
      EXPECT_TRUE(WaitForMetric(
          *node, absl::StrCat("portico_portal_calls_total{code=\"", code, "\",target=\"", target, "\"} 1\n")));
    }
    EXPECT_FALSE(busy_.done) << "the worker was to be at work all the while";
    busy_.done.wait(false);
    EXPECT_TRUE(busy_.status.ok()) << busy_.status.error_message();
    const std::string series = R"({model="deep",segment="segment_0",signature="serving_default",version="1"} )";
    EXPECT_TRUE(WaitForMetric(*deep_, absl::StrCat("portico_batch_expired_total", series, "1\n")));
    EXPECT_TRUE(WaitForMetric(*deep_, "portico_requests_in_flight 0\n"));
    EXPECT_TRUE(WaitForMetric(*deep_, absl::StrCat("portico_batch_run_seconds_count", series, "2\n")));
    Call after;
    StartPredict(*front_stub_, after, "front", 1);
    after.done.wait(false);
    EXPECT_TRUE(after.status.ok()) << after.status.error_message();
  }

  /// A model that is nothing but a portal.
  void WritePortal(const std::string& name, const std::string& target) {
    ModelBuilder model;
    model.Input("x", DType::kFloat, {"N", kSlowWidth}).Output("y", DType::kFloat, {"N", kSlowWidth});
    model.Portal("Remote", target, {"x"}, {"y"}, {DType::kFloat}, {absl::StrCat("N,", kSlowWidth)});
    model.WriteTo(folder_.File(name + "/1/model.onnx"));
  }
  std::unique_ptr<Node> StartNode(const std::string& name, const std::string& next) {
    Node::Options options;
    options.name = name;
    options.workers = 1;
    options.grpc.address = "127.0.0.1:0";
    options.http.address = "127.0.0.1:0";
    options.peer = GetParam();
    options.models.push_back({name, folder_.Folder(name)});
    if (!next.empty()) options.peers[name == "mid" ? "deep" : "mid"] = {next};
    auto node = Node::Start(std::move(options));
    EXPECT_TRUE(node.ok()) << node.status();
    return *std::move(node);
  }

  TempFolder folder_;
  std::unique_ptr<Node> deep_, mid_, front_;
  std::unique_ptr<tensorflow::serving::PredictionService::Stub> deep_stub_, front_stub_;
  Call busy_;
  bool busy_started_ = false;
};

TEST_P(CancelChainTest, AGrpcClientTakesTheDeepestNodesQueuedWorkAlong) {
  KeepDeepBusy();
  Call waiting;
  StartPredict(*front_stub_, waiting, "front", 8);
  ASSERT_TRUE(WaitForMetric(*deep_, "portico_requests_in_flight 2\n"));
  waiting.context.TryCancel();
  waiting.done.wait(false);
  EXPECT_EQ(waiting.status.error_code(), grpc::StatusCode::CANCELLED);
  ExpectDropped("CANCELLED");
}

TEST_P(CancelChainTest, ARestClientThatClosesItsConnectionDoesSo) {
  KeepDeepBusy();
  {
    RawHttp client(front_->http_address());
    std::string row = "0";
    for (int64_t i = 1; i < kSlowWidth; ++i) row += ",0";
    const std::string body = absl::StrCat("{\"instances\":[[", row, "]]}");
    client.Send(absl::StrCat("POST /v1/models/front:predict HTTP/1.1\r\nHost: x\r\nContent-Length: ", body.size(),
                             "\r\n\r\n", body));
    ASSERT_TRUE(WaitForMetric(*deep_, "portico_requests_in_flight 2\n"));
  }
  ExpectDropped("CANCELLED");
}

TEST_P(CancelChainTest, ADeadlineDropsWorkAtEveryHop) {
  KeepDeepBusy();
  Call waiting;
  waiting.context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(500));
  StartPredict(*front_stub_, waiting, "front", 8);
  waiting.done.wait(false);
  EXPECT_EQ(waiting.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  // At any hop either the deadline or the cancellation of the hop before it comes first.
  ExpectDropped("");
}

INSTANTIATE_TEST_SUITE_P(Transports, CancelChainTest,
                         ::testing::Values("tcp://127.0.0.1:0", "zmq+tcp://127.0.0.1:0", "grpc://127.0.0.1:0"),
                         [](const auto& info) {
                           const std::string url = info.param;
                           return url[0] == 't' ? "Stream" : url[0] == 'z' ? "Zmq" : "Grpc";
                         });

}  // namespace
}  // namespace portico
