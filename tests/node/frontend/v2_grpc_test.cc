#include "node/frontend/v2_grpc.h"

#include <set>
#include <thread>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "grpc/health/health.grpc.pb.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "inference/grpc_service.grpc.pb.h"
#include "tests/node/frontend/serving_node.h"

namespace portico {
namespace {

namespace v2 = ::inference;
namespace health = ::grpc::health::v1;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Floats(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

/// Talks to one node as a client of Triton or KServe does.
class V2GrpcTest : public ::testing::Test {
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

  static void AddInput(v2::ModelInferRequest* request, const std::string& name, std::vector<int64_t> shape,
                       const std::vector<float>& values) {
    auto* input = request->add_inputs();
    input->set_name(name);
    input->set_datatype("FP32");
    for (const int64_t extent : shape) input->add_shape(extent);
    request->add_raw_input_contents(Floats(values));
  }
  static v2::ModelInferRequest PairRequest(const std::string& id = "") {
    v2::ModelInferRequest request;
    request.set_model_name("pair");
    request.set_id(id);
    AddInput(&request, "a", {1, 2}, {1, 2});
    AddInput(&request, "b", {1, 2}, {10, 20});
    return request;
  }

  grpc::Status Infer(const v2::ModelInferRequest& request) {
    grpc::ClientContext context;
    return Stub()->ModelInfer(&context, request, &response_);
  }
  void ExpectError(const v2::ModelInferRequest& request, grpc::StatusCode code, const std::string& message) {
    const grpc::Status status = Infer(request);
    EXPECT_EQ(status.error_code(), code) << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr(message));
  }
  static std::unique_ptr<v2::GRPCInferenceService::Stub> Stub() { return v2::GRPCInferenceService::NewStub(*channel_); }

  static ServingNode* serving_;
  static std::shared_ptr<grpc::Channel>* channel_;
  v2::ModelInferResponse response_;
};

ServingNode* V2GrpcTest::serving_ = nullptr;
std::shared_ptr<grpc::Channel>* V2GrpcTest::channel_ = nullptr;

TEST_F(V2GrpcTest, InferAnswersRaw) {
  const grpc::Status status = Infer(PairRequest("seven"));
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response_.model_name(), "pair");
  EXPECT_EQ(response_.model_version(), "3");
  EXPECT_EQ(response_.id(), "seven");
  ASSERT_EQ(response_.outputs_size(), 2);
  EXPECT_EQ(response_.outputs(0).name(), "sum");
  EXPECT_THAT(response_.outputs(0).shape(), ElementsAre(1, 2));
  EXPECT_EQ(response_.raw_output_contents(0), Floats({11, 22}));
  EXPECT_EQ(response_.raw_output_contents(1), Floats({-9, -18}));
}

TEST_F(V2GrpcTest, RequestedOutputsAndVersion) {
  auto request = PairRequest();
  request.set_model_version("3");
  request.add_outputs()->set_name("diff");
  ASSERT_TRUE(Infer(request).ok());
  ASSERT_EQ(response_.outputs_size(), 1);
  EXPECT_EQ(response_.outputs(0).name(), "diff");
}

TEST_F(V2GrpcTest, TypedContentsAndStrings) {
  v2::ModelInferRequest request;
  request.set_model_name("pub/text");
  auto* input = request.add_inputs();
  input->set_name("text");
  input->set_datatype("BYTES");
  input->add_shape(2);
  input->mutable_contents()->add_bytes_contents("a");
  input->mutable_contents()->add_bytes_contents("b\xff");
  const grpc::Status status = Infer(request);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response_.raw_output_contents(0), std::string("\1\0\0\0a\2\0\0\0b\xff", 11));
}

TEST_F(V2GrpcTest, LargeTensorsPassBothWays) {
  constexpr int64_t kRows = 1 << 20;
  std::vector<float> a(2 * kRows), b(2 * kRows, 1);
  for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i % 1000);
  v2::ModelInferRequest request;
  request.set_model_name("pair");
  AddInput(&request, "a", {kRows, 2}, a);
  AddInput(&request, "b", {kRows, 2}, b);
  const grpc::Status status = Infer(request);
  ASSERT_TRUE(status.ok()) << status.error_message();
  for (float& value : a) value += 1;
  EXPECT_TRUE(response_.raw_output_contents(0) == Floats(a));
}

