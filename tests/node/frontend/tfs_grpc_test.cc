#include "node/frontend/tfs_grpc.h"

#include "gmock/gmock.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "tensorflow_serving/model_service.grpc.pb.h"
#include "tensorflow_serving/predict.grpc.pb.h"
#include "tests/node/frontend/serving_node.h"

namespace portico {
namespace {

namespace tfs = ::tensorflow::serving;
using ::testing::HasSubstr;

/// Talks to one node as a client of TensorFlow Serving does.
class TfsGrpcTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    serving_ = new ServingNode;
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    channel_ = new std::shared_ptr<grpc::Channel>(
        grpc::CreateCustomChannel(serving_->node().grpc_address(), grpc::InsecureChannelCredentials(), arguments));
  }
  static void TearDownTestSuite() {
    delete channel_;
    delete serving_;
  }

  static tensorflow::TensorProto Floats(std::initializer_list<int64_t> shape, const std::vector<float>& values) {
    tensorflow::TensorProto proto;
    proto.set_dtype(tensorflow::DT_FLOAT);
    for (const int64_t extent : shape) proto.mutable_tensor_shape()->add_dim()->set_size(extent);
    proto.set_tensor_content(values.data(), values.size() * sizeof(float));
    return proto;
  }
  static std::vector<float> ValuesOf(const tensorflow::TensorProto& proto) {
    std::vector<float> values(proto.tensor_content().size() / sizeof(float));
    std::memcpy(values.data(), proto.tensor_content().data(), proto.tensor_content().size());
    return values;
  }
  static tfs::PredictRequest PairRequest() {
    tfs::PredictRequest request;
    request.mutable_model_spec()->set_name("pair");
    (*request.mutable_inputs())["a"] = Floats({1, 2}, {1, 2});
    (*request.mutable_inputs())["b"] = Floats({1, 2}, {10, 20});
    return request;
  }

  grpc::Status Predict(const tfs::PredictRequest& request) {
    grpc::ClientContext context;
    return Stub()->Predict(&context, request, &response_);
  }
  void ExpectError(const tfs::PredictRequest& request, grpc::StatusCode code, const std::string& message) {
    const grpc::Status status = Predict(request);
    EXPECT_EQ(status.error_code(), code) << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr(message));
  }
  static std::unique_ptr<tfs::PredictionService::Stub> Stub() { return tfs::PredictionService::NewStub(*channel_); }
  static std::unique_ptr<tfs::ModelService::Stub> Models() { return tfs::ModelService::NewStub(*channel_); }

  static ServingNode* serving_;
  static std::shared_ptr<grpc::Channel>* channel_;
  tfs::PredictResponse response_;
};

ServingNode* TfsGrpcTest::serving_ = nullptr;
std::shared_ptr<grpc::Channel>* TfsGrpcTest::channel_ = nullptr;

TEST_F(TfsGrpcTest, PredictAnswersWithOutputsAndResolvedSpec) {
  ASSERT_TRUE(Predict(PairRequest()).ok());
  EXPECT_EQ(response_.model_spec().name(), "pair");
  EXPECT_EQ(response_.model_spec().version().value(), 3);
  EXPECT_EQ(response_.model_spec().signature_name(), "serving_default");
  EXPECT_EQ(ValuesOf(response_.outputs().at("sum")), (std::vector<float>{11, 22}));
  EXPECT_EQ(ValuesOf(response_.outputs().at("diff")), (std::vector<float>{-9, -18}));
}

TEST_F(TfsGrpcTest, TypedValuesFillTheShape) {
  auto request = PairRequest();
  auto& a = (*request.mutable_inputs())["a"];
  a.clear_tensor_content();
  a.add_float_val(5);
  ASSERT_TRUE(Predict(request).ok());
  EXPECT_EQ(ValuesOf(response_.outputs().at("sum")), (std::vector<float>{15, 25}));
}

TEST_F(TfsGrpcTest, OutputFilterSelects) {
  auto request = PairRequest();
  request.add_output_filter("diff");
  ASSERT_TRUE(Predict(request).ok());
  EXPECT_EQ(response_.outputs_size(), 1);
  EXPECT_TRUE(response_.outputs().contains("diff"));
}

