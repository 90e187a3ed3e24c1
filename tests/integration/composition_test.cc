// Models that mesh.yaml makes of others, as processes: composed, rolled out and changed by `portico up`.

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/tfs_client.h"
#include "deploy/node_status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/portico_command.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CompositionTest : public ::testing::Test {
 protected:
  CompositionTest() {
    WriteModel("double", "Mul", 2);
    WriteModel("more", "Add", 100);
  }

  /// NAME/1: y = op(x, value), float32[N,2].
  void WriteModel(const std::string& name, const std::string& op_type, float value) const {
    ModelBuilder model;
    model.Input("x", DType::kFloat, {"N", 2}).Output("y", DType::kFloat, {"N", 2});
    model.Initializer("w", {}, {value}).Node(op_type, {"x", "w"}, {"y"});
    model.WriteTo(folder_.File(absl::StrCat(name, "/1/model.onnx")));
  }

  /// mesh.yaml of those two and `made`, all served; replaced at once.
  std::string WriteMesh(absl::string_view made) const {
    const std::string text =
        absl::StrCat("mesh: kitchen\nmodels:\n  double: {path: double}\n  more: {path: more}\n", made,
                     "nodes:\n  front: {serve: [made], grpc: 0}\n  back: {serve: [double, more], replicas: 2}\n");
    const std::string path = folder_.Write("mesh.yaml.new", text);
    std::filesystem::rename(path, folder_.path() + "/mesh.yaml");
    return folder_.path() + "/mesh.yaml";
  }
  std::string run_folder() const { return folder_.path() + "/run"; }

  /// What `made` answers to `x`, rows of two.
  absl::StatusOr<std::vector<float>> Ask(const std::vector<float>& x, const std::string& output = "y") const {
    const auto status = ReadNodeStatus(run_folder() + "/status/front-0.json");
    if (!status.ok()) return status.status();
    TfsClient client(status->grpc);
    const auto rows = static_cast<int64_t>(x.size() / 2);
    auto prediction = client.Predict("made", "", {{"x", Tensor::Of<float>({rows, 2}, absl::MakeConstSpan(x))}}, {});
    if (!prediction.ok()) return prediction.status();
    for (const NamedTensor& one : prediction->outputs) {
      if (one.name != output) continue;
      const Tensor aligned = one.tensor.Aligned();
      const absl::Span<const float> values = aligned.data<float>();
      return std::vector<float>(values.begin(), values.end());
    }
    return absl::NotFoundError(absl::StrCat("got no output ", output));
  }

  const TempFolder folder_;
};

TEST_F(CompositionTest, IsServedAndRolledOutAgainWhenItChanges) {
  PorticoCommand up({"up", WriteMesh("  made: {ensemble: {models: [double, {model: more, inline: true}]}}\n"),
                     "--run-folder", run_folder()});
  ASSERT_TRUE(up.WaitForOutput("mesh 'kitchen' is ready")) << up.output();
  auto answer = Ask({10, 20, -2, 0});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_THAT(*answer, ElementsAre((20.0f + 110.0f) / 2, (40.0f + 120.0f) / 2, (-4.0f + 98.0f) / 2, 50));

  WriteMesh("  made: {sequence: [{model: more, outputs: {y: x}}, double]}\n");
  ASSERT_TRUE(up.WaitForOutput("revision 2 is current")) << up.output();
  answer = Ask({10, 20});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_THAT(*answer, ElementsAre(220, 240));
  EXPECT_TRUE(std::filesystem::exists(run_folder() + "/composed/made/1/model.onnx"));
  EXPECT_TRUE(std::filesystem::exists(run_folder() + "/composed/made/2/model.onnx"));

  // What does not fit changes nothing.
  WriteMesh("  made: {sequence: [{model: more, outputs: {z: x}}, double]}\n");
  ASSERT_TRUE(up.WaitForOutput("revision 2 goes on, since")) << up.output();
  ASSERT_TRUE(up.WaitForOutput("mesh.yaml:5: model 'made': 'more': outputs: got 'z', want one of its outputs: y"))
      << up.output();
  EXPECT_TRUE(Ask({1, 2}).ok());
}

TEST_F(CompositionTest, CommandWritesAnOrdinaryPackage) {
  const std::string mesh =
      WriteMesh("  made: {ensemble: {models: [double, {model: more, inline: true}], combine: concat}}\n");
  const std::string out = folder_.path() + "/out";
  CommandResult result = RunPortico({"compose", mesh, "--model", "made", "--out", out});
  EXPECT_EQ(result.end, "exit status 0") << result.output;
  EXPECT_THAT(result.output, AllOf(HasSubstr("made  digest "), HasSubstr("in   x float32[N,2]"),
                                   HasSubstr("out  y float32[N,4]"), HasSubstr("out/made/1")));
  EXPECT_TRUE(std::filesystem::exists(out + "/made/1/servable.yaml"));
  // The same again is fine; another one in its place is not.
  EXPECT_EQ(RunPortico({"compose", mesh, "--out", out}).end, "exit status 0");
  WriteMesh("  made: {ensemble: {models: [double, more], combine: concat}}\n");
  result = RunPortico({"compose", mesh, "--out", out});
  EXPECT_EQ(result.end, "exit status 1");
  EXPECT_THAT(result.output, HasSubstr("choose another --version"));
  EXPECT_EQ(RunPortico({"compose", mesh, "--out", out, "--version", "2"}).end, "exit status 0");
  result = RunPortico({"inspect", out + "/made/2"});
  EXPECT_EQ(result.end, "exit status 0") << result.output;
}

}  // namespace
}  // namespace portico
