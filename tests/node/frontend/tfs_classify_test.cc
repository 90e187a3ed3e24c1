// Classify and Regress, over gRPC and REST, through a node.

#include <string>

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

class TfsClassifyTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TempFolder;
    WriteGradeModel(*folder_, "grade", 4);
    Node::Options options;
    options.grpc.address = "127.0.0.1:0";
    options.http.address = "127.0.0.1:0";
    options.models = {{"grade", folder_->Folder("grade")}};
    auto node = Node::Start(std::move(options));
    ASSERT_TRUE(node.ok()) << node.status();
    node_ = node->release();
  }
  static void TearDownTestSuite() {
    delete node_;
    delete folder_;
  }

  static tfs::ClassificationRequest ClassifyRequest(const std::string& signature = "") {
    tfs::ClassificationRequest request;
    request.mutable_model_spec()->set_name("grade");
    request.mutable_model_spec()->set_signature_name(signature);
    *request.mutable_input() = GradeInput();
    return request;
  }
  void ExpectError(const tfs::ClassificationRequest& request, grpc::StatusCode code, const std::string& message) {
    const grpc::Status status = client_.Classify(request, &classified_);
    EXPECT_EQ(status.error_code(), code) << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr(message));
  }
  RawResponse Post(const std::string& verb, const std::string& body) {
    return http_.Post("/v1/models/grade:" + verb, body);
  }
  void ExpectRestError(const RawResponse& response, int code, const std::string& message) {
    EXPECT_EQ(response.code, code) << response.body;
    EXPECT_THAT(response.body, HasSubstr(message));
  }

  static TempFolder* folder_;
  static Node* node_;
  ExampleClient client_{node_->grpc_address()};
  RawHttp http_{node_->http_address()};
  tfs::ClassificationResponse classified_;
  tfs::RegressionResponse regressed_;
};

TempFolder* TfsClassifyTest::folder_ = nullptr;
Node* TfsClassifyTest::node_ = nullptr;

TEST_F(TfsClassifyTest, ClassifyAnswersLabelsAndScoresPerExample) {
  const grpc::Status status = client_.Classify(ClassifyRequest(), &classified_);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(classified_.model_spec().name(), "grade");
  EXPECT_EQ(classified_.model_spec().version().value(), 4);
  EXPECT_EQ(classified_.model_spec().signature_name(), "serving_default");
  ASSERT_EQ(classified_.result().classifications_size(), 2);
  const auto& first = classified_.result().classifications(0);
  ASSERT_EQ(first.classes_size(), 2);
  EXPECT_EQ(first.classes(1).label(), "b");
  EXPECT_EQ(first.classes(1).score(), 22);
  EXPECT_EQ(classified_.result().classifications(1).classes(0).label(), "c");
  EXPECT_EQ(classified_.result().classifications(1).classes(0).score(), 0.5);
}

TEST_F(TfsClassifyTest, ScoresMayStandAlone) {
  ASSERT_TRUE(client_.Classify(ClassifyRequest("scores_only"), &classified_).ok());
  EXPECT_EQ(classified_.result().classifications(0).classes(0).label(), "");
  EXPECT_EQ(classified_.result().classifications(0).classes(0).score(), 11);
}

TEST_F(TfsClassifyTest, RegressAnswersAValuePerExample) {
  tfs::RegressionRequest request;
  request.mutable_model_spec()->set_name("grade");
  request.mutable_model_spec()->set_signature_name("regress");
  *request.mutable_input() = GradeInput();
  const grpc::Status status = client_.Regress(request, &regressed_);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(regressed_.model_spec().signature_name(), "regress");
  ASSERT_EQ(regressed_.result().regressions_size(), 2);
  EXPECT_EQ(regressed_.result().regressions(0).value(), 33);
  EXPECT_EQ(regressed_.result().regressions(1).value(), -0.5);
  request.mutable_model_spec()->set_signature_name("plain");
  const grpc::Status refused = client_.Regress(request, &regressed_);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(refused.error_message(), HasSubstr("No regression outputs found in SignatureDef"));
}

