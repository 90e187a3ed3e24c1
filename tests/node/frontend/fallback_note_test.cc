// Clients are told when a portal was answered by its fallback, here or further down.

#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "inference/grpc_service.grpc.pb.h"
#include "node/node.h"
#include "tensorflow_serving/predict.grpc.pb.h"
#include "tests/node/frontend/raw_http.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

namespace tfs = ::tensorflow::serving;
using ::testing::HasSubstr;
using ::testing::Not;

/// front → mid → a target that nobody serves, for which the policy has a default.
class FallbackNoteTest : public ::testing::Test {
 protected:
  FallbackNoteTest() {
    WritePortal("mid", "deep");
    mid_ = StartNode("mid", "deep", "tcp://127.0.0.1:1");
    WritePortal("front", "mid");
    front_ = StartNode("front", "mid", mid_->peer_endpoint());
  }
  void WritePortal(const std::string& name, const std::string& target) {
    ModelBuilder model;
    model.Input("x", DType::kFloat, {"N", 2}).Output("y", DType::kFloat, {"N", 2});
    model.Portal("Remote", target, {"x"}, {"y"}, {DType::kFloat}, {"N,2"});
    model.WriteTo(folder_.File(name + "/1/model.onnx"));
  }
  std::unique_ptr<Node> StartNode(const std::string& name, const std::string& target, const std::string& peer) {
    Node::Options options;
    options.name = name;
    options.grpc.address = "127.0.0.1:0";
    options.http.address = "127.0.0.1:0";
    options.peer = "tcp://127.0.0.1:0";
    options.models.push_back({name, folder_.Folder(name)});
    options.peers[target] = {peer};
    OnErrorPolicy& on_error = options.policies["deep"].on_error;
    on_error.kind = OnErrorPolicy::Kind::kDefaults;
    on_error.defaults["y"] = "7.5";
    auto node = Node::Start(std::move(options));
    EXPECT_TRUE(node.ok()) << node.status();
    return *std::move(node);
  }
  static std::string Note(const grpc::ClientContext& context) {
    const auto& metadata = context.GetServerTrailingMetadata();
    const auto found = metadata.find("x-portico-fallback");
    return found == metadata.end() ? "" : std::string(found->second.data(), found->second.size());
  }

  TempFolder folder_;
  std::unique_ptr<Node> mid_, front_;
};

TEST_F(FallbackNoteTest, RestAnswersHaveAHeader) {
  for (const Node* node : {mid_.get(), front_.get()}) {
    const std::string model = node == mid_.get() ? "mid" : "front";
    RawHttp client(node->http_address());
    const RawResponse tfs = client.Post("/v1/models/" + model + ":predict", R"({"instances":[[1,2],[3,4]]})");
    EXPECT_EQ(tfs.code, 200) << tfs.body;
    EXPECT_THAT(tfs.body, HasSubstr("7.5"));
    EXPECT_THAT(tfs.head, HasSubstr("X-Portico-Fallback: deep=defaults\r\n"));
    const RawResponse v2 = client.Post("/v2/models/" + model + "/infer",
                                       R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]})");
    EXPECT_EQ(v2.code, 200) << v2.body;
    EXPECT_THAT(v2.head, HasSubstr("X-Portico-Fallback: deep=defaults\r\n"));
  }
  EXPECT_THAT(RawHttp(mid_->http_address()).Get("/metrics").body,
              HasSubstr("portico_portal_fallbacks_total{kind=\"defaults\",target=\"deep\"} 4\n"));
  EXPECT_THAT(RawHttp(front_->http_address()).Get("/metrics").body, Not(HasSubstr("portico_portal_fallbacks_total")));
}

TEST_F(FallbackNoteTest, GrpcAnswersHaveTrailingMetadata) {
  const auto channel = grpc::CreateChannel(front_->grpc_address(), grpc::InsecureChannelCredentials());
  {
    grpc::ClientContext context;
    tfs::PredictRequest request;
    tfs::PredictResponse response;
    request.mutable_model_spec()->set_name("front");
    tensorflow::TensorProto& x = (*request.mutable_inputs())["x"];
    x.set_dtype(tensorflow::DT_FLOAT);
    x.mutable_tensor_shape()->add_dim()->set_size(1);
    x.mutable_tensor_shape()->add_dim()->set_size(2);
    x.add_float_val(1);
    x.add_float_val(2);
    const grpc::Status status = tfs::PredictionService::NewStub(channel)->Predict(&context, request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(Note(context), "deep=defaults");
  }
  inference::ModelInferRequest request;
  request.set_model_name("front");
  inference::ModelInferRequest::InferInputTensor& x = *request.add_inputs();
  x.set_name("x");
  x.set_datatype("FP32");
  x.add_shape(1);
  x.add_shape(2);
  x.mutable_contents()->add_fp32_contents(1);
  x.mutable_contents()->add_fp32_contents(2);
  const auto stub = inference::GRPCInferenceService::NewStub(channel);
  {
    grpc::ClientContext context;
    inference::ModelInferResponse response;
    const grpc::Status status = stub->ModelInfer(&context, request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(Note(context), "deep=defaults");
    EXPECT_EQ(response.parameters().at("portico_fallback").string_param(), "deep=defaults");
  }
  // A stream has one set of metadata for all: there the answer itself says it.
  grpc::ClientContext context;
  const auto stream = stub->ModelStreamInfer(&context);
  ASSERT_TRUE(stream->Write(request));
  inference::ModelStreamInferResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.error_message(), "");
  EXPECT_EQ(response.infer_response().parameters().at("portico_fallback").string_param(), "deep=defaults");
  stream->WritesDone();
  while (stream->Read(&response)) {
  }
  EXPECT_TRUE(stream->Finish().ok());
}

}  // namespace
}  // namespace portico
