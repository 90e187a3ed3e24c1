#include "node/frontend/tfs_rest.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/node/frontend/raw_http.h"
#include "tests/node/frontend/serving_node.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

/// Talks HTTP to one node.
class TfsRestTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { serving_ = new ServingNode; }
  static void TearDownTestSuite() { delete serving_; }

  TfsRestTest() : client_(serving_->node().http_address()) {}
  void ExpectError(const RawResponse& response, int code, const std::string& message) {
    EXPECT_EQ(response.code, code) << response.body;
    EXPECT_THAT(response.body, AllOf(HasSubstr("{\"error\": \""), HasSubstr(message)));
  }
  RawResponse Predict(const std::string& body) { return client_.Post("/v1/models/pair:predict", body); }

  static ServingNode* serving_;
  RawHttp client_;
};

ServingNode* TfsRestTest::serving_ = nullptr;

TEST_F(TfsRestTest, RowAndColumnFormatAreAnswered) {
  EXPECT_EQ(Predict(R"({"instances": [{"a": [1, 2], "b": [10, 20]}, {"b": [0.5, 0], "a": [0, 1]}]})").body,
            R"({"predictions": [{"sum":[11.0,22.0],"diff":[-9.0,-18.0]},{"sum":[0.5,1.0],"diff":[-0.5,1.0]}]})");
  EXPECT_EQ(Predict(R"({"inputs": {"a": [[1, 2]], "b": [[10, 20]]}})").body,
            R"({"outputs": {"sum":[[11.0,22.0]],"diff":[[-9.0,-18.0]]}})");
  EXPECT_EQ(client_.Post("/v1/models/count/versions/1:predict", R"({"instances": [9007199254740993]})").body,
            R"({"predictions": [9007199254740993]})");
}

TEST_F(TfsRestTest, DashesStandForTheSlashOfAHubName) {
  EXPECT_EQ(client_.Post("/v1/models/pub--text:predict", R"({"instances": ["a", {"b64": "/w=="}]})").code, 400);
  EXPECT_EQ(client_.Post("/v1/models/pub--text:predict", R"({"inputs": ["a\n"]})").body,
            R"({"outputs": {"same":["a\n"],"same_bytes":[{"b64":"YQo="}]}})");
  EXPECT_EQ(client_.Get("/v1/models/pub--text").code, 200);
  ExpectError(client_.Get("/v1/models/no--body/metadata"), 404, "Latest(no--body)");
}

TEST_F(TfsRestTest, ErrorsHaveTheCodesAndWordsOfTheContract) {
  ExpectError(client_.Post("/v1/models/foo:predict", "{}"), 404, "Servable not found for request: Latest(foo)");
  ExpectError(client_.Post("/v1/models/pair/versions/5:predict", "{}"), 404, "Specific(pair, 5)");
  ExpectError(client_.Post("/v1/models/pair/labels/x:predict", "{}"), 400, "Unrecognized servable version label: x");
  ExpectError(client_.Post("/v1/models/pair", "not json"), 400, "Malformed request");
  ExpectError(client_.Post("/v1/models/pair", "{}"), 400, "Malformed request: POST /v1/models/pair");
  ExpectError(client_.Get("/v1/foo"), 400, "Malformed request: GET /v1/foo");
  ExpectError(client_.Get("/v1/models"), 400, "Missing model name in request.");
  ExpectError(client_.Get("/v1/models/pair/versions/18446744073709551615"), 400, "Failed to convert version");
  ExpectError(client_.Get("/v1/models/foo"), 404, "Could not find any versions of model foo");
  ExpectError(client_.Get("/v1/models/pair/versions/9"), 404, "Could not find version 9 of model pair");
  ExpectError(Predict(""), 400, "JSON Parse error: The document is empty");
  ExpectError(Predict("not json"), 400, "JSON Parse error: Invalid value");
  ExpectError(Predict("nul"), 400, "JSON Parse error: ");
  ExpectError(Predict("null"), 400, "Is not object");
  ExpectError(Predict("[1]"), 400, "Is not object");
  ExpectError(Predict("3"), 400, "Is not object");
  ExpectError(Predict("{}"), 400, "Not formatted correctly");
  ExpectError(Predict(R"({"instances": [], "inputs": []})"), 400, "Not formatted correctly");
  ExpectError(Predict(R"({"inputs": {"a": [["x", 2]], "b": [[1, 2]]}})"), 400, "not of expected type: float");
  ExpectError(Predict(R"({"instances": [{"a": [1, 2], "b": [1, 2]}, [1]]})"), 400, "Expecting object but got list");
  ExpectError(client_.Post("/v1/models/count:predict", R"({"instances": [[1,2],[3,4],[5,6,7]]})"), 400,
              "Expecting tensor size");
  ExpectError(client_.Post("/v1/models/count:predict", R"({"instances": [1,[1]]})"), 400, "Expecting shape");
  ExpectError(client_.Post("/v1/models/count:predict", R"({"instances": [10.0]})"), 400, "not of expected type: int64");
  ExpectError(client_.Post("/v1/models/pair/versions/18446744073709551615:predict", "{}"), 400,
              "Failed to convert version");
  ExpectError(client_.Get("/v1/models/pair/labels/x/metadata"), 400, "Unrecognized servable version label: x");
  ExpectError(client_.Get("/v1/models/pair/labels/x"), 400, "Unrecognized servable version label: x");
  ExpectError(client_.Get("/v1/models/pair:predict"), 400, "Malformed request: GET /v1/models/pair:predict");
  ExpectError(Predict(R"({"signature_name": "x", "instances": []})"), 400,
              R"(Serving signature name: \"x\" not found in signature def)");
  ExpectError(Predict(R"({"inputs": {"a": [[1, 2]]}})"), 400, "input size does not match signature: 1!=2");
  ExpectError(Predict(R"({"inputs": {"a": [[1, 2, 3]], "b": [[1, 2]]}})"), 400, "'a'");
  ExpectError(Predict(R"({"inputs": {"a": [[1, 2]], "b": [[1, 2], [3, 4]]}})"), 400, "'b'");
  ExpectError(client_.Get("/nothing"), 404, "/nothing");
}

