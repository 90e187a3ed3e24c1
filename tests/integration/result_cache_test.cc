// Answers that a node keeps: for its own clients and for portals of other nodes alike.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "tests/integration/node_fixture.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

/// Of the only series of `name` with `label`; -1 where there is none.
double Metric(Node& node, const std::string& name, const std::string& label) {
  for (const absl::string_view line : absl::StrSplit(Http(node.http_address(), "/metrics").body, '\n')) {
    if (!absl::StartsWith(line, absl::StrCat(name, "{")) || !absl::StrContains(line, label)) continue;
    double value = -1;
    EXPECT_TRUE(absl::SimpleAtod(line.substr(line.rfind(' ') + 1), &value)) << line;
    return value;
  }
  return -1;
}

class ResultCacheNodeTest : public ::testing::Test {
 protected:
  ResultCacheNodeTest() {
    ModelBuilder()
        .Input("x", DType::kFloat, {"N", 2})
        .Output("answer", DType::kFloat, {"N", 2})
        .Node("Neg", {"x"}, {"answer"})
        .WriteTo(folder_.File("encoder/1/model.onnx"));
    ModelBuilder()
        .Input("x", DType::kFloat, {"N", 2})
        .Output("y", DType::kFloat, {"N", 2})
        .Portal("Remote", "encoder", {"x"}, {"answer"}, {DType::kFloat}, {"N,2"})
        .Node("Relu", {"answer"}, {"y"})
        .WriteTo(folder_.File("front/1/model.onnx"));
  }
  Node::Options Hub() const { return LocalNode("hub", {{"encoder", folder_.File("encoder")}}); }
  double Rows(Node& node, const std::string& result) const {
    return Metric(node, "portico_result_cache_rows_total", absl::StrCat("result=\"", result, "\""));
  }
  /// Rows of x: (n, -n) each.
  static std::string Instances(const std::vector<int>& rows) {
    std::vector<std::string> texts;
    for (const int row : rows) texts.push_back(absl::StrCat("[", row, ",", -row, "]"));
    return absl::StrCat("{\"instances\":[", absl::StrJoin(texts, ","), "]}");
  }

  const TempFolder folder_;
};

TEST_F(ResultCacheNodeTest, ClientsAndPortalsShareWhatIsKept) {
  Node::Options options = Hub();
  options.models[0].result_cache_mib = 4;
  const std::unique_ptr<Node> hub = StartNode(std::move(options));
  Node::Options front_options = LocalNode("front", {{"front", folder_.File("front")}});
  front_options.peers["encoder"] = {hub->peer_endpoint()};
  const std::unique_ptr<Node> front = StartNode(std::move(front_options));
  const double empty = Metric(*hub, "portico_result_cache_bytes", "model=\"encoder\"");
  EXPECT_GT(empty, 0);

  const auto rest = [&](const std::vector<int>& rows) {
    return Http(hub->http_address(), "/v1/models/encoder:predict", Instances(rows));
  };
  const HttpAnswer first = rest({1, 2, 3});
  EXPECT_EQ(first.code, 200) << first.body;
  EXPECT_EQ(rest({1, 2, 3}).body, first.body);
  EXPECT_EQ(Rows(*hub, "hit"), 3);
  EXPECT_EQ(Rows(*hub, "miss"), 3);

  // Through a portal of another node: two of these are known, the last is new and there twice.
  const HttpAnswer through = Http(front->http_address(), "/v1/models/front:predict", Instances({3, -7, 1, -7}));
  EXPECT_EQ(through.code, 200) << through.body;
  EXPECT_THAT(through.body, HasSubstr("[0.0,3.0],[7.0,0.0],[0.0,1.0],[7.0,0.0]"));
  EXPECT_EQ(Rows(*hub, "hit"), 5);
  EXPECT_EQ(Rows(*hub, "miss"), 4);
  EXPECT_EQ(Rows(*hub, "coalesced"), 1);

  // gRPC and the v2 API too.
  PredictClient client(hub->grpc_address());
  const auto outputs = client.Predict("encoder", {{"x", Tensor::Of<float>({1, 2}, {-7, 7})}});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_EQ(outputs->at("answer").data<float>()[0], 7);
  const HttpAnswer v2 = Http(hub->http_address(), "/v2/models/encoder/infer",
                             R"({"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[2,-2]}]})");
  EXPECT_EQ(v2.code, 200) << v2.body;
  EXPECT_EQ(Rows(*hub, "hit"), 7);
  EXPECT_EQ(Rows(*hub, "miss"), 4);
  // Three requests had all of their rows there, two had not.
  const std::string stats = Http(hub->http_address(), "/v2/models/encoder/stats").body;
  EXPECT_THAT(stats, HasSubstr("\"cache_hit\":{\"count\":3,\"ns\":"));
  EXPECT_THAT(stats, HasSubstr("\"cache_miss\":{\"count\":2,\"ns\":"));

  EXPECT_GT(Metric(*hub, "portico_result_cache_bytes", "model=\"encoder\""), empty);
  EXPECT_EQ(Metric(*hub, "portico_memory_bytes", "of=\"result_cache\""),
            Metric(*hub, "portico_result_cache_bytes", "model=\"encoder\""));
  EXPECT_THAT(Http(hub->http_address(), "/debug/memory").body, HasSubstr("\"max_bytes\":4194304"));
}

