#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "node/node.h"
#include "tensorflow_serving/predict.grpc.pb.h"
#include "tests/node/frontend/raw_http.h"
#include "tests/node/frontend/slow_predict.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

using Call = PredictUnderWay;

/// One worker, and a model of which kBusyRows keep it busy for long.
class CancelGrpcTest : public ::testing::Test {
 protected:
  CancelGrpcTest() {
    WriteSlowModel(folder_.File("slow/1/model.onnx"), BusyLayers());
    Node::Options options;
    options.workers = 1;
    options.grpc.address = "127.0.0.1:0";
    options.http.address = "127.0.0.1:0";
    options.models.push_back({"slow", folder_.Folder("slow")});
    auto node = Node::Start(std::move(options));
    EXPECT_TRUE(node.ok()) << node.status();
    node_ = *std::move(node);
    stub_ = PredictStub(*node_);
  }

  void Start(Call& call, int64_t rows) { StartPredict(*stub_, call, "slow", rows); }
  std::string Metrics() const { return RawHttp(node_->http_address()).Get("/metrics").body; }
  bool WaitForMetric(const std::string& line) const { return portico::WaitForMetric(*node_, line); }

  TempFolder folder_;
  std::unique_ptr<Node> node_;
  std::unique_ptr<tensorflow::serving::PredictionService::Stub> stub_;
};

TEST_F(CancelGrpcTest, AClientThatGivesUpTakesItsWaitingWorkAlong) {
  constexpr char kExpired[] =
      R"(portico_batch_expired_total{model="slow",segment="segment_0",signature="serving_default",version="1"} )";
  Call busy, waiting;
  Start(busy, kBusyRows);
  ASSERT_TRUE(WaitForMetric("portico_requests_in_flight 1\n"));
  Start(waiting, 8);
  ASSERT_TRUE(WaitForMetric("portico_requests_in_flight 2\n"));
  EXPECT_THAT(Metrics(), HasSubstr(absl::StrCat(kExpired, "0\n")));
  waiting.context.TryCancel();
  waiting.done.wait(false);
  EXPECT_EQ(waiting.status.error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(WaitForMetric(absl::StrCat(kExpired, "1\n")));
  EXPECT_FALSE(busy.done) << "the worker was to be at work all the while";
  busy.done.wait(false);
  EXPECT_TRUE(busy.status.ok()) << busy.status.error_message();
  // One run: the other one's rows were never computed.
  EXPECT_THAT(Metrics(), HasSubstr(R"(portico_batch_run_seconds_count{model="slow",segment="segment_0",)"
                                   R"(signature="serving_default",version="1"} 1)"));
}

}  // namespace
}  // namespace portico
