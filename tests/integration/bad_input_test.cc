// What callers, model folders and peers can get wrong: each is answered with an error that says what was wrong, and
// the node goes on serving.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "tests/integration/node_fixture.h"
#include "tests/integration/raw_peer.h"
#include "tests/testing/memory.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

/// y = relu(x), x float32[N,2].
ModelBuilder Relu() {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", 2}).Output("y", DType::kFloat, {"N", 2}).Node("Relu", {"x"}, {"y"});
  return model;
}

/// y = relu(portal(x)).
ModelBuilder Portal(const std::string& target) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", 2})
      .Output("y", DType::kFloat, {"N", 2})
      .Portal("Remote", target, {"x"}, {"y"}, {DType::kFloat}, {"N,2"});
  return model;
}

/// A loop whose body is a portal.
ModelBuilder PortalInLoop() {
  ModelBuilder body;
  body.Input("i", DType::kInt64, {})
      .Input("keep_in", DType::kBool, {})
      .Input("carried", DType::kFloat, {"N", 2})
      .Output("keep", DType::kBool, {})
      .Output("next", DType::kFloat, {"N", 2})
      .Node("Identity", {"keep_in"}, {"keep"})
      .Portal("Remote", "hub/relu", {"carried"}, {"next"}, {DType::kFloat}, {"N,2"});
  ModelBuilder model;
  model.Opset("ai.portico", 1)
      .Input("x", DType::kFloat, {"N", 2})
      .Output("y", DType::kFloat, {"N", 2})
      .Initializer("trips", Tensor::Of<int64_t>({}, {2}))
      .Node("Loop", {"trips", "", "x"}, {"y"}, {Body("body", body.BuildGraph())});
  return model;
}

/// y = x + w, w in a file outside the version folder, which exists.
ModelBuilder WeightsOutside() {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", 2}).Output("y", DType::kFloat, {"N", 2}).Node("Add", {"x", "w"}, {"y"});
  onnx::TensorProto* weight = model.graph().add_initializer();
  weight->set_name("w");
  weight->set_data_type(onnx::TensorProto::FLOAT);
  weight->add_dims(2);
  weight->set_data_location(onnx::TensorProto::EXTERNAL);
  onnx::StringStringEntryProto* location = weight->add_external_data();
  location->set_key("location");
  location->set_value("../../secret.bin");
  return model;
}

