// Models that mesh.yaml makes of others, as processes: composed, rolled out and changed by `portico up`.

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
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
    WriteModel("third", "Mul", -1);
  }

  /// NAME/1: y = op(x, value), float32[N,2].
  void WriteModel(const std::string& name, const std::string& op_type, float value) const {
    ModelBuilder model;
    model.Input("x", DType::kFloat, {"N", 2}).Output("y", DType::kFloat, {"N", 2});
    model.Initializer("w", {}, {value}).Node(op_type, {"x", "w"}, {"y"});
    model.WriteTo(folder_.File(absl::StrCat(name, "/1/model.onnx")));
  }

  /// mesh.yaml of those two and `made`, all served; replaced at once.
  std::string WriteMesh(absl::string_view made, absl::string_view back = "") const {
    const std::string text = absl::StrCat(
        "mesh: kitchen\nmodels:\n  double: {path: double}\n  more: {path: more}\n", made,
        "nodes:\n  front: {serve: [made], grpc: 0}\n  back: {serve: [double, more", back, "], replicas: 2}\n");
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

  /// The first answer that is not `old`: nodes hear of a flip a little later than who has ordered it.
  std::vector<float> AskAnew(const std::vector<float>& x, const std::vector<float>& old) const {
    absl::StatusOr<std::vector<float>> answer = old;
    for (const absl::Time end = absl::Now() + absl::Seconds(30); absl::Now() < end && answer.ok() && *answer == old;) {
      answer = Ask(x);
    }
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.value_or(std::vector<float>());
  }

  /// Its row status.
  std::vector<int> AskStatus(const std::vector<float>& x) const {
    const auto status = ReadNodeStatus(run_folder() + "/status/front-0.json");
    TfsClient client(status->grpc);
    const auto rows = static_cast<int64_t>(x.size() / 2);
    auto prediction = client.Predict("made", "", {{"x", Tensor::Of<float>({rows, 2}, absl::MakeConstSpan(x))}}, {});
    EXPECT_TRUE(prediction.ok()) << prediction.status();
    if (!prediction.ok()) return {};
    for (const NamedTensor& one : prediction->outputs) {
      if (one.name != "row_status") continue;
      const absl::Span<const int8_t> values = one.tensor.data<int8_t>();
      return std::vector<int>(values.begin(), values.end());
    }
    return {};
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
  EXPECT_THAT(AskAnew({10, 20}, {65, 80}), ElementsAre(220, 240));
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

TEST_F(CompositionTest, CascadeSendsOnTheRowsOfItsCondition) {
  const std::string stages = "stages: [double, {model: more, when: \"y[0] > 30 || isnan(y)\"}]";
  PorticoCommand up({"up", WriteMesh(absl::StrCat("  made: {cascade: {", stages, ", row_status: true}}\n")),
                     "--run-folder", run_folder()});
  ASSERT_TRUE(up.WaitForOutput("mesh 'kitchen' is ready")) << up.output();
  const std::vector<float> x = {10, 1, 20, 2, 15, 4, 16, 3};
  auto answer = Ask(x);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_THAT(*answer, ElementsAre(20, 2, 120, 102, 30, 8, 116, 103));
  EXPECT_THAT(AskStatus(x), ElementsAre(0, 1, 0, 1));
  // Nothing goes on, all goes on, and no rows at all.
  EXPECT_THAT(*Ask({1, 2}), ElementsAre(2, 4));
  EXPECT_THAT(*Ask({50, 1, 60, 1}), ElementsAre(150, 101, 160, 101));
  EXPECT_TRUE(Ask({})->empty());

  // Another threshold is another revision.
  WriteMesh("  made: {cascade: {stages: [double, {model: more, when: \"y[0] > 20\"}]}}\n");
  ASSERT_TRUE(up.WaitForOutput("revision 2 is current")) << up.output();
  EXPECT_THAT(AskAnew(x, *answer), ElementsAre(20, 2, 120, 102, 115, 104, 116, 103));
}

TEST_F(CompositionTest, ACascadeThatIsWatchedTellsThatItsModelsDoNotAgree) {
  PorticoCommand up(
      {"up",
       WriteMesh("  made:\n    cascade:\n      stages: [double, {model: more, when: \"y[0] > 30\"}]\n"
                 "      audit: {share: 50%, outputs: [y], tolerance: 0.001}\n      expected: {agreement: 99%}\n"
                 "      brown_out: {max_shed: 50%, slower_than: 1m}\n"),
       "--run-folder", run_folder()});
  ASSERT_TRUE(up.WaitForOutput("mesh 'kitchen' is ready")) << up.output();
  // What does not go on is doubled, which 'more' does not do, and no number of it is within 0.001.
  std::vector<float> x;
  for (int row = 0; row < 40; ++row) x.insert(x.end(), {10, static_cast<float>(row % 5)});
  x.insert(x.end(), {20, 2});
  for (int i = 0; i < 30; ++i) {
    const auto answer = Ask(x);
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ((*answer)[2], 20);
    EXPECT_THAT(std::vector<float>(answer->end() - 2, answer->end()), ElementsAre(120, 102));
    absl::SleepFor(absl::Milliseconds(100));
  }
  EXPECT_TRUE(up.WaitForOutput("portal 'more' to 'more': audited rows that agree: got ")) << up.output();
}

TEST_F(CompositionTest, ThreeStagesGoOnFromTheOneBefore) {
  PorticoCommand up(
      {"up",
       WriteMesh("  third: {path: third}\n  made: {cascade: {stages: [double, {model: more, when: \"y[0] > "
                 "30\"}, {model: third, when: \"y[0] < 119\"}], row_status: true}}\n",
                 ", third"),
       "--run-folder", run_folder()});
  ASSERT_TRUE(up.WaitForOutput("mesh 'kitchen' is ready")) << up.output();
  // The first does not go on though the last condition holds; the second stops at the second stage.
  const std::vector<float> x = {10, 1, 20, 2, 16, 3};
  const auto answer = Ask(x);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_THAT(*answer, ElementsAre(20, 2, 120, 102, -16, -3));
  EXPECT_THAT(AskStatus(x), ElementsAre(0, 1, 1));
}

TEST_F(CompositionTest, ExpertsByTheGate) {
  ModelBuilder gate;
  gate.Input("x", DType::kFloat, {"N", 2}).Output("gate", DType::kFloat, {"N", 2}).Node("Identity", {"x"}, {"gate"});
  gate.WriteTo(folder_.File("pick/1/model.onnx"));
  PorticoCommand up(
      {"up",
       WriteMesh("  pick: {path: pick}\n  made: {experts: {gate: pick, experts: [double, more], row_status: "
                 "true}}\n"),
       "--run-folder", run_folder()});
  ASSERT_TRUE(up.WaitForOutput("mesh 'kitchen' is ready")) << up.output();
  const std::vector<float> x = {3, 1, 1, 3, 8, 2};
  auto answer = Ask(x);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_THAT(*answer, ElementsAre(6, 2, 101, 103, 16, 4));
  EXPECT_THAT(AskStatus(x), ElementsAre(0, 0, 0));

  // Both, by gates that are weights.
  WriteMesh(
      "  pick: {path: pick}\n  made: {experts: {gate: pick, experts: [double, more], k: 2, weights: renormalize}}\n");
  ASSERT_TRUE(up.WaitForOutput("revision 2 is current")) << up.output();
  EXPECT_THAT(AskAnew({3, 1}, {6, 2}), ElementsAre(testing::FloatNear(0.75f * 6 + 0.25f * 103, 1e-3f),
                                                   testing::FloatNear(0.75f * 2 + 0.25f * 101, 1e-3f)));
}

}  // namespace
}  // namespace portico
