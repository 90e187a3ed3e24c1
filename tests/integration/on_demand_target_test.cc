// A portal whose target is loaded when it is asked for, by a node that serves something else meanwhile.

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "tests/integration/node_fixture.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

ModelBuilder Negates() {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", 2}).Output("answer", DType::kFloat, {"N", 2}).Node("Neg", {"x"}, {"answer"});
  return model;
}

TEST(OnDemandTarget, TheFirstCallWaitsForTheLoadAndNoneFails) {
  const TempFolder folder;
  Negates().WriteTo(folder.File("busy/1/model.onnx"));
  Negates().WriteTo(folder.File("asked/1/model.onnx"));
  ModelBuilder()
      .Input("x", DType::kFloat, {"N", 2})
      .Output("y", DType::kFloat, {"N", 2})
      .Portal("Remote", "asked", {"x"}, {"answer"}, {DType::kFloat}, {"N,2"})
      .Node("Relu", {"answer"}, {"y"})
      .WriteTo(folder.File("front/1/model.onnx"));
  // What is loaded stands in its HELLO, so that the list is not empty: an empty one says nothing.
  Node::Options hub = LocalNode("hub", {{"busy", folder.File("busy")}, {"asked", folder.File("asked")}});
  hub.models[1].on_demand = true;
  const std::unique_ptr<Node> target = StartNode(std::move(hub));
  Node::Options options = LocalNode("front", {{"front", folder.File("front")}});
  options.peers["asked"] = {target->peer_endpoint()};
  const std::unique_ptr<Node> front = StartNode(std::move(options));

  PredictClient client(front->grpc_address());
  const std::vector<NamedTensor> inputs = {{"x", Tensor::Of<float>({1, 2}, {-1, 5})}};
  const auto answer = [&] {
    auto outputs = client.Predict("front", inputs, absl::Seconds(30));
    EXPECT_TRUE(outputs.ok()) << outputs.status();
    return outputs.ok() ? (*outputs)["y"].data<float>()[0] : -1;
  };
  EXPECT_EQ(answer(), 1);
  // The target is loaded now, and its HELLO has changed: nothing else has.
  for (int i = 0; i < 20; ++i) EXPECT_EQ(answer(), 1);
  EXPECT_NE(Http(target->http_address(), "/v2/models/asked/ready").code, 404);
}

}  // namespace
}  // namespace portico