TEST_F(TfsClassifyTest, ErrorsHaveTheCodesAndWordsOfTheContract) {
  using grpc::StatusCode;
  auto request = ClassifyRequest();
  request.clear_model_spec();
  ExpectError(request, StatusCode::INVALID_ARGUMENT, "Missing ModelSpec");
  request.mutable_model_spec();
  ExpectError(request, StatusCode::INVALID_ARGUMENT, "ModelSpec has no name specified.");
  request.mutable_model_spec()->set_name("foo");
  ExpectError(request, StatusCode::NOT_FOUND, "Servable not found for request: Latest(foo)");
  ExpectError(ClassifyRequest("x"), StatusCode::INVALID_ARGUMENT, "No signature was found with the name: x");
  ExpectError(ClassifyRequest("plain"), StatusCode::FAILED_PRECONDITION,
              "Expected classification signature outputs to contain at least one of \"classes\" or \"scores\"");
  ExpectError(ClassifyRequest("flat"), StatusCode::INVALID_ARGUMENT,
              "Expected Tensor shape: [batch_size num_classes] but got [2]");
  request = ClassifyRequest();
  request.clear_input();
  ExpectError(request, StatusCode::INVALID_ARGUMENT, "Input is empty.");
  request.mutable_input()->mutable_example_list()->add_examples();
  ExpectError(request, StatusCode::INVALID_ARGUMENT, "Feature: x (data type: float) is required");
  EXPECT_TRUE(client_.Classify(ClassifyRequest(), &classified_).ok());
}

TEST_F(TfsClassifyTest, RestClassifyAndRegress) {
  const std::string examples = R"("examples": [{"x": [1, 2.0], "k": [10, 20], "tag": ["a", {"b64": "Yg=="}]},)"
                               R"( {"tag": ["c", "d"], "k": [0, 1], "x": [0.5, -2], "other": true}])";
  EXPECT_EQ(Post("classify", "{" + examples + "}").body,
            R"({"results": [[["a",11.0],["b",22.0]],[["c",0.5],["d",-1.0]]]})");
  EXPECT_EQ(Post("classify", R"({"signature_name": "scores_only", )" + examples + "}").body,
            R"({"results": [[["",11.0],["",22.0]],[["",0.5],["",-1.0]]]})");
  EXPECT_EQ(Post("regress", "{" + examples + R"(, "signature_name": "regress"})").body, R"({"results": [33.0,-0.5]})");
  EXPECT_EQ(
      http_.Post("/v1/models/grade/versions/4:regress", "{" + examples + R"(, "signature_name": "regress"})").code,
      200);
}

TEST_F(TfsClassifyTest, RestContextBelongsToEachExample) {
  EXPECT_EQ(Post("classify", R"({"examples": [{"x": [1, 2]}, {"x": [3, 4], "k": [1, 1]}],
                                 "context": {"k": [10, 20], "tag": ["p", "q"]}})")
                .body,
            R"({"results": [[["p",11.0],["q",22.0]],[["p",4.0],["q",5.0]]]})");
}

TEST_F(TfsClassifyTest, RestErrorsHaveTheCodesAndWordsOfTheContract) {
  ExpectRestError(Post("classify", ""), 400, "JSON Parse error: The document is empty");
  ExpectRestError(Post("classify", "not json"), 400, "JSON Parse error: ");
  ExpectRestError(Post("classify", "[1]"), 400, "Is not object");
  ExpectRestError(Post("classify", "{}"), 400, "key 'examples' is expected");
  ExpectRestError(Post("classify", R"({"examples": []})"), 400, "Input is empty.");
  ExpectRestError(Post("classify", R"({"examples": {}})"), 400, "'examples' key must be a list of examples.");
  ExpectRestError(Post("classify", R"({"examples": [1]})"), 400, "Example must be JSON object");
  ExpectRestError(Post("classify", R"({"examples": [{}], "examples": [{}]})"), 400, "twice");
  ExpectRestError(Post("classify", R"({"signature_name": "x", "examples": [{}]})"), 400,
                  "No signature was found with the name: x");
  ExpectRestError(Post("classify", R"({"signature_name": 1, "examples": [{}]})"), 400,
                  "'signature_name' key must be a string value.");
  ExpectRestError(Post("regress", R"({"examples": [{"x": [1, 2], "k": [1, 2], "tag": ["a", "b"]}]})"), 400,
                  "No regression outputs found");
  ExpectRestError(Post("classify", R"({"examples": [{"x": ["a", "b"]}]})"), 400, "feature 'x'");
  ExpectRestError(Post("classify", R"({"examples": [{"k": [1.5, 2]}]})"), 400, "feature 'k'");
  ExpectRestError(Post("classify", R"({"examples": [{"x": [[1], 2]}]})"), 400, "feature 'x'");
  ExpectRestError(Post("classify", R"({"examples": [{"tag": [{"b64": "%"}]}]})"), 400, "base64");
  ExpectRestError(Post("classify", R"({"examples": [{"x": [1, 2])"), 400, "JSON Parse error: ");
  ExpectRestError(http_.Post("/v1/models/foo:classify", "{}"), 404, "Servable not found for request: Latest(foo)");
}

}  // namespace
}  // namespace portico
