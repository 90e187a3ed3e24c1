// Clients are told which rows a portal's target did not answer, here or further down.

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/node/frontend/raw_http.h"
#include "tests/node/frontend/two_node_mesh.h"

namespace portico {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::StartsWith;

/// Rows 1 and 2 of three, whose sums are above 10, escalate.
constexpr char kThreeRows[] = R"({"instances":[[1,2],[30,4],[5,60]]})";
constexpr char kNote[] = "1-2 deep=cheap UNAVAILABLE: portal to 'deep'.*";

/// front → mid, a cascade whose full model nobody serves.
class RowNoteTest : public TwoNodeMesh {
 protected:
  RowNoteTest() {
    ModelBuilder mid;
    mid.Input("x", DType::kFloat, {"N", 2}).Output("y", DType::kFloat, {"N", 2}).Output("status", DType::kInt8, {"N"});
    mid.Initializer("limit", {1}, {10}).Initializer("dim1", Tensor::Of<int64_t>({1}, {1}));
    mid.Node("ReduceSum", {"x", "dim1"}, {"sum"}, {Int("keepdims", 0)})
        .Node("Greater", {"sum", "limit"}, {"escalate"})
        .Node("Neg", {"x"}, {"cheap"})
        .Portal("Cascade", "deep", {"escalate", "cheap", "x"}, {"y", "status"}, {DType::kFloat}, {"N,2"},
                {Strings("input_names", {"x"}), Strings("output_names", {"y"}), Int("row_status", 1),
                 String("on_row_error", "cheap")});
    Start(mid);
  }
  static std::string Header(const RawResponse& response) {
    const std::string name = "X-Portico-Rows: ";
    const size_t at = response.head.find(name);
    if (at == std::string::npos) return "";
    const size_t begin = at + name.size();
    return response.head.substr(begin, response.head.find("\r\n", begin) - begin);
  }
};

TEST_F(RowNoteTest, RestAnswersHaveAHeaderAndTheV2OnesAParameter) {
  for (const Node* node : {mid_.get(), front_.get()}) {
    const std::string model = node == mid_.get() ? "mid" : "front";
    RawHttp client(node->http_address());
    const RawResponse tfs = client.Post("/v1/models/" + model + ":predict", kThreeRows);
    EXPECT_EQ(tfs.code, 200) << tfs.body;
    EXPECT_THAT(tfs.body, HasSubstr("-60"));
    EXPECT_THAT(Header(tfs), MatchesRegex(kNote));
    const RawResponse v2 = client.Post("/v2/models/" + model + "/infer",
                                       R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[10,2]}]})");
    EXPECT_EQ(v2.code, 200) << v2.body;
    EXPECT_THAT(Header(v2), StartsWith("0 deep=cheap UNAVAILABLE: "));
    EXPECT_THAT(v2.body, HasSubstr(R"("parameters":{"portico_rows":"0 deep=cheap UNAVAILABLE: )"));
    const RawResponse none = client.Post("/v1/models/" + model + ":predict", R"({"instances":[[1,2]]})");
    EXPECT_EQ(none.code, 200) << none.body;
    EXPECT_EQ(Header(none), "");
  }
  // Two rounds of three, one and one row, of which two, one and none escalated.
  const std::string metrics = RawHttp(mid_->http_address()).Get("/metrics").body;
  EXPECT_THAT(metrics, HasSubstr("portico_cascade_rows_total{portal=\"y\",target=\"deep\"} 10\n"));
  EXPECT_THAT(metrics, HasSubstr("portico_cascade_rows_escalated_total{portal=\"y\",target=\"deep\"} 6\n"));
  EXPECT_THAT(metrics, HasSubstr("portico_cascade_calls_total{portal=\"y\",target=\"deep\"} 4\n"));
  EXPECT_THAT(metrics, HasSubstr("portico_cascade_rows_failed_total{kind=\"cheap\",portal=\"y\",target=\"deep\"} 6\n"));
}

TEST_F(RowNoteTest, GrpcAnswersSayItToo) {
  EXPECT_THAT(GrpcNotes({1, 2, 30, 4, 5, 60}, "x-portico-rows", "portico_rows"), Each(MatchesRegex(kNote)));
  EXPECT_THAT(GrpcNotes({1, 2}, "x-portico-rows", "portico_rows"), Each(""));
  EXPECT_THAT(GrpcNotes({30, 4}, "x-portico-fallback", "portico_fallback"), Each("")) << "no policy's fallback";
}

}  // namespace
}  // namespace portico
