// `external:` of mesh.yaml, as processes: a mesh whose portals lead to a server outside of it, over both APIs and both
// wires. That server is a node of ours: tests/clients/foreign_server_test.py has those of others.

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "cli/tfs_client.h"
#include "deploy/node_status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/portico_command.h"
#include "tests/integration/serving_process.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

class ExternalTest : public ::testing::Test {
 protected:
  ExternalTest() {
    // Version 3 is what the mesh asks for; the newest would answer with other numbers.
    for (const auto& [version, factor] : {std::pair(3, 2.0f), std::pair(4, 100.0f)}) {
      ModelBuilder ranker;
      ranker.Input("x", DType::kFloat, {"N", 1}).Input("words", DType::kString, {"N", 1});
      ranker.Output("same", DType::kString, {"N", 1}).Output("product", DType::kFloat, {"N", 1});
      ranker.Initializer("factor", {}, {factor}).Node("Mul", {"x", "factor"}, {"product"});
      ranker.Node("Identity", {"words"}, {"same"});
      ranker.WriteTo(folder_.File(absl::StrCat("ranker/", version, "/model.onnx")));
    }
    const std::string config =
        folder_.Write("models.config", absl::StrCat("model_config_list { config { name: 'ranker' base_path: '",
                                                    folder_.path(), "/ranker' model_version_policy { all {} } } }"));
    server_ = std::make_unique<ServingProcess>(
        std::vector<std::string>{"--model_config_file=" + config, "--grpc=127.0.0.1:0", "--http=127.0.0.1:0"});
  }

  void WriteCaller(const std::string& name, const std::string& target) {
    ModelBuilder model;
    model.Input("x", DType::kFloat, {"N", 1}).Input("words", DType::kString, {"N", 1});
    model.Output("score", DType::kFloat, {"N", 1}).Output("loud", DType::kString, {"N", 1});
    model.Portal("Remote", target, {"x", "words"}, {"product", "same"}, {DType::kFloat, DType::kString}, {"N,1", "N,1"},
                 {Strings("input_names", {"x", "words"})});
    model.Initializer("one", {}, {1.0f});
    model.Node("Add", {"product", "one"}, {"score"}).Node("Identity", {"same"}, {"loud"});
    model.WriteTo(folder_.File(absl::StrCat(name, "/1/model.onnx")));
  }

  /// score of `model` for x = 1, 2, …, `rows`.
  absl::StatusOr<std::vector<float>> Score(const std::string& address, const std::string& model, int rows) {
    std::vector<float> x;
    std::vector<std::string> words;
    for (int i = 1; i <= rows; ++i) {
      x.push_back(static_cast<float>(i));
      words.push_back(absl::StrCat("w\"", i));
    }
    TfsClient client(address);
    auto prediction = client.Predict(
        model, "",
        {{"x", Tensor::Of<float>({rows, 1}, absl::MakeConstSpan(x))}, {"words", Tensor::OfStrings({rows, 1}, words)}},
        {});
    if (!prediction.ok()) return prediction.status();
    std::vector<float> score;
    for (const NamedTensor& output : prediction->outputs) {
      if (output.name == "loud") {
        EXPECT_EQ(output.tensor.StringAt(static_cast<uint64_t>(rows) - 1), words.back());
        continue;
      }
      const Tensor aligned = output.tensor.Aligned();
      const absl::Span<const float> values = aligned.data<float>();
      score.assign(values.begin(), values.end());
    }
    return score;
  }

  const TempFolder folder_;
  std::unique_ptr<ServingProcess> server_;
};

TEST_F(ExternalTest, PortalsReachServersOutsideTheMeshOverBothApisAndWires) {
  const std::string grpc = server_->Address("grpc"), http = server_->Address("http");
  const std::vector<std::pair<std::string, std::string>> targets = {{"tfs_grpc", "tfs+grpc://" + grpc},
                                                                    {"v2_grpc", "v2+grpc://" + grpc},
                                                                    {"tfs_rest", "tfs+http://" + http},
                                                                    {"v2_rest", "v2+http://" + http}};
  std::string models, external, serve;
  for (const auto& [name, endpoint] : targets) {
    WriteCaller(name, "legacy/" + name);
    absl::StrAppend(&models, "  ", name, ": {path: ", name, "}\n");
    absl::StrAppend(&external, "  legacy/", name, ": {peers: ['", endpoint, "'], model: ranker, version: 3}\n");
    absl::StrAppend(&serve, serve.empty() ? "" : ", ", name);
  }
  const std::string mesh =
      folder_.Write("mesh.yaml", absl::StrCat("mesh: outside\nmodels:\n", models, "external:\n", external,
                                              "nodes:\n  apps: {serve: [", serve, "], grpc: 0, zone: eu-1}\n"));
  PorticoCommand up({"up", mesh, "--run-folder", folder_.path() + "/run"});
  ASSERT_TRUE(up.WaitForOutput("mesh 'outside' is ready")) << up.output();
  const auto status = ReadNodeStatus(folder_.path() + "/run/status/apps-0.json");
  ASSERT_TRUE(status.ok()) << status.status();
  for (const auto& [name, endpoint] : targets) {
    // Over REST binary data are used from the second call on.
    for (const int rows : {1, 3, 5000}) {
      const auto score = Score(status->grpc, name, rows);
      ASSERT_TRUE(score.ok()) << name << ": " << score.status();
      EXPECT_EQ(score->front(), 3.0f) << name;
      EXPECT_EQ(score->back(), 2.0f * static_cast<float>(rows) + 1) << name;
    }
  }
  server_.reset();
  for (const auto& [name, endpoint] : targets) {
    const auto score = Score(status->grpc, name, 1);
    EXPECT_EQ(score.status().code(), absl::StatusCode::kUnavailable) << name << ": " << score.status();
    EXPECT_THAT(score.status().message(), HasSubstr("portal to 'legacy/" + name + "'"));
  }
}

TEST_F(ExternalTest, PoliciesHoldForExternalTargets) {
  WriteCaller("app", "legacy/ranker");
  const std::string mesh = folder_.Write(
      "mesh.yaml",
      absl::StrCat("mesh: outside\nmodels:\n  app: {path: app}\nexternal:\n  legacy/ranker: {peers: ['v2+http://",
                   server_->Address("http"),
                   "'], model: ranker, version: 3}\nnodes:\n  apps: {serve: [app], grpc: 0}\n",
                   "policies:\n  legacy/ranker: {on_error: {defaults: {product: 7, same: 'w\"1'}}}\n"));
  PorticoCommand up({"up", mesh, "--run-folder", folder_.path() + "/run"});
  ASSERT_TRUE(up.WaitForOutput("mesh 'outside' is ready")) << up.output();
  const auto status = ReadNodeStatus(folder_.path() + "/run/status/apps-0.json");
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_EQ(Score(status->grpc, "app", 1).value_or(std::vector<float>()), std::vector<float>{3});
  server_.reset();
  EXPECT_EQ(Score(status->grpc, "app", 1).value_or(std::vector<float>()), std::vector<float>{8});
}

}  // namespace
}  // namespace portico