TEST_F(V2GrpcTest, ErrorsHaveTheirCodes) {
  using grpc::StatusCode;
  auto request = PairRequest();
  request.set_model_name("foo");
  ExpectError(request, StatusCode::NOT_FOUND, "foo");
  request = PairRequest();
  request.set_model_version("9");
  ExpectError(request, StatusCode::NOT_FOUND, "9");
  request.set_model_version("x");
  ExpectError(request, StatusCode::INVALID_ARGUMENT, "version 'x'");
  request = PairRequest();
  request.mutable_inputs(0)->set_datatype("INT32");
  ExpectError(request, StatusCode::INVALID_ARGUMENT, "'a'");
  request = PairRequest();
  request.mutable_inputs(0)->set_shape(1, 1);
  ExpectError(request, StatusCode::INVALID_ARGUMENT, "input 'a'");
  request = PairRequest();
  request.mutable_inputs()->RemoveLast();
  request.mutable_raw_input_contents()->RemoveLast();
  ExpectError(request, StatusCode::INVALID_ARGUMENT, "Missing but required: {b}");
  request = PairRequest();
  request.add_outputs()->set_name("z");
  ExpectError(request, StatusCode::INVALID_ARGUMENT, "z");
  request = PairRequest();
  (*request.mutable_parameters())["signature"].set_string_param("nope");
  ExpectError(request, StatusCode::INVALID_ARGUMENT, "no signature 'nope'");
  (*request.mutable_parameters())["signature"].set_string_param("serving_default");
  EXPECT_TRUE(Infer(request).ok());
  (*request.mutable_parameters())["sequence_id"].set_int64_param(1);
  ExpectError(request, StatusCode::UNIMPLEMENTED, "sequence_id");
}

TEST_F(V2GrpcTest, ServerAndModelsTellAboutThemselves) {
  const auto stub = Stub();
  {
    grpc::ClientContext context;
    v2::ServerLiveResponse live;
    ASSERT_TRUE(stub->ServerLive(&context, {}, &live).ok());
    EXPECT_TRUE(live.live());
  }
  {
    grpc::ClientContext context;
    v2::ServerReadyResponse ready;
    ASSERT_TRUE(stub->ServerReady(&context, {}, &ready).ok());
    EXPECT_FALSE(ready.ready());  // model 'broken' is
  }
  for (const auto& [name, want] : {std::pair("pair", true), std::pair("broken", false), std::pair("foo", false)}) {
    grpc::ClientContext context;
    v2::ModelReadyRequest request;
    v2::ModelReadyResponse ready;
    request.set_name(name);
    ASSERT_TRUE(stub->ModelReady(&context, request, &ready).ok());
    EXPECT_EQ(ready.ready(), want) << name;
  }
  {
    grpc::ClientContext context;
    v2::ServerMetadataResponse metadata;
    ASSERT_TRUE(stub->ServerMetadata(&context, {}, &metadata).ok());
    EXPECT_EQ(metadata.name(), "portico");
    EXPECT_THAT(metadata.extensions(), ::testing::Contains("binary_tensor_data"));
  }
  {
    grpc::ClientContext context;
    v2::ModelMetadataRequest request;
    v2::ModelMetadataResponse metadata;
    request.set_name("pair");
    ASSERT_TRUE(stub->ModelMetadata(&context, request, &metadata).ok());
    EXPECT_EQ(metadata.platform(), "onnxruntime_onnx");
    EXPECT_THAT(metadata.versions(), ElementsAre("3"));
    ASSERT_EQ(metadata.inputs_size(), 2);
    EXPECT_EQ(metadata.inputs(0).datatype(), "FP32");
    EXPECT_THAT(metadata.inputs(0).shape(), ElementsAre(-1, 2));
    EXPECT_EQ(metadata.outputs_size(), 2);
  }
  {
    grpc::ClientContext context;
    v2::ModelConfigRequest request;
    v2::ModelConfigResponse config;
    request.set_name("pair");
    ASSERT_TRUE(stub->ModelConfig(&context, request, &config).ok());
    EXPECT_EQ(config.config().input(0).data_type(), 11);
    EXPECT_THAT(config.config().output(0).dims(), ElementsAre(-1, 2));
  }
  {
    grpc::ClientContext context;
    v2::ModelMetadataRequest request;
    v2::ModelMetadataResponse metadata;
    request.set_name("foo");
    EXPECT_EQ(stub->ModelMetadata(&context, request, &metadata).error_code(), grpc::StatusCode::NOT_FOUND);
  }
}

