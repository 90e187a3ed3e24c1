#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
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

namespace tfs = ::tensorflow::serving;
using ::testing::HasSubstr;

using Call = PredictUnderWay;

/// One worker, and a model of which 4096 rows keep it busy for long.
class CancelGrpcTest : public ::testing::Test {
 protected:
  CancelGrpcTest() {
    WriteSlowModel(folder_.File("slow/1/model.onnx"), 24);
    Node::Options options;
    options.workers = 1;
    options.grpc.address = "127.0.0.1:0";
    options.http.address = "127.0.0.1:0";
    options.models.push_back({"slow", folder_.Folder("slow")});
    auto node = Node::Start(std::move(options));
    EXPECT_TRUE(node.ok()) << node.status();
    node_ = *std::move(node);
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    stub_ = tfs::PredictionService::NewStub(
        grpc::CreateCustomChannel(node_->grpc_address(), grpc::InsecureChannelCredentials(), arguments));
  }

  void Start(Call& call, int64_t rows) {
    call.request.mutable_model_spec()->set_name("slow");
    tensorflow::TensorProto& x = (*call.request.mutable_inputs())["x"];
    x.set_dtype(tensorflow::DT_FLOAT);
    x.mutable_tensor_shape()->add_dim()->set_size(rows);
    x.mutable_tensor_shape()->add_dim()->set_size(kSlowWidth);
    x.set_tensor_content(std::string(static_cast<size_t>(rows * kSlowWidth) * sizeof(float), '\0'));
    stub_->async()->Predict(&call.context, &call.request, &call.response, [&call](grpc::Status status) {
      call.status = std::move(status);
      call.done = true;
      call.done.notify_one();
    });
  }
  std::string Metrics() const { return RawHttp(node_->http_address()).Get("/metrics").body; }
  /// Until /metrics has `line`; false when that takes over 20 s.
  bool WaitForMetric(const std::string& line) const {
    for (const absl::Time until = absl::Now() + absl::Seconds(20); absl::Now() < until;) {
      if (absl::StrContains(Metrics(), line)) return true;
      absl::SleepFor(absl::Milliseconds(2));
    }
    return false;
  }

  TempFolder folder_;
  std::unique_ptr<Node> node_;
  std::unique_ptr<tfs::PredictionService::Stub> stub_;
};

TEST_F(CancelGrpcTest, AClientThatGivesUpTakesItsWaitingWorkAlong) {
  constexpr char kExpired[] =
      R"(portico_batch_expired_total{model="slow",segment="segment_0",signature="serving_default",version="1"} )";
  Call busy, waiting;
  Start(busy, 4096);
  ASSERT_TRUE(WaitForMetric("portico_requests_in_flight 1\n"));
  Start(waiting, 8192);
  ASSERT_TRUE(WaitForMetric("portico_requests_in_flight 2\n"));
  EXPECT_THAT(Metrics(), HasSubstr(absl::StrCat(kExpired, "0\n")));
  waiting.context.TryCancel();
  waiting.done.wait(false);
  EXPECT_EQ(waiting.status.error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(WaitForMetric(absl::StrCat(kExpired, "1\n")));
  busy.done.wait(false);
  EXPECT_TRUE(busy.status.ok()) << busy.status.error_message();
  // One run: the other one's rows were never computed.
  EXPECT_THAT(Metrics(), HasSubstr(R"(portico_batch_run_seconds_count{model="slow",segment="segment_0",)"
                                   R"(signature="serving_default",version="1"} 1)"));
}

}  // namespace
}  // namespace portico
