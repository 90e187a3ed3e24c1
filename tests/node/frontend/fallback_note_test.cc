// Clients are told when a portal was answered by its fallback, here or further down.

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/node/frontend/raw_http.h"
#include "tests/node/frontend/two_node_mesh.h"

namespace portico {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Not;

/// front → mid → a target that nobody serves, for which the policy has a default.
class FallbackNoteTest : public TwoNodeMesh {
 protected:
  FallbackNoteTest() {
    ModelBuilder mid;
    mid.Input("x", DType::kFloat, {"N", 2}).Output("y", DType::kFloat, {"N", 2});
    mid.Portal("Remote", "deep", {"x"}, {"y"}, {DType::kFloat}, {"N,2"});
    RoutePolicy policy;
    policy.on_error.kind = OnErrorPolicy::Kind::kDefaults;
    policy.on_error.defaults["y"] = "7.5";
    Start(mid, {{"deep", policy}});
  }
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

TEST_F(FallbackNoteTest, GrpcAnswersSayItToo) {
  EXPECT_THAT(GrpcNotes({1, 2}, "x-portico-fallback", "portico_fallback"), Each("deep=defaults"));
}

}  // namespace
}  // namespace portico