TEST_F(V2GrpcTest, StatisticsCountRequestsRowsAndRuns) {
  const auto read = [](const std::string& name, v2::ModelStatisticsResponse* response) {
    grpc::ClientContext context;
    v2::ModelStatisticsRequest request;
    request.set_name(name);
    return Stub()->ModelStatistics(&context, request, response);
  };
  v2::ModelStatisticsResponse before, after;
  ASSERT_TRUE(read("pair", &before).ok());
  auto request = PairRequest();
  request.clear_inputs();
  request.clear_raw_input_contents();
  AddInput(&request, "a", {3, 2}, std::vector<float>(6));
  AddInput(&request, "b", {3, 2}, std::vector<float>(6));
  ASSERT_TRUE(Infer(request).ok());
  request.mutable_inputs(0)->set_name("z");
  request.mutable_inputs(1)->mutable_shape()->Set(0, 2);
  EXPECT_FALSE(Infer(request).ok());
  ASSERT_TRUE(read("pair", &after).ok());
  ASSERT_EQ(after.model_stats_size(), 1);
  const v2::ModelStatistics &old = before.model_stats(0), &now = after.model_stats(0);
  EXPECT_EQ(now.version(), "3");
  EXPECT_EQ(now.inference_count() - old.inference_count(), 3);
  EXPECT_EQ(now.execution_count() - old.execution_count(), 1);
  EXPECT_EQ(now.inference_stats().success().count() - old.inference_stats().success().count(), 1);
  EXPECT_GT(now.inference_stats().compute_infer().ns(), old.inference_stats().compute_infer().ns());
  EXPECT_GT(now.last_inference(), absl::ToUnixMillis(absl::Now() - absl::Minutes(1)));
  bool of_three_rows = false;
  for (const auto& batch : now.batch_stats()) of_three_rows |= batch.batch_size() == 3;
  EXPECT_TRUE(of_three_rows);
  EXPECT_EQ(read("foo", &after).error_code(), grpc::StatusCode::NOT_FOUND);
  v2::ModelStatisticsResponse all;
  ASSERT_TRUE(read("", &all).ok());
  EXPECT_EQ(all.model_stats_size(), 3);
}