/// One node that serves `relu`, and folders that are broken in every way; a second one whose portal leads to the first.
class BadInput : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string relu = Relu().Serialize();
    Add("relu", relu);
    Add("hub/relu", relu);
    Add("text", "this is no model\n");
    Add("empty-file", "");
    Add("truncated", relu.substr(0, relu.size() / 2));
    folder_.Write("secret.bin", "12345678");
    Add("outside", WeightsOutside().Serialize());
    Add("loop", PortalInLoop().Serialize());
    Add("lonely", Portal("hub/nobody").Serialize());
    Add("away", Portal("hub/away").Serialize());
    options_.models.push_back({"no-version", folder_.Folder("no-version")});
    options_.models.push_back({"no-folder", folder_.path() + "/no-folder"});
    // Nobody listens on the discard port.
    options_.peers["hub/away"] = {"zmq+tcp://127.0.0.1:9"};
    options_.policies["hub/away"].timeout = absl::Milliseconds(300);
    node_ = StartNode(options_);
    client_ = std::make_unique<PredictClient>(node_->grpc_address());

    folder_.Write("through/1/model.onnx", Portal("hub/relu").Serialize());
    Node::Options front = LocalNode("front", {{"through", folder_.File("through")}});
    front.peers["hub/relu"] = {node_->peer_endpoint()};
    front_ = StartNode(std::move(front));
    front_client_ = std::make_unique<PredictClient>(front_->grpc_address());
  }

  void TearDown() override {
    ExpectServing();
    front_->Stop();
    node_->Stop();
  }

  /// Over gRPC, REST and a portal.
  void ExpectServing() {
    const std::vector<NamedTensor> inputs = {{"x", Tensor::Of<float>({1, 2}, {-1, 5})}};
    auto direct = client_->Predict("relu", inputs);
    ASSERT_TRUE(direct.ok()) << direct.status();
    EXPECT_THAT((*direct)["y"].data<float>(), ::testing::ElementsAre(0, 5));
    const HttpAnswer rest = Http(node_->http_address(), "/v1/models/relu:predict", R"({"instances":[[-1,5]]})");
    EXPECT_EQ(rest.code, 200) << rest.body;
    auto through = front_client_->Predict("through", inputs);
    ASSERT_TRUE(through.ok()) << through.status();
    EXPECT_THAT((*through)["y"].data<float>(), ::testing::ElementsAre(0, 5));
  }

  void ExpectRefused(const std::string& model, std::vector<NamedTensor> inputs, absl::StatusCode code,
                     const std::vector<std::string>& words) {
    const absl::Status status = client_->Predict(model, inputs, absl::Seconds(10)).status();
    EXPECT_EQ(status.code(), code) << model << ": " << status;
    for (const std::string& word : words) EXPECT_THAT(std::string(status.message()), HasSubstr(word)) << model;
  }

  void ExpectRefusedByRest(const std::string& path, const std::string& body, int code, const std::string& words) {
    const HttpAnswer answer = Http(node_->http_address(), path, body);
    EXPECT_EQ(answer.code, code) << path << " " << body << ": " << answer.body;
    EXPECT_THAT(answer.body, AllOf(HasSubstr("\"error\""), HasSubstr(words))) << path << " " << body;
  }

  static Tensor Row() { return Tensor::Of<float>({1, 2}, {1, 2}); }

  const TempFolder folder_;
  Node::Options options_ = LocalNode("node", {});
  std::unique_ptr<Node> node_, front_;
  std::unique_ptr<PredictClient> client_, front_client_;

 private:
  void Add(const std::string& name, const std::string& model) {
    folder_.Write(name + "/1/model.onnx", model);
    options_.models.push_back({name, folder_.File(name)});
  }
};

TEST_F(BadInput, RequestsOverGrpcAreRefusedByName) {
  const auto kInvalid = absl::StatusCode::kInvalidArgument;
  ExpectRefused("unheard-of", {{"x", Row()}}, absl::StatusCode::kNotFound,
                {"Servable not found for request: Latest(unheard-of)"});
  ExpectRefused("", {{"x", Row()}}, kInvalid, {"no name"});
  ExpectRefused("relu", {}, kInvalid, {"input size does not match signature: 0!=1", "Missing but required: {x}"});
  ExpectRefused("relu", {{"x", Row()}, {"z", Row()}}, kInvalid, {"2!=1", "Sent extra: {z}"});
  ExpectRefused("relu", {{"z", Row()}}, kInvalid, {"x", "z"});
  ExpectRefused("relu", {{"x", Tensor::Of<int64_t>({1, 2}, {1, 2})}}, kInvalid, {"'x'", "int64", "float32"});
  ExpectRefused("relu", {{"x", Tensor::OfStrings({1}, std::vector<std::string>{"a"})}}, kInvalid, {"'x'", "string"});
  ExpectRefused("relu", {{"x", Tensor::Of<float>({1, 3}, {1, 2, 3})}}, kInvalid, {"'x'", "[1,3]", "[N,2]"});
  ExpectRefused("relu", {{"x", Tensor::Of<float>({2}, {1, 2})}}, kInvalid, {"'x'", "[2]", "[N,2]"});
}

