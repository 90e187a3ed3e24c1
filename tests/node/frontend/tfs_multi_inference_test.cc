#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "node/node.h"
#include "tests/node/frontend/example_client.h"
#include "tests/node/frontend/grade_model.h"
#include "tests/node/frontend/raw_http.h"

namespace portico {
namespace {

namespace tfs = ::tensorflow::serving;
using ::testing::HasSubstr;

constexpr char kClassify[] = "tensorflow/serving/classify";
constexpr char kRegress[] = "tensorflow/serving/regress";

class TfsMultiInferenceTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TempFolder;
    WriteGradeModel(*folder_, "grade", 4);
    WriteGradeModel(*folder_, "grade", 3, 2);
    Node::Options options;
    options.grpc.address = "127.0.0.1:0";
    options.models = {{"grade", folder_->Folder("grade")}};
    options.models[0].versions.kind = VersionPolicy::Kind::kAll;
    options.models[0].labels = {{"old", 3}};
    auto node = Node::Start(std::move(options));
    ASSERT_TRUE(node.ok()) << node.status();
    node_ = node->release();
  }
  static void TearDownTestSuite() {
    delete node_;
    delete folder_;
  }

  static void AddTask(const std::string& signature, const std::string& method, tfs::MultiInferenceRequest* request) {
    tfs::InferenceTask& task = *request->add_tasks();
    task.mutable_model_spec()->set_name("grade");
    task.mutable_model_spec()->set_signature_name(signature);
    task.set_method_name(method);
  }
  static tfs::MultiInferenceRequest TwoTasks() {
    tfs::MultiInferenceRequest request;
    AddTask("", kClassify, &request);
    AddTask("regress", kRegress, &request);
    *request.mutable_input() = GradeInput();
    return request;
  }
  void ExpectError(const tfs::MultiInferenceRequest& request, grpc::StatusCode code, const std::string& message) {
    const grpc::Status status = client_.MultiInference(request, &response_);
    EXPECT_EQ(status.error_code(), code) << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr(message));
  }

  static TempFolder* folder_;
  static Node* node_;
  ExampleClient client_{node_->grpc_address()};
  tfs::MultiInferenceResponse response_;
};

TempFolder* TfsMultiInferenceTest::folder_ = nullptr;
Node* TfsMultiInferenceTest::node_ = nullptr;

TEST_F(TfsMultiInferenceTest, EachTaskIsAnsweredWithItsSpec) {
  const grpc::Status status = client_.MultiInference(TwoTasks(), &response_);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(response_.results_size(), 2);
  EXPECT_EQ(response_.results(0).model_spec().signature_name(), "serving_default");
  EXPECT_EQ(response_.results(0).model_spec().version().value(), 4);
  EXPECT_EQ(response_.results(0).classification_result().classifications(1).classes(1).label(), "d");
  EXPECT_EQ(response_.results(1).model_spec().signature_name(), "regress");
  EXPECT_EQ(response_.results(1).regression_result().regressions(0).value(), 33);
}

TEST_F(TfsMultiInferenceTest, EachTaskHasASpanOfItsOwn) {
  Node::Options options;
  options.grpc.address = "127.0.0.1:0";
  options.http.address = "127.0.0.1:0";
  options.models = {{"grade", folder_->Folder("grade")}};
  options.traces.sample = 1;
  auto node = Node::Start(std::move(options));
  ASSERT_TRUE(node.ok()) << node.status();
  ASSERT_TRUE(ExampleClient((*node)->grpc_address()).MultiInference(TwoTasks(), &response_).ok());
  std::string json = RawHttp((*node)->http_address()).Get("/debug/traces").body;
  std::set<std::string> ids;
  int spans = 0;
  for (const absl::string_view part : absl::StrSplit(json, "\"span_id\":\"")) {
    if (absl::StartsWith(part, "{")) continue;
    ids.insert(std::string(part.substr(0, 16)));
    ++spans;
  }
  // The request; model, segment, queue and batch of each task.
  EXPECT_EQ(spans, 9) << json;
  EXPECT_EQ(ids.size(), 9u) << json;
}

TEST_F(TfsMultiInferenceTest, AllTasksRunOnTheVersionThatTheyAllName) {
  auto request = TwoTasks();
  for (auto& task : *request.mutable_tasks()) task.mutable_model_spec()->set_version_label("old");
  ASSERT_TRUE(client_.MultiInference(request, &response_).ok());
  EXPECT_EQ(response_.results(0).model_spec().version().value(), 3);
  EXPECT_EQ(response_.results(1).regression_result().regressions(0).value(), 66);
  request.mutable_tasks(1)->mutable_model_spec()->mutable_version()->set_value(4);
  ExpectError(request, grpc::StatusCode::INVALID_ARGUMENT, "task 1 wants another version or label than task 0");
}

TEST_F(TfsMultiInferenceTest, ErrorsHaveTheCodesAndWordsOfTheApi) {
  using grpc::StatusCode;
  ExpectError({}, StatusCode::INVALID_ARGUMENT, "got no tasks");
  auto request = TwoTasks();
  AddTask("serving_default", kClassify, &request);
  ExpectError(request, StatusCode::INVALID_ARGUMENT, "Duplicate evaluation of signature: serving_default");
  request = TwoTasks();
  request.mutable_tasks(1)->mutable_model_spec()->set_name("other");
  ExpectError(request, StatusCode::INVALID_ARGUMENT,
              "All ModelSpecs in a MultiInferenceRequest must access the same model name.");
  request.mutable_tasks(1)->mutable_model_spec()->set_name("");
  ExpectError(request, StatusCode::INVALID_ARGUMENT, "Found ModelSpec with an empty model name.");
  request = TwoTasks();
  request.mutable_tasks(1)->set_method_name("tensorflow/serving/predict");
  ExpectError(request, StatusCode::UNIMPLEMENTED, "Unsupported signature method_name: tensorflow/serving/predict");
  request.mutable_tasks(1)->mutable_model_spec()->set_signature_name("x");
  ExpectError(request, StatusCode::INVALID_ARGUMENT, "Requested signature not found in model graph: x");
  request = TwoTasks();
  request.mutable_tasks(1)->set_method_name(kClassify);
  ExpectError(request, StatusCode::FAILED_PRECONDITION, "Expected classification signature outputs");
  request = TwoTasks();
  request.clear_input();
  ExpectError(request, StatusCode::INVALID_ARGUMENT, "Input is empty.");
  for (auto& task : *request.mutable_tasks()) task.mutable_model_spec()->mutable_version()->set_value(9);
  ExpectError(request, StatusCode::NOT_FOUND, "Servable not found for request: Specific(grade, 9)");
}

}  // namespace
}  // namespace portico