TEST_F(V2GrpcTest, RepositoryUnloadsAndLoads) {
  const auto stub = Stub();
  const auto ready = [&] {
    grpc::ClientContext context;
    v2::RepositoryIndexRequest request;
    v2::RepositoryIndexResponse index;
    request.set_ready(true);
    EXPECT_TRUE(stub->RepositoryIndex(&context, request, &index).ok());
    std::set<std::string> names;
    for (const auto& model : index.models()) names.insert(model.name() + ":" + model.version() + ":" + model.state());
    return names;
  };
  EXPECT_THAT(ready(), ElementsAre("count:1:READY", "pair:3:READY", "pub/text:1:READY"));
  {
    grpc::ClientContext context;
    v2::RepositoryModelUnloadRequest request;
    v2::RepositoryModelUnloadResponse response;
    request.set_model_name("count");
    ASSERT_TRUE(stub->RepositoryModelUnload(&context, request, &response).ok());
  }
  EXPECT_THAT(ready(), ElementsAre("pair:3:READY", "pub/text:1:READY"));
  {
    grpc::ClientContext context;
    v2::RepositoryModelLoadRequest request;
    v2::RepositoryModelLoadResponse response;
    request.set_model_name("count");
    const grpc::Status status = stub->RepositoryModelLoad(&context, request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  EXPECT_THAT(ready(), ElementsAre("count:1:READY", "pair:3:READY", "pub/text:1:READY"));
  {
    grpc::ClientContext context;
    v2::RepositoryModelLoadRequest request;
    v2::RepositoryModelLoadResponse response;
    request.set_model_name("foo");
    EXPECT_EQ(stub->RepositoryModelLoad(&context, request, &response).error_code(), grpc::StatusCode::NOT_FOUND);
    (*request.mutable_parameters())["config"].set_string_param("{}");
    grpc::ClientContext again;
    EXPECT_EQ(stub->RepositoryModelLoad(&again, request, &response).error_code(), grpc::StatusCode::UNIMPLEMENTED);
  }
}

TEST_F(V2GrpcTest, StreamAnswersEachRequestAndGoesOnAfterErrors) {
  const auto stub = Stub();
  grpc::ClientContext context;
  const auto stream = stub->ModelStreamInfer(&context);
  constexpr int kRequests = 500;  // far more than are in hand at a time
  std::thread writer([&] {
    for (int i = 0; i < kRequests; ++i) {
      auto request = PairRequest(std::to_string(i));
      if (i % 10 == 3) request.set_model_name("foo");
      ASSERT_TRUE(stream->Write(request));
    }
    stream->WritesDone();
  });
  std::set<std::string> answered, failed;
  v2::ModelStreamInferResponse response;
  while (stream->Read(&response)) {
    auto& into = response.error_message().empty() ? answered : failed;
    EXPECT_TRUE(into.insert(response.infer_response().id()).second);
    if (response.error_message().empty()) {
      EXPECT_EQ(response.infer_response().raw_output_contents(0), Floats({11, 22}));
    } else {
      EXPECT_THAT(response.error_message(), HasSubstr("foo"));
    }
  }
  writer.join();
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(answered.size(), 450u);
  EXPECT_EQ(failed.size(), 50u);
}

TEST_F(V2GrpcTest, ClientThatDoesNotReadIsReadMoreSlowly) {
  // Answers of 1 MiB that nobody reads: the node stops reading, so that writing must block long before 4 GiB.
  const auto stub = Stub();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(3));
  const auto stream = stub->ModelStreamInfer(&context);
  constexpr int64_t kRows = 1 << 17;
  v2::ModelInferRequest request;
  request.set_model_name("pair");
  AddInput(&request, "a", {kRows, 2}, std::vector<float>(2 * kRows, 1));
  AddInput(&request, "b", {kRows, 2}, std::vector<float>(2 * kRows, 1));
  int written = 0;
  while (written < 2048 && stream->Write(request)) ++written;
  EXPECT_LT(written, 2048);
  context.TryCancel();
  stream->Finish();
  // The node has let go of what was in hand.
  for (int i = 0; i < 1000 && serving_->node().inference().in_flight() > 0; ++i) {
    absl::SleepFor(absl::Milliseconds(10));
  }
  EXPECT_EQ(serving_->node().inference().in_flight(), 0);
  EXPECT_TRUE(Infer(PairRequest()).ok());
}

TEST_F(V2GrpcTest, HealthOfNodeAndModels) {
  const auto stub = health::Health::NewStub(*channel_);
  const auto check = [&](const std::string& service) {
    grpc::ClientContext context;
    health::HealthCheckRequest request;
    health::HealthCheckResponse response;
    request.set_service(service);
    const grpc::Status status = stub->Check(&context, request, &response);
    return status.ok() ? static_cast<int>(response.status()) : -static_cast<int>(status.error_code());
  };
  EXPECT_EQ(check("pair"), health::HealthCheckResponse::SERVING);
  EXPECT_EQ(check("broken"), health::HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(check(""), health::HealthCheckResponse::NOT_SERVING);  // as readiness: 'broken' is
  EXPECT_EQ(check("inference.GRPCInferenceService"), health::HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(check("foo"), -static_cast<int>(grpc::StatusCode::NOT_FOUND));
}

TEST_F(V2GrpcTest, ReflectionNamesEveryService) {
  grpc::GenericStub stub(*channel_);
  // ServerReflectionRequest{list_services: ""}.
  const grpc::Slice slice(std::string("\x3a\x00", 2));
  const grpc::ByteBuffer request(&slice, 1);
  grpc::ByteBuffer answer;
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto call =
      stub.PrepareCall(&context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
  const auto wait = [&] {
    void* tag;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  call->StartCall(nullptr);
  ASSERT_TRUE(wait());
  call->Write(request, nullptr);
  ASSERT_TRUE(wait());
  call->Read(&answer, nullptr);
  ASSERT_TRUE(wait());
  grpc::Slice bytes;
  ASSERT_TRUE(answer.DumpToSingleSlice(&bytes).ok());
  const std::string text(reinterpret_cast<const char*>(bytes.begin()), bytes.size());
  for (const char* service : {"inference.GRPCInferenceService", "tensorflow.serving.PredictionService",
                              "tensorflow.serving.ModelService", "grpc.health.v1.Health"}) {
    EXPECT_THAT(text, HasSubstr(service));
  }
  context.TryCancel();
  grpc::Status status;
  call->Finish(&status, nullptr);
  wait();
}

/// A node of its own: it is stopped.
TEST(GrpcHealthTest, WatchIsToldOfChangesAndOfTheEnd) {
  ServingNode serving;
  const auto channel = grpc::CreateChannel(serving.node().grpc_address(), grpc::InsecureChannelCredentials());
  const auto stub = health::Health::NewStub(channel);
  grpc::ClientContext pair_context, unknown_context;
  health::HealthCheckRequest request;
  health::HealthCheckResponse response;
  request.set_service("foo");
  const auto unknown = stub->Watch(&unknown_context, request);
  ASSERT_TRUE(unknown->Read(&response));
  EXPECT_EQ(response.status(), health::HealthCheckResponse::SERVICE_UNKNOWN);
  request.set_service("pair");
  const auto watch = stub->Watch(&pair_context, request);
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), health::HealthCheckResponse::SERVING);
  ASSERT_TRUE(serving.node().inference().servables().Unload("pair").ok());
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), health::HealthCheckResponse::NOT_SERVING);
  ASSERT_TRUE(serving.node().inference().servables().Load("pair").ok());
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), health::HealthCheckResponse::SERVING);
  std::thread stopper([&] { serving.node().Stop(); });
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), health::HealthCheckResponse::NOT_SERVING);
  EXPECT_FALSE(watch->Read(&response));
  EXPECT_EQ(watch->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  stopper.join();
}

}  // namespace
}  // namespace portico
