// Products with portals of other ops than Remote: shared, served by real processes, asked by a client.

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "cli/tfs_client.h"
#include "deploy/node_status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/runtime/row_check.h"
#include "tests/integration/cli_folder.h"
#include "tests/integration/portico_command.h"
#include "tests/models/package/group_builder.h"
#include "tests/models/share/share_fixture.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class SharePortalsCliTest : public CliFolder {
 protected:
  SharePortalsCliTest() {
    Layers full;
    full.model.Node("Identity", {full.Dense(full.Input("in", 8), 8, 8, 3)}, {"out"});
    full.Output("out", 8);
    full.model.WriteTo(folder_.File("packages/acme/full/1/model.onnx"));
    WeightStore store;
    digest_ = ModelDigest(*Model::Load(folder_.path() + "/packages/acme/full/1/model.onnx", store))->Hex();
  }

  /// Rows whose largest cheap answer is below 0.05 go to acme/full.
  std::string Cascade(Layers& layers, const std::string& x) const {
    const std::string cheap = layers.Dense(x, 8, 8, 2);
    const std::string best = layers.Op("ReduceMax", {cheap}, {Ints("axes", {1}), Int("keepdims", 0)});
    const std::string escalate = layers.Op("Less", {best, layers.Weight(Tensor::Of<float>({1}, {0.05f}))});
    layers.model.Portal("Cascade", "acme/full", {escalate, cheap, x}, {x + "_answer"}, {DType::kFloat}, {"N,8"},
                        {String("digest", digest_), Strings("input_names", {"in"}), Strings("output_names", {"out"})});
    return x + "_answer";
  }
  /// Rows 4 and 5 of a table, by how large x is: those have no negative numbers.
  static std::string Bag(Layers& layers, const std::string& x) {
    const std::string half = layers.Weight(Tensor::Of<float>({1}, {0.5f}));
    const std::string small = layers.Op("Cast", {layers.Op("Less", {x, half})}, {Int("to", onnx::TensorProto::INT64)});
    const std::string ids = layers.Op("Add", {small, layers.Weight(Tensor::Of<int64_t>({1}, {4}))});
    layers.model.Portal(
        "EmbeddingBag", "clicks", {ids}, {x + "_bag"}, {DType::kFloat}, {"N,8"},
        {Strings("tables", {"items"}), Ints("dims", {8}), Strings("poolings", {"sum"}), Strings("forms", {"padded"}),
         Strings("id_kinds", {"dense"}), Strings("input_names", {}), Strings("output_names", {})});
    return x + "_bag";
  }
  /// packages/NAME/1: a layer, a bag where `with_bag`, a cascade, a layer and a head of the product's own.
  void WriteProduct(const std::string& name, float head, bool with_bag) {
    Layers layers(name);
    std::string x = layers.Dense(layers.Input("x", 8), 8, 8, -0.2f);
    if (with_bag) x = Bag(layers, x);
    x = Cascade(layers, x);
    layers.Output(layers.Dense(layers.Dense(x, 8, 8, 7), 8, 3, head), 3);
    layers.model.WriteTo(folder_.File(absl::StrCat("packages/", name, "/1/model.onnx")));
  }
  void WriteTables() {
    TableSpec items;
    items.name = "items";
    items.dim = 8;
    const absl::Status built = BuildGroup(folder_.path() + "/packages/clicks", 2, {{items, 100}});
    ASSERT_TRUE(built.ok()) << built;
  }

  /// What a mesh answers to rows of which some escalate: one and two.
  std::vector<Tensor> Ask(const std::string& mesh, const std::string& name) {
    const std::string run = absl::StrCat(folder_.path(), "/run_", name);
    PorticoCommand up({"up", mesh, "--run-folder", run});
    EXPECT_TRUE(up.WaitForOutput("mesh '" + name + "' is ready")) << up.output();
    const auto status = ReadNodeStatus(run + "/status/apps-0.json");
    if (!status.ok()) return {};
    TfsClient client(status->grpc);
    std::vector<float> values(6 * 8);
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = (i / 8 % 2 == 0 ? 1.0f : -1.0f) * (0.5f + 0.01f * static_cast<float>(i));
    }
    std::vector<Tensor> answers;
    for (const std::string& product : {std::string("one"), std::string("two")}) {
      const auto answer =
          client.Predict(product, "", {{product + "x", Tensor::Of<float>({6, 8}, absl::MakeConstSpan(values))}}, {});
      EXPECT_TRUE(answer.ok()) << answer.status();
      if (answer.ok() && answer->outputs.size() == 1) answers.push_back(answer->outputs[0].tensor);
    }
    return answers;
  }

  void ExpectTheSameAnswers(const std::string& before, const std::string& shared) {
    const std::vector<Tensor> want = Ask(before, "before"), got = Ask(shared, "shared");
    ASSERT_EQ(want.size(), 2u);
    ASSERT_EQ(got.size(), 2u);
    for (size_t i = 0; i < 2; ++i) {
      const absl::Status equal = CompareTensors(got[i], want[i]);
      EXPECT_TRUE(equal.ok()) << equal;
      // Rows that escalate are answered otherwise than those that do not.
      EXPECT_FALSE(CompareTensors(want[i].Slice(0, 1), want[i].Slice(1, 1)).ok());
    }
  }
  /// The mesh file that `portico share` printed, on ports that are free.
  std::string MeshOf(const std::string& output) {
    const std::vector<std::string> parts = absl::StrSplit(output, "mesh.yaml that serves it:\n");
    EXPECT_EQ(parts.size(), 2u) << output;
    return folder_.Write("shared.yaml",
                         absl::StrReplaceAll(parts.back(), {{"grpc: 8500, http: 8501", "grpc: 0, http: 0"}}));
  }

  std::string digest_;
};

