// `portico cascade tune` and `evaluate` on the digits cascade, and the mesh that serves what was tuned.

#include <algorithm>
#include <filesystem>
#include <regex>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/file.h"
#include "cli/npz.h"
#include "cli/tfs_client.h"
#include "deploy/node_status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/runtime/session.h"
#include "tests/integration/portico_command.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kCascade[] = PORTICO_SOURCE_DIR "/examples/digits/cascade";

const Tensor& Named(const std::vector<NamedTensor>& tensors, const std::string& name) {
  const auto found =
      std::find_if(tensors.begin(), tensors.end(), [&](const NamedTensor& tensor) { return tensor.name == name; });
  EXPECT_NE(found, tensors.end()) << name;
  return found->tensor;
}

/// What one model says of all images, by itself.
struct Answers {
  std::vector<float> probabilities;
  std::vector<int64_t> labels;
};

class CascadeTuneTest : public ::testing::Test {
 protected:
  CascadeTuneTest() {
    std::filesystem::copy(kCascade, folder_.path(), std::filesystem::copy_options::recursive);
    mesh_ = folder_.path() + "/mesh.yaml";
    // Ports that the system chooses.
    const std::string text = folder_.Read("mesh.yaml");
    folder_.Write("mesh.yaml", std::regex_replace(text, std::regex("(grpc|http): [0-9]+"), "$1: 0"));
  }

