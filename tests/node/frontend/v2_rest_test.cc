#include "node/frontend/v2_rest.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/node/frontend/raw_http.h"
#include "tests/node/frontend/serving_node.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

class V2RestTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { serving_ = new ServingNode; }
  static void TearDownTestSuite() { delete serving_; }

  static RawResponse Get(const std::string& path) { return RawHttp(serving_->node().http_address()).Get(path); }
  static RawResponse Post(const std::string& path, const std::string& body, const std::string& headers = "") {
    return RawHttp(serving_->node().http_address()).Post(path, body, headers);
  }

  static ServingNode* serving_;
};

ServingNode* V2RestTest::serving_ = nullptr;

constexpr char kPair[] =
    R"({"id":"7","inputs":[{"name":"a","shape":[1,2],"datatype":"FP32","data":[1,2]},
                  {"name":"b","shape":[1,2],"datatype":"FP32","data":[[10,20]]}])";

TEST_F(V2RestTest, InferAnswersInJson) {
  const RawResponse response = Post("/v2/models/pair/infer", absl::StrCat(kPair, "}"));
  EXPECT_EQ(response.code, 200);
  EXPECT_EQ(response.body, R"({"id":"7","model_name":"pair","model_version":"3","outputs":[)"
                           R"({"name":"sum","datatype":"FP32","shape":[1,2],"data":[11.0,22.0]},)"
                           R"({"name":"diff","datatype":"FP32","shape":[1,2],"data":[-9.0,-18.0]}]})");
  EXPECT_EQ(Post("/v2/models/pair/versions/3/infer", absl::StrCat(kPair, "}")).body, response.body);
}

TEST_F(V2RestTest, StatisticsTellWhatWasServed) {
  ASSERT_EQ(Post("/v2/models/pair/infer", absl::StrCat(kPair, "}")).code, 200);
  const RawResponse response = Get("/v2/models/pair/stats");
  EXPECT_EQ(response.code, 200);
  EXPECT_THAT(response.body, HasSubstr(R"({"model_stats":[{"name":"pair","version":"3","last_inference":)"));
  EXPECT_THAT(response.body, HasSubstr(R"("batch_stats":[{"batch_size":1,"compute_input":{"count":0,"ns":0})"));
  EXPECT_EQ(Get("/v2/models/pair/versions/3/stats").code, 200);
  EXPECT_EQ(Get("/v2/models/pair/versions/4/stats").code, 404);
  EXPECT_THAT(Get("/v2/models/stats").body, HasSubstr(R"("name":"count")"));
}

TEST_F(V2RestTest, BinaryDataBothWays) {
  const std::string json =
      R"({"inputs":[{"name":"n","shape":[2],"datatype":"INT64","parameters":{"binary_data_size":16}}],)"
      R"("outputs":[{"name":"m","parameters":{"binary_data":true}}]})";
  const std::string data("\5\0\0\0\0\0\0\0\6\0\0\0\0\0\0\0", 16);
  const RawResponse response = Post("/v2/models/count/infer", json + data,
                                    absl::StrCat("Inference-Header-Content-Length: ", json.size(), "\r\n"));
  ASSERT_EQ(response.code, 200) << response.body;
  const std::string head = R"({"model_name":"count","model_version":"1","outputs":[)"
                           R"({"name":"m","datatype":"INT64","shape":[2],"parameters":{"binary_data_size":16}}]})";
  EXPECT_THAT(response.head, HasSubstr(absl::StrCat("Inference-Header-Content-Length: ", head.size(), "\r\n")));
  EXPECT_THAT(response.head, HasSubstr("application/octet-stream"));
  EXPECT_EQ(response.body, head + data);
}

TEST_F(V2RestTest, BinaryDataOutputIsTheDefaultOfAllOutputs) {
  const RawResponse response =
      Post("/v2/models/pair/infer",
           absl::StrCat(kPair, R"(,"parameters":{"binary_data_output":true},)",
                        R"("outputs":[{"name":"diff"},{"name":"sum","parameters":{"binary_data":false}}]})"));
  ASSERT_EQ(response.code, 200) << response.body;
  EXPECT_THAT(response.body, HasSubstr(R"("name":"diff","datatype":"FP32","shape":[1,2],"parameters")"));
  EXPECT_THAT(response.body, HasSubstr(R"("name":"sum","datatype":"FP32","shape":[1,2],"data":[11.0,22.0])"));
}

TEST_F(V2RestTest, RawBodyIsOneInput) {
  const std::string data("\5\0\0\0\0\0\0\0", 8);
  const RawResponse response = Post("/v2/models/count/infer", data, "Inference-Header-Content-Length: 0\r\n");
  ASSERT_EQ(response.code, 200) << response.body;
  EXPECT_THAT(response.body, HasSubstr(R"("binary_data_size":8)"));
  EXPECT_EQ(response.body.substr(response.body.size() - 8), data);
  EXPECT_EQ(Post("/v2/models/pair/infer", data, "Inference-Header-Content-Length: 0\r\n").code, 400);
  EXPECT_EQ(Post("/v2/models/count/infer", "123", "Inference-Header-Content-Length: 0\r\n").code, 400);
}