TEST_F(ResultCacheNodeTest, AnyNumberOfRowsOfNoBytesIsAnswered) {
  ModelBuilder()
      .Input("x", DType::kFloat, {"N", "D"})
      .Output("y", DType::kFloat, {"N", "D"})
      .Node("Neg", {"x"}, {"y"})
      .WriteTo(folder_.File("wide/1/model.onnx"));
  Node::Options options = LocalNode("n", {{"wide", folder_.File("wide")}});
  options.models[0].result_cache_mib = 1;
  const std::unique_ptr<Node> node = StartNode(std::move(options));
  for (const char* rows : {"1099511627776", "5"}) {
    Http(node->http_address(), "/v2/models/wide/infer",
         absl::StrCat(R"({"inputs":[{"name":"x","shape":[)", rows, R"(,0],"datatype":"FP32","data":[]}]})"));
  }
  const HttpAnswer after = Http(node->http_address(), "/v2/models/wide/infer",
                                R"({"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[2,-2]}]})");
  EXPECT_EQ(after.code, 200) << after.body;
  EXPECT_EQ(Rows(*node, "miss"), 1);
}

TEST_F(ResultCacheNodeTest, ServableYamlAsksForItToo) {
  folder_.Write("encoder/1/servable.yaml", "result_cache_mib: 2\n");
  const std::unique_ptr<Node> hub = StartNode(Hub());
  Http(hub->http_address(), "/v1/models/encoder:predict", Instances({1, 1}));
  EXPECT_EQ(Rows(*hub, "miss"), 1);
  EXPECT_EQ(Rows(*hub, "coalesced"), 1);
  // What the node is told stands in for what the package says.
  Node::Options off = Hub();
  off.models[0].result_cache_mib = 0;
  const std::unique_ptr<Node> without = StartNode(std::move(off));
  Http(without->http_address(), "/v1/models/encoder:predict", Instances({1, 1}));
  EXPECT_EQ(Rows(*without, "miss"), -1);
}

TEST_F(ResultCacheNodeTest, WhatCannotBeKeptIsRefusedWithTheReason) {
  const auto why = [&](const std::string& model) {
    Node::Options options = LocalNode("n", {{model, folder_.File(model)}});
    options.models[0].result_cache_mib = 1;
    options.servables.load_retries = 0;
    const std::unique_ptr<Node> node = StartNode(std::move(options));
    const auto status = node->inference().servables().Status({.name = model});
    return status.ok() ? std::string((*status)[0].status.message()) : std::string(status.status().message());
  };
  EXPECT_THAT(why("front"), HasSubstr("result_cache_mib: signature 'serving_default': got a portal to encoder, want no "
                                      "portal, behind which answers may change; set it at what the portal calls"));
  ModelBuilder()
      .Input("x", DType::kFloat, {"N", 2})
      .Output("y", DType::kFloat, {"N", 2})
      .Node("RandomUniformLike", {"x"}, {"noise"})
      .Node("Add", {"x", "noise"}, {"y"})
      .WriteTo(folder_.File("random/1/model.onnx"));
  EXPECT_THAT(why("random"), HasSubstr("(RandomUniformLike), want ops that are known to give the same each time"));
  ModelBuilder()
      .Input("x", DType::kFloat, {3, 2})
      .Output("y", DType::kFloat, {3, 2})
      .Node("Neg", {"x"}, {"y"})
      .WriteTo(folder_.File("fixed/1/model.onnx"));
  EXPECT_THAT(why("fixed"), HasSubstr("got no rows to tell apart ("));
  folder_.Write("encoder/1/servable.yaml", "batching: {pad_variable_length_inputs: true}\n");
  EXPECT_THAT(why("encoder"), HasSubstr("got pad_variable_length_inputs"));
  ModelBuilder ragged;
  ragged.Input("ids", DType::kInt64, {"V"}).Input("lengths", DType::kInt64, {"N"});
  ragged.Output("y", DType::kInt64, {"N"}).Node("Add", {"lengths", "lengths"}, {"y"});
  ragged.WriteTo(folder_.File("ragged/1/model.onnx"));
  folder_.Write("ragged/1/servable.yaml", R"(
signatures:
  serving_default:
    inputs: {ids: {axis: ragged, row_lengths: lengths}, lengths: {}}
    outputs: {y: {axis: rows}}
)");
  EXPECT_THAT(why("ragged"), HasSubstr("result_cache_mib: signature 'serving_default': got ragged input 'ids', want"));
}

}  // namespace
}  // namespace portico