  CommandResult Tune(std::vector<std::string> more) const {
    std::vector<std::string> arguments = {"cascade",  "tune", mesh_, "--data", folder_.path() + "/calibration.npz",
                                          "--labels", "digit"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return RunPortico(arguments);
  }
  CommandResult Evaluate(std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments = {"cascade",  "evaluate", mesh_, "--data", folder_.path() + "/heldout.npz",
                                          "--labels", "digit"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return RunPortico(arguments);
  }

  Answers Run(const std::string& model, const Tensor& images) const {
    Answers answers;
    const auto bytes = ReadFile(absl::StrCat(folder_.path(), "/packages/", model, "/1/model.onnx"), 1 << 20);
    EXPECT_TRUE(bytes.ok()) << bytes.status();
    auto session = Session::Create(*bytes, {}, {.name = model});
    EXPECT_TRUE(session.ok()) << session.status();
    const auto outputs = (*session)->Run({images});
    EXPECT_TRUE(outputs.ok()) << outputs.status();
    for (size_t i = 0; i < outputs->size(); ++i) {
      if ((*session)->outputs()[i].name == "label") {
        const auto labels = (*outputs)[i].data<int64_t>();
        answers.labels.assign(labels.begin(), labels.end());
      } else {
        const auto values = (*outputs)[i].data<float>();
        answers.probabilities.assign(values.begin(), values.end());
      }
    }
    return answers;
  }

  TempFolder folder_;
  std::string mesh_;
};

float Margin(const std::vector<float>& probabilities, size_t row) {
  std::vector<float> values(probabilities.begin() + static_cast<std::ptrdiff_t>(row * 10),
                            probabilities.begin() + static_cast<std::ptrdiff_t>(row * 10 + 10));
  std::sort(values.rbegin(), values.rend());
  return values[0] - values[1];
}

TEST_F(CascadeTuneTest, TheMeshAnswersWhatTheOfflineEvaluationSays) {
  const CommandResult tune = Tune({"--min-agreement", "98.5%", "--svg", folder_.path() + "/frontier.svg", "--write"});
  ASSERT_EQ(tune.end, "exit status 0") << tune.output;
  EXPECT_THAT(tune.output, AllOf(HasSubstr("the trigger alone"), HasSubstr("the full model alone"),
                                 HasSubstr("360 rows with labels"), HasSubstr("chosen: margin(probabilities) < ")));
  EXPECT_THAT(folder_.Read("frontier.svg"), AllOf(HasSubstr("<svg "), HasSubstr("agreement with the full model, %")));
  std::smatch threshold;
  ASSERT_TRUE(std::regex_search(tune.output, threshold, std::regex("chosen: margin\\(probabilities\\) < ([0-9.e-]+)")));
  const std::string when = absl::StrCat("margin(probabilities) < ", threshold[1].str());
  EXPECT_THAT(folder_.Read("mesh.yaml"), HasSubstr(absl::StrCat("when: \"", when, "\"")));

  // A plain reference: both models by themselves, and the condition row by row.
  const auto arrays = ReadNpz(folder_.path() + "/heldout.npz");
  ASSERT_TRUE(arrays.ok()) << arrays.status();
  const Tensor& images = Named(*arrays, "image");
  const auto digits = Named(*arrays, "digit").data<uint8_t>();
  const Answers trigger = Run("digit-trigger", images), full = Run("digit-full", images);
  const size_t rows = digits.size();
  const auto limit = static_cast<float>(std::stod(threshold[1]));
  size_t escalated = 0, agreeing = 0, right = 0, trigger_right = 0, full_right = 0;
  for (size_t i = 0; i < rows; ++i) {
    const bool goes_on = Margin(trigger.probabilities, i) < limit;
    const int64_t answer = goes_on ? full.labels[i] : trigger.labels[i];
    escalated += goes_on;
    agreeing += answer == full.labels[i];
    right += answer == digits[i];
    trigger_right += trigger.labels[i] == digits[i];
    full_right += full.labels[i] == digits[i];
  }
  EXPECT_GE(full_right, trigger_right + rows / 50) << "the trigger is two points below the full model at least";
  EXPECT_GT(escalated, 0u);
  EXPECT_LT(escalated, rows / 2);

  // The command says the same.
  const CommandResult evaluate = Evaluate();
  ASSERT_EQ(evaluate.end, "exit status 0") << evaluate.output;
  const auto percent = [&](size_t count) {
    return absl::StrFormat("%.2f %%", 100 * static_cast<double>(count) / static_cast<double>(rows));
  };
  const std::regex line(absl::StrCat("margin\\(probabilities\\) < ", threshold[1].str(), " +", percent(escalated), " +",
                                     percent(agreeing), " +", percent(right), " "));
  EXPECT_TRUE(std::regex_search(evaluate.output, line)) << evaluate.output << percent(escalated);
  EXPECT_TRUE(std::regex_search(
      evaluate.output, std::regex(absl::StrCat("the trigger alone +0.00 % +[0-9.]+ % +", percent(trigger_right)))))
      << evaluate.output;

  // And so does the mesh.
  PorticoCommand up({"up", mesh_, "--run-folder", folder_.path() + "/run"});
  ASSERT_TRUE(up.WaitForOutput("mesh 'digits-cascade' is ready")) << up.output();
  const auto node = ReadNodeStatus(folder_.path() + "/run/status/front-0.json");
  ASSERT_TRUE(node.ok()) << node.status();
  TfsClient client(node->grpc);
  size_t served_escalated = 0, served_right = 0;
  constexpr int64_t kImages = 24;
  for (int64_t begin = 0; begin < images.rows(); begin += kImages) {
    const int64_t count = std::min(kImages, images.rows() - begin);
    const auto answer = client.Predict("digit", "", {{"image", images.Slice(begin, count)}}, {});
    ASSERT_TRUE(answer.ok()) << answer.status();
    const Tensor labels = Named(answer->outputs, "label").Aligned();
    const Tensor probabilities = Named(answer->outputs, "probabilities").Aligned();
    const Tensor status = Named(answer->outputs, "row_status");
    for (int64_t k = 0; k < count; ++k) {
      const auto i = static_cast<size_t>(begin + k), at = static_cast<size_t>(k);
      const bool goes_on = Margin(trigger.probabilities, i) < limit;
      const Answers& want = goes_on ? full : trigger;
      EXPECT_EQ(status.data<int8_t>()[at], goes_on ? 1 : 0) << "row " << i;
      EXPECT_EQ(labels.data<int64_t>()[at], want.labels[i]) << "row " << i;
      for (size_t c = 0; c < 10; ++c) {
        EXPECT_NEAR(probabilities.data<float>()[at * 10 + c], want.probabilities[i * 10 + c], 1e-5) << "row " << i;
      }
      served_escalated += status.data<int8_t>()[at] == 1;
      served_right += labels.data<int64_t>()[at] == digits[i];
    }
  }
  EXPECT_EQ(served_escalated, escalated);
  EXPECT_EQ(served_right, right);
}

TEST_F(CascadeTuneTest, ABudgetThatNothingKeepsToNamesTheNearestAndWritesNothing) {
  const std::string before = folder_.Read("mesh.yaml");
  const CommandResult tune = Tune({"--max-escalated", "1%", "--min-agreement", "99.9%", "--write"});
  EXPECT_EQ(tune.end, "exit status 1") << tune.output;
  EXPECT_THAT(tune.output,
              AllOf(HasSubstr("cascade 'digit': got no threshold with at most 1 % of the rows escalated and at least "
                              "99.9 % agreement; nearest: "),
                    HasSubstr("; or ")));
  EXPECT_EQ(folder_.Read("mesh.yaml"), before);
}

TEST_F(CascadeTuneTest, SeveralConditionsAreSweptAndTheBestIsChosen) {
  const CommandResult all =
      Tune({"--when", "auto", "--when", "label == 8 || margin(probabilities) < 0.1", "--max-escalated", "10%"});
  ASSERT_EQ(all.end, "exit status 0") << all.output;
  std::smatch escalated;
  ASSERT_TRUE(std::regex_search(all.output, escalated, std::regex("escalates ([0-9.]+) % of 360 rows"))) << all.output;
  EXPECT_LE(std::stod(escalated[1]), 10);
  // Two models without a mesh around them, and costs from elsewhere.
  const CommandResult two =
      RunPortico({"cascade", "tune", "--trigger", folder_.path() + "/packages/digit-trigger", "--full",
                  folder_.path() + "/packages/digit-full/1/model.onnx", "--data", folder_.path() + "/calibration.npz",
                  "--max-escalated", "0.1", "--trigger-cost", "1", "--full-cost", "4"});
  ASSERT_EQ(two.end, "exit status 0") << two.output;
  EXPECT_THAT(two.output, AllOf(HasSubstr("chosen: "), HasSubstr("as given"), HasSubstr("25.0 %")));
}

TEST_F(CascadeTuneTest, WhatIsWrongIsSaidBeforeAnyModelRuns) {
  const struct {
    std::vector<std::string> flags;
    const char* want;
  } cases[] = {
      {{"--max-escalated", "10"}, "--max-escalated: got '10', want a share of the rows, such as 10% or 0.1"},
      {{"--write"}, "--write: got no budget to choose by"},
      {{"--when", "margin(scores) < 0.5"}, "got name 'scores', want one of the outputs: probabilities, label"},
      {{"--when", "label == 3"}, "got no number that could be moved"},
      {{"--model", "digits"}, "models: got 'digits', want a model with 'cascade': digit"},
  };
  for (const auto& test : cases) {
    const CommandResult tune = Tune(test.flags);
    EXPECT_EQ(tune.end, "exit status 1") << tune.output;
    EXPECT_THAT(tune.output, HasSubstr(test.want));
  }
}

}  // namespace
}  // namespace portico