TEST_F(BadInput, RequestsOverRestAreRefusedByName) {
  const std::string predict = "/v1/models/relu:predict";
  ExpectRefusedByRest("/v1/models/unheard-of:predict", R"({"instances":[[1,2]]})", 404, "Latest(unheard-of)");
  ExpectRefusedByRest("/v1/nonsense", "", 400, "Malformed request");
  ExpectRefusedByRest(predict, "not json", 400, "JSON");
  ExpectRefusedByRest(predict, R"({"instances":[[1,2])", 400, "JSON Parse error");
  ExpectRefusedByRest(predict, "{}", 400, "");
  ExpectRefusedByRest(predict, R"({"inputs":{}})", 400, "");
  ExpectRefusedByRest(predict, R"({"inputs":{"x":[[1,2]],"z":[[1,2]]}})", 400, "z");
  ExpectRefusedByRest(predict, R"({"instances":[{"z":[1,2]}]})", 400, "");
  ExpectRefusedByRest(predict, R"({"instances":[["a","b"]]})", 400, "not of expected type: float");
  ExpectRefusedByRest(predict, R"({"instances":[[1,2],[3]]})", 400, "Expecting tensor size");
  ExpectRefusedByRest(predict, R"({"instances":[[1,2,3]]})", 400, "[1,3]");
  ExpectRefusedByRest(predict, absl::StrCat("{\"instances\":", std::string(500'000, '['), "}"), 400, "");
}

TEST_F(BadInput, FoldersThatAreNoModelAreReportedAndTheOthersServe) {
  ExpectServing();
  const absl::Status ready = node_->Ready();
  EXPECT_THAT(std::string(ready.message()), AllOf(HasSubstr("model '"), HasSubstr("want")));
  EXPECT_NE(Http(node_->http_address(), "/readyz").code, 200);
  EXPECT_EQ(Http(node_->http_address(), "/healthz").code, 200);
  const struct {
    std::string model;
    std::string words;
  } kBroken[] = {{"text", "model.onnx"},
                 {"empty-file", "model.onnx"},
                 {"truncated", "model.onnx"},
                 {"outside", "../../secret.bin"},
                 {"loop", "body"}};
  for (const auto& broken : kBroken) {
    ExpectRefused(broken.model, {{"x", Row()}}, absl::StatusCode::kNotFound, {broken.model});
    const HttpAnswer status = Http(node_->http_address(), "/v1/models/" + broken.model);
    EXPECT_THAT(status.body, AllOf(HasSubstr("\"END\""), HasSubstr(broken.words))) << broken.model;
  }
  for (const std::string missing : {"no-version", "no-folder"}) {
    ExpectRefused(missing, {{"x", Row()}}, absl::StatusCode::kNotFound, {missing});
  }
}

TEST_F(BadInput, APortalWhoseTargetNobodyServesIsUnavailableAndSaysWhichTarget) {
  ExpectRefused("lonely", {{"x", Row()}}, absl::StatusCode::kUnavailable, {"hub/nobody"});
  // A call waits for the first connection: the node may be starting.
  ExpectRefused("away", {{"x", Row()}}, absl::StatusCode::kDeadlineExceeded,
                {"hub/away", "127.0.0.1:9", "the call was not sent"});
  ExpectRefusedByRest("/v1/models/lonely:predict", R"({"instances":[[1,2]]})", 503, "hub/nobody");
}

TEST_F(BadInput, GarbageOnThePeerPortCostsOnlyTheConnectionItCameBy) {
  const std::string endpoint = node_->peer_endpoint();
  SendBytes(endpoint, std::string(4096, '\xA5'));
  SendBytes(endpoint, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  ExpectServing();

  SendMessage(endpoint, {"garbage"});
  SendMessage(endpoint, {std::string("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 11), "x"});
  SendMessage(endpoint, {"", "", ""});
  SendMessage(endpoint, std::vector<std::string>(20'000, "frame"));
  ExpectServing();
}

TEST_F(BadInput, AFrameThatClaimsMoreThanMayBeSentIsNotWaitedFor) {
  const int64_t before = ResidentBytes();
  EXPECT_TRUE(ClaimFrame(node_->peer_endpoint(), uint64_t{1} << 40)) << "the connection stayed open";
  for (int i = 0; i < 8; ++i) ClaimFrame(node_->peer_endpoint(), (uint64_t{1} << 30) + 1);
  EXPECT_LT(ResidentBytes() - before, int64_t{256} << 20);
  ExpectServing();
}

}  // namespace
}  // namespace portico