TEST_F(TfsRestTest, StatusAndMetadata) {
  EXPECT_EQ(client_.Get("/v1/models/pair").body, R"({"model_version_status":[{"version":"3","state":"AVAILABLE",)"
                                                 R"("status":{"error_code":"OK","error_message":""}}]})");
  EXPECT_THAT(client_.Get("/v1/models/broken").body, HasSubstr("\"state\":\"END\""));
  const std::string metadata = client_.Get("/v1/models/pair/versions/3/metadata").body;
  EXPECT_THAT(metadata, HasSubstr(R"("model_spec":{"name":"pair","signature_name":"","version":"3"})"));
  EXPECT_THAT(metadata, HasSubstr(R"("dtype":"DT_FLOAT")"));
  EXPECT_THAT(metadata, HasSubstr(R"("method_name":"tensorflow/serving/predict")"));
}

TEST_F(TfsRestTest, SampledTraceIsAnsweredAndShown) {
  const std::string trace = "fedcba98765432100123456789abcdef";
  const RawResponse response = client_.Post("/v1/models/count:predict", R"({"instances": [1]})",
                                            "traceparent: 00-" + trace + "-00000000000000aa-01\r\n");
  EXPECT_EQ(response.code, 200);
  EXPECT_THAT(response.head, HasSubstr("traceparent: 00-" + trace));
  const std::string shown = client_.Get("/debug/traces?id=" + trace).body;
  EXPECT_THAT(shown, AllOf(HasSubstr("\"name\":\"request\",\"node\":\"front\""),
                           HasSubstr("\"parent_span_id\":\"00000000000000aa\"")));
  EXPECT_THAT(client_.Get("/debug/traces?id=00").body, Not(HasSubstr("request")));
}

TEST_F(TfsRestTest, AdminPathsAnswer) {
  EXPECT_EQ(client_.Get("/healthz").code, 200);
  const RawResponse ready = client_.Get("/readyz");
  EXPECT_EQ(ready.code, 503);
  EXPECT_THAT(ready.body, AllOf(HasSubstr("\"ready\":false"), HasSubstr("\"not_ready\":[\"broken\"]")));
  Predict(R"({"inputs": {"a": [[1, 2]], "b": [[10, 20]]}})");
  for (const char* path : {"/metrics", "/monitoring/prometheus/metrics"}) {
    EXPECT_THAT(client_.Get(path).body, AllOf(HasSubstr("# TYPE"), HasSubstr("model=\"pair\"")));
  }
  EXPECT_EQ(client_.Post("/healthz", "").code, 405);
}

TEST(TfsRestOptionsTest, TimeLimitIsADeadline) {
  TempFolder folder;
  ModelBuilder model;
  model.Input("n", DType::kInt64, {"N"}).Output("m", DType::kInt64, {"N"}).Node("Identity", {"n"}, {"m"});
  model.WriteTo(folder.File("count/1/model.onnx"));
  Node::Options options;
  options.http.address = "127.0.0.1:0";
  options.models = {{"count", folder.Folder("count")}};
  options.rest_timeout = absl::Nanoseconds(1);  // Over before anything can begin.
  options.metrics_path = "/my/metrics";
  const auto node = Node::Start(std::move(options));
  ASSERT_TRUE(node.ok()) << node.status();
  RawHttp client((*node)->http_address());
  const RawResponse late = client.Post("/v1/models/count:predict", R"({"instances": [1]})");
  EXPECT_EQ(late.code, 504) << late.body;
  EXPECT_THAT(client.Get("/my/metrics").body, HasSubstr("# TYPE"));
  EXPECT_EQ(client.Get("/my/other").code, 404);
}

}  // namespace
}  // namespace portico