TEST_F(SharePortalsCliTest, AModuleWithACascadeAnswersThroughAMeshAsTheProductsDid) {
  WriteProduct("one", 5, false);
  WriteProduct("two", 6, false);
  const Result share = Portico(
      "share packages/one/1/model.onnx packages/two/1/model.onnx --min-bytes 100 --name hub/trunk --out shared");
  ASSERT_EQ(share.exit_code, 0) << share.err;
  EXPECT_THAT(share.out, AllOf(HasSubstr("verified: one, 3 runs equal"), HasSubstr("verified: two, 3 runs equal")));
  EXPECT_THAT(Portico("inspect shared/hub/trunk/1").out, AllOf(HasSubstr("Cascade"), HasSubstr("acme/full")));
  EXPECT_THAT(Portico("inspect shared/one/1").out, AllOf(Not(HasSubstr("Cascade")), HasSubstr("hub/trunk")));
  const std::string before = folder_.Write(
      "before.yaml",
      "mesh: before\nmodels:\n  acme/full: {path: packages/acme/full}\n  one: {path: packages/one}\n"
      "  two: {path: packages/two}\nnodes:\n  full: {serve: [acme/full]}\n  apps: {serve: [one, two], grpc: 0}\n");
  ExpectTheSameAnswers(before, MeshOf(share.out));
}

TEST_F(SharePortalsCliTest, AModuleWithTablesNeedsThemAndTheMeshFileHasThem) {
  WriteProduct("one", 5, true);
  WriteProduct("two", 6, true);
  const std::string command =
      "share packages/one/1/model.onnx packages/two/1/model.onnx --min-bytes 100 --name hub/trunk --out shared";
  const Result none = Portico(command);
  EXPECT_EQ(none.exit_code, 1);
  EXPECT_THAT(none.err,
              AllOf(HasSubstr("looks up in the tables of 'clicks'"), HasSubstr("say where it is: --package clicks=")));
  EXPECT_FALSE(Exists("shared"));
  WriteTables();
  const Result share = Portico(command);
  ASSERT_EQ(share.exit_code, 0) << share.err;
  EXPECT_THAT(share.out, AllOf(HasSubstr("verified: one, 3 runs equal"), HasSubstr("tables:\n  clicks: {path: ")));
  EXPECT_THAT(Portico("inspect shared/hub/trunk/1").out, AllOf(HasSubstr("EmbeddingBag"), HasSubstr("clicks")));
  const std::string before =
      folder_.Write("before.yaml",
                    "mesh: before\nmodels:\n  acme/full: {path: packages/acme/full}\n  one: {path: packages/one}\n"
                    "  two: {path: packages/two}\ntables:\n  clicks: {path: packages/clicks}\n"
                    "nodes:\n  full: {serve: [acme/full, clicks]}\n  apps: {serve: [one, two], grpc: 0}\n");
  ExpectTheSameAnswers(before, MeshOf(share.out));
}

}  // namespace
}  // namespace portico