TEST_F(TfsGrpcTest, LargeTensorsPassBothWays) {
  constexpr int64_t kRows = 1 << 20;
  std::vector<float> a(2 * kRows), b(2 * kRows, 1);
  for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i % 1000);
  auto request = PairRequest();
  (*request.mutable_inputs())["a"] = Floats({kRows, 2}, a);
  (*request.mutable_inputs())["b"] = Floats({kRows, 2}, b);
  ASSERT_TRUE(Predict(request).ok());
  const std::vector<float> sum = ValuesOf(response_.outputs().at("sum"));
  ASSERT_EQ(sum.size(), a.size());
  EXPECT_EQ(sum[123456], a[123456] + 1);
  EXPECT_EQ(sum.back(), a.back() + 1);
}

TEST_F(TfsGrpcTest, StringsTravelAsStringVal) {
  tfs::PredictRequest request;
  request.mutable_model_spec()->set_name("pub/text");
  auto& text = (*request.mutable_inputs())["text"];
  text.set_dtype(tensorflow::DT_STRING);
  text.mutable_tensor_shape()->add_dim()->set_size(2);
  text.add_string_val("a");
  text.add_string_val("b\xff");
  const grpc::Status status = Predict(request);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_THAT(response_.outputs().at("same").string_val(), ::testing::ElementsAre("a", "b\xff"));
}

TEST_F(TfsGrpcTest, ErrorsHaveTheCodesAndWordsOfTheContract) {
  using grpc::StatusCode;
  auto request = PairRequest();
  request.clear_model_spec();
  ExpectError(request, StatusCode::INVALID_ARGUMENT, "Missing ModelSpec");
  request.mutable_model_spec();
  ExpectError(request, StatusCode::INVALID_ARGUMENT, "ModelSpec has no name specified.");
  request.mutable_model_spec()->set_name("foo");
  ExpectError(request, StatusCode::NOT_FOUND, "Servable not found for request: Latest(foo)");
  request.mutable_model_spec()->mutable_version()->set_value(5);
  ExpectError(request, StatusCode::NOT_FOUND, "Servable not found for request: Specific(foo, 5)");
  request = PairRequest();
  request.mutable_model_spec()->set_version_label("x");
  ExpectError(request, StatusCode::INVALID_ARGUMENT, "Unrecognized servable version label: x");
  request = PairRequest();
  request.mutable_model_spec()->set_signature_name("x");
  ExpectError(request, StatusCode::FAILED_PRECONDITION, "Serving signature key \"x\" not found.");
  request = PairRequest();
  request.mutable_inputs()->erase("b");
  ExpectError(request, StatusCode::INVALID_ARGUMENT, "input size does not match signature: 1!=2");
  (*request.mutable_inputs())["c"] = Floats({1, 2}, {1, 2});
  ExpectError(request, StatusCode::INVALID_ARGUMENT, "'b'");
  request = PairRequest();
  (*request.mutable_inputs())["a"].set_tensor_content("xyz");
  ExpectError(request, StatusCode::INVALID_ARGUMENT, "tensor parsing error: a");
  (*request.mutable_inputs())["a"] = Floats({1, 3}, {1, 2, 3});
  ExpectError(request, StatusCode::INVALID_ARGUMENT, "'a'");
  auto& wrong = (*request.mutable_inputs())["a"];
  wrong.Clear();
  wrong.set_dtype(tensorflow::DT_INT64);
  ExpectError(request, StatusCode::INVALID_ARGUMENT, "int64");
  request = PairRequest();
  request.add_output_filter("z");
  ExpectError(request, StatusCode::INVALID_ARGUMENT,
              "output tensor alias not found in signature: z Outputs expected to be in the set {sum,diff}.");
  request.set_output_filter(0, "sum");
  request.add_output_filter("sum");
  ExpectError(request, StatusCode::INVALID_ARGUMENT, "duplicate output tensor alias: sum");
  EXPECT_TRUE(Predict(PairRequest()).ok());
}

TEST_F(TfsGrpcTest, GarbageIsRefusedAndTheNodeServesOn) {
  grpc::GenericStub stub(*channel_);
  for (const std::string& garbage : {std::string("\xff\xff\xff"), std::string("\x12\x7f"), std::string(100, '\x0a')}) {
    const grpc::Slice slice(garbage);
    grpc::ByteBuffer answer;
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    grpc::Status status;
    const auto call = stub.PrepareUnaryCall(&context, "/tensorflow.serving.PredictionService/Predict",
                                            grpc::ByteBuffer(&slice, 1), &queue);
    call->StartCall();
    call->Finish(&answer, &status, nullptr);
    void* tag;
    bool ok = false;
    ASSERT_TRUE(queue.Next(&tag, &ok));
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << status.error_message();
  }
  EXPECT_TRUE(Predict(PairRequest()).ok());
}