TEST_F(V2RestTest, HeaderThatLiesIsRefused) {
  for (const char* length : {"9999", "-1", "x", "18446744073709551616"}) {
    const RawResponse response =
        Post("/v2/models/count/infer", "{}", absl::StrCat("Inference-Header-Content-Length: ", length, "\r\n"));
    EXPECT_EQ(response.code, 400) << length;
    EXPECT_THAT(response.body, HasSubstr("Inference-Header-Content-Length"));
  }
}

TEST_F(V2RestTest, NamesWithSlashes) {
  const std::string body = R"({"inputs":[{"name":"text","shape":[1],"datatype":"BYTES","data":["hi"]}]})";
  for (const char* name : {"pub--text", "pub/text", "pub%2Ftext"}) {
    const RawResponse response = Post(absl::StrCat("/v2/models/", name, "/infer"), body);
    EXPECT_EQ(response.code, 200) << response.body;
    EXPECT_THAT(response.body, HasSubstr(R"("model_name":"pub/text")"));
  }
}

TEST_F(V2RestTest, ErrorsHaveTheirCodes) {
  const auto expect = [](const RawResponse& response, int code, const std::string& message) {
    EXPECT_EQ(response.code, code) << response.body;
    EXPECT_THAT(response.body, HasSubstr("{\"error\": \""));
    EXPECT_THAT(response.body, HasSubstr(message));
  };
  expect(Post("/v2/models/foo/infer", absl::StrCat(kPair, "}")), 404, "foo");
  expect(Post("/v2/models/pair/versions/9/infer", absl::StrCat(kPair, "}")), 404, "9");
  expect(Post("/v2/models/pair/infer", kPair), 400, "JSON Parse error");
  expect(Post("/v2/models/pair/infer", "{\"inputs\":[]}"), 400, "Missing but required");
  expect(Post("/v2/models/pair/infer", absl::StrCat(kPair, R"(,"outputs":[{"name":"z"}]})")), 400, "z");
  expect(Post("/v2/models/pair/infer", absl::StrCat(kPair, R"(,"parameters":{"signature":"z"}})")), 400, "'z'");
  expect(Post("/v2/models/pair/infer", absl::StrCat(kPair, R"(,"parameters":{"sequence_id":3}})")), 501, "sequence_id");
  expect(Post("/v2/models/count/infer", R"({"inputs":[{"name":"n","shape":[1,1],"datatype":"INT64","data":[1]}]})"),
         400, "input 'n'");
  expect(Get("/v2/models/foo"), 404, "foo");
  expect(Get("/v2/foo"), 404, "/v2/foo");
  expect(Get("/v2/models/pair/infer"), 400, "want POST");
}

TEST_F(V2RestTest, HealthHasBodyAndCode) {
  EXPECT_EQ(Get("/v2/health/live").body, "{\"live\":true}");
  const RawResponse ready = Get("/v2/health/ready");
  EXPECT_EQ(ready.code, 503);  // model 'broken' is
  EXPECT_EQ(ready.body, "{\"ready\":false}");
  const RawResponse pair = Get("/v2/models/pair/ready");
  EXPECT_EQ(pair.code, 200);
  EXPECT_EQ(pair.body, R"({"name":"pair","ready":true})");
  EXPECT_EQ(Get("/v2/models/pair/versions/3/ready").code, 200);
  EXPECT_EQ(Get("/v2/models/pair/versions/4/ready").code, 503);
  EXPECT_EQ(Get("/v2/models/broken/ready").code, 503);
  EXPECT_EQ(Get("/v2/models/foo/ready").code, 404);
}

TEST_F(V2RestTest, Metadata) {
  EXPECT_THAT(Get("/v2").body, HasSubstr(R"("extensions":["binary_tensor_data")"));
  EXPECT_EQ(Get("/v2/models/count").body, R"({"name":"count","versions":["1"],"platform":"onnxruntime_onnx",)"
                                          R"("inputs":[{"name":"n","datatype":"INT64","shape":[-1]}],)"
                                          R"("outputs":[{"name":"m","datatype":"INT64","shape":[-1]}]})");
  EXPECT_EQ(Get("/v2/models/count?signature=serving_default").code, 200);
  EXPECT_EQ(Get("/v2/models/count?signature=x").code, 400);
  EXPECT_THAT(Get("/v2/models/count/config").body, HasSubstr(R"("data_type":"TYPE_INT64","dims":[-1])"));
}

TEST_F(V2RestTest, RepositoryUnloadsAndLoads) {
  EXPECT_THAT(Post("/v2/repository/index", "").body,
              HasSubstr(R"({"name":"count","version":"1","state":"READY","reason":""})"));
  EXPECT_THAT(Post("/v2/repository/index", "{}").body, HasSubstr(R"("name":"broken")"));
  EXPECT_THAT(Post("/v2/repository/index", R"({"ready":true})").body, Not(HasSubstr("broken")));
  EXPECT_EQ(Post("/v2/repository/models/count/unload", "").code, 200);
  EXPECT_EQ(Get("/v2/models/count/ready").code, 503);
  EXPECT_EQ(Post("/v2/repository/models/count/load", "{}").code, 200);
  EXPECT_EQ(Get("/v2/models/count/ready").code, 200);
  EXPECT_EQ(Post("/v2/repository/models/foo/load", "").code, 404);
  EXPECT_EQ(Post("/v2/repository/models/count/load", R"({"parameters":{"config":"{}"}})").code, 501);
  EXPECT_EQ(Post("/v2/repository/models/count/load", "{").code, 400);
}

}  // namespace
}  // namespace portico
