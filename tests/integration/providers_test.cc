// Execution providers of a node and its models: checked before anything serves.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/algorithm/container.h"
#include "models/runtime/ort_providers.h"
#include "models/runtime/provider_check.h"
#include "tests/integration/node_fixture.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::vector<ExecutionProvider> Only(absl::string_view name) { return {ExecutionProvider{std::string(name), {}}}; }

class ProvidersNodeTest : public ::testing::Test {
 protected:
  ProvidersNodeTest() {
    ModelBuilder()
        .Input("x", DType::kFloat, {"N", 2})
        .Output("y", DType::kFloat, {"N", 2})
        .Node("Neg", {"x"}, {"y"})
        .WriteTo(folder_.File("m/1/model.onnx"));
  }
  Node::Options Options() const { return LocalNode("gpu", {{"m", folder_.File("m")}}); }

  const TempFolder folder_;
};

TEST_F(ProvidersNodeTest, AModelRunsByWhatItsNodeSaysOrItself) {
  // What starts on this machine, besides the processor; on most there is nothing.
  std::vector<ExecutionProvider> starting;
  for (const std::string& name : ProvidersOfOnnxRuntime()) {
    if (CheckProvidersStart(Only(name)).ok()) starting.push_back({name, {}});
  }
  Node::Options options = Options();
  options.models.push_back({"own", folder_.File("m")});
  options.models[1].providers = Only("cpu");
  options.providers = starting;
  const std::unique_ptr<Node> node = StartNode(std::move(options));
  for (const char* model : {"m", "own"}) {
    const HttpAnswer answer =
        Http(node->http_address(), absl::StrCat("/v1/models/", model, ":predict"), "{\"instances\":[[1,-2]]}");
    EXPECT_EQ(answer.code, 200) << answer.body;
    EXPECT_THAT(answer.body, HasSubstr("[-1.0,2.0]"));
  }
  const std::string metrics = Http(node->http_address(), "/metrics").body;
  EXPECT_THAT(metrics, HasSubstr(absl::StrCat("portico_model_providers{model=\"m\",providers=\"",
                                              ProviderNames(starting), "\",version=\"1\"} 1")));
  EXPECT_THAT(metrics, HasSubstr("portico_model_providers{model=\"own\",providers=\"cpu\",version=\"1\"} 1"));
}

TEST_F(ProvidersNodeTest, WhatDoesNotStartIsRefusedBeforeAnythingServes) {
  const auto missing = [](const std::string& name) { return !CheckProvidersStart(Only(name)).ok(); };
  int refused = 0;
  for (const absl::string_view name : KnownProviders()) {
    if (!missing(std::string(name))) continue;
    ++refused;
    Node::Options of_node = Options();
    of_node.providers = Only(name);
    of_node.providers.push_back({"cpu", {}});
    const auto node = Node::Start(std::move(of_node));
    ASSERT_FALSE(node.ok());
    EXPECT_EQ(node.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(node.status().message()),
                AllOf(StartsWith(absl::StrCat("node 'gpu': execution provider '", name, "': this ONNX Runtime 1.")),
                      HasSubstr(absl::StrCat("or remove '", name, "'"))));
    Node::Options of_model = Options();
    of_model.models[0].providers = Only(name);
    EXPECT_THAT(std::string(Node::Start(std::move(of_model)).status().message()),
                StartsWith(absl::StrCat("node 'gpu', model 'm': execution provider '", name, "': ")));
  }
  // No build has all of them.
  EXPECT_GT(refused, 0);
}

TEST_F(ProvidersNodeTest, AListThatMakesNoSenseIsRefused) {
  Node::Options options = Options();
  options.providers = Only("cdua");
  EXPECT_THAT(std::string(Node::Start(std::move(options)).status().message()),
              HasSubstr("node 'gpu': execution provider 'cdua': got a name that is none"));
}

}  // namespace
}  // namespace portico