TEST_F(TfsGrpcTest, ExpiredDeadlineIsToldAndTheNodeServesOn) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() - std::chrono::seconds(1));
  EXPECT_EQ(Stub()->Predict(&context, PairRequest(), &response_).error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(Predict(PairRequest()).ok());
}

TEST_F(TfsGrpcTest, SampledTraceIsAnsweredAndKept) {
  const std::string trace = "0123456789abcdef0123456789abcdef";
  grpc::ClientContext context;
  context.AddMetadata("traceparent", "00-" + trace + "-00000000000000aa-01");
  ASSERT_TRUE(Stub()->Predict(&context, PairRequest(), &response_).ok());
  const auto& trailing = context.GetServerTrailingMetadata();
  const auto answered = trailing.find("traceparent");
  ASSERT_NE(answered, trailing.end());
  EXPECT_THAT(std::string(answered->second.data(), answered->second.size()), HasSubstr(trace));
  grpc::ClientContext unsampled;
  ASSERT_TRUE(Stub()->Predict(&unsampled, PairRequest(), &response_).ok());
  EXPECT_EQ(unsampled.GetServerTrailingMetadata().count("traceparent"), 0u);
}

TEST_F(TfsGrpcTest, MetadataPacksSignatureDefs) {
  tfs::GetModelMetadataRequest request;
  tfs::GetModelMetadataResponse response;
  request.mutable_model_spec()->set_name("pair");
  {
    grpc::ClientContext context;
    const grpc::Status status = Stub()->GetModelMetadata(&context, request, &response);
    EXPECT_EQ(status.error_message(), "GetModelMetadataRequest must specify at least one metadata_field");
  }
  request.add_metadata_field("signature_def");
  {
    grpc::ClientContext context;
    ASSERT_TRUE(Stub()->GetModelMetadata(&context, request, &response).ok());
  }
  EXPECT_EQ(response.model_spec().version().value(), 3);
  tfs::SignatureDefMap map;
  ASSERT_TRUE(response.metadata().at("signature_def").UnpackTo(&map));
  const auto& def = map.signature_def().at("serving_default");
  EXPECT_EQ(def.method_name(), "tensorflow/serving/predict");
  EXPECT_EQ(def.inputs().at("a").dtype(), tensorflow::DT_FLOAT);
  EXPECT_EQ(def.inputs().at("a").tensor_shape().dim(0).size(), -1);
  EXPECT_EQ(def.outputs().at("diff").tensor_shape().dim(1).size(), 2);
  request.add_metadata_field("X");
  grpc::ClientContext context;
  EXPECT_EQ(Stub()->GetModelMetadata(&context, request, &response).error_message(),
            "Metadata field X is not supported");
}

TEST_F(TfsGrpcTest, StatusTellsStatesAndErrors) {
  const auto ask = [](const std::string& name, int64_t version, tfs::GetModelStatusResponse* response) {
    tfs::GetModelStatusRequest request;
    if (!name.empty()) request.mutable_model_spec()->set_name(name);
    if (version >= 0) request.mutable_model_spec()->mutable_version()->set_value(version);
    response->Clear();
    grpc::ClientContext context;
    return Models()->GetModelStatus(&context, request, response);
  };
  tfs::GetModelStatusResponse response;
  ASSERT_TRUE(ask("pair", -1, &response).ok());
  ASSERT_EQ(response.model_version_status_size(), 1);
  EXPECT_EQ(response.model_version_status(0).version(), 3);
  EXPECT_EQ(response.model_version_status(0).state(), tfs::ModelVersionStatus::AVAILABLE);
  EXPECT_EQ(response.model_version_status(0).status().error_code(), 0);
  ASSERT_TRUE(ask("broken", -1, &response).ok());
  EXPECT_EQ(response.model_version_status(0).state(), tfs::ModelVersionStatus::END);
  EXPECT_NE(response.model_version_status(0).status().error_code(), 0);
  EXPECT_EQ(ask("pair", 9, &response).error_message(), "Could not find version 9 of model pair");
  EXPECT_EQ(ask("foo", -1, &response).error_message(), "Could not find any versions of model foo");
  EXPECT_EQ(ask("", -1, &response).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

}  // namespace
}  // namespace portico
