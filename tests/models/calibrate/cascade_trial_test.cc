#include "models/calibrate/cascade_trial.h"

#include <random>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/calibrate/condition_sweeps.h"
#include "models/calibrate/frontier.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Score of the trigger: x itself; of the full model: x + shift. They differ in what is 0.5 or more.
class CascadeTrialTest : public ::testing::Test {
 protected:
  CascadeTrialTest() {
    ModelBuilder trigger;
    trigger.Input("x", DType::kFloat, {"N"})
        .Output("score", DType::kFloat, {"N"})
        .Output("shift", DType::kFloat, {"N"});
    trigger.Initializer("quarter", {1}, {-0.25f}).Node("Identity", {"x"}, {"score"});
    trigger.Node("Mul", {"x", "quarter"}, {"shift"});
    trigger.WriteTo(folder_.File("trigger/1/model.onnx"));
    // Takes what the trigger alone has.
    ModelBuilder full;
    full.Input("x", DType::kFloat, {"N"}).Input("shift", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"});
    full.Node("Add", {"x", "shift"}, {"y"});
    full.WriteTo(folder_.File("full/1/model.onnx"));
    cascade_.name = "c";
    cascade_.kind = Composition::Kind::kCascade;
    cascade_.file = "mesh.yaml";
    cascade_.members.resize(2);
    cascade_.members[0].model = "trigger";
    cascade_.members[1].model = "full";
    cascade_.members[1].outputs = {{"y", "score"}};
  }

  absl::StatusOr<Ingredient> Find(const std::string& model) const {
    WeightStore store;
    auto package = LoadPackage(model, absl::StrCat(folder_.path(), "/", model, "/1"), store);
    if (!package.ok()) return package.status();
    Ingredient found{.digest = package->digest, .signatures = package->signatures};
    found.package = std::make_shared<const Package>(*std::move(package));
    return found;
  }
  absl::StatusOr<std::unique_ptr<CascadeTrial>> Create() const {
    return CascadeTrial::Create(cascade_, [this](const std::string& model, bool) { return Find(model); });
  }

  TempFolder folder_;
  Composition cascade_;
};

TEST_F(CascadeTrialTest, BothModelsAnswerAllRows) {
  auto trial = Create();
  ASSERT_TRUE(trial.ok()) << trial.status();
  ASSERT_EQ((*trial)->inputs().size(), 1u) << "'shift' is the trigger's, not the data's";
  TrialData data((*trial)->inputs());
  // Two requests, run together.
  ASSERT_TRUE(data.Add({{"x", Tensor::Of<float>({2}, {0.25f, 0.5f})}}).ok());
  ASSERT_TRUE(
      data.Add({{"other", Tensor::Of<float>({1}, {9})}, {"x", Tensor::Of<float>({3}, {0.625f, 0.75f, 1})}}).ok());
  EXPECT_EQ(data.rows(), 5);
  const auto decision = Expression::Parse("score >= 0.5");
  const auto measure = Expression::Parse("score");
  std::vector<int64_t> progress;
  const auto columns =
      (*trial)->Run(data, 2, {{&*measure, 0}}, *decision, [&](int64_t done) { progress.push_back(done); });
  ASSERT_TRUE(columns.ok()) << columns.status();
  EXPECT_THAT(progress, ElementsAre(2, 4, 5));
  EXPECT_THAT(columns->of_trigger[0], ElementsAre(0.25, 0.5, 0.625, 0.75, 1));
  EXPECT_THAT(columns->trigger_decision, ElementsAre(0, 1, 1, 1, 1));
  EXPECT_THAT(columns->full_decision, ElementsAre(0, 0, 0, 1, 1)) << "three quarters of x";
  // What they disagree in is told by the score, and the sweep finds it.
  ConditionSweeps sweeps(CompareDecisions(columns->trigger_decision, columns->full_decision, {}));
  sweeps.Add(*TunableCondition::Parse("score > 0.1 && score < 0.9"), {columns->of_trigger[0], columns->of_trigger[0]},
             {columns->dtypes[0], columns->dtypes[0]});
  const auto best = ChoosePoint(sweeps.points(), sweeps.rows(), {.min_agreement = 1});
  ASSERT_TRUE(best);
  EXPECT_EQ(sweeps.points()[*best].escalated, 2);
  EXPECT_EQ(sweeps.When(*best), "score > 0.4 && score < 0.7");
}

TEST_F(CascadeTrialTest, CostsAreMeasured) {
  auto trial = Create();
  ASSERT_TRUE(trial.ok()) << trial.status();
  TrialData data((*trial)->inputs());
  ASSERT_TRUE(data.Add({{"x", Tensor::Of<float>({4}, {0, 1, 2, 3})}}).ok());
  const auto cost = (*trial)->Measure(data, 3, absl::Milliseconds(1));
  ASSERT_TRUE(cost.ok()) << cost.status();
  EXPECT_EQ(cost->batch, 3);
  EXPECT_GT(cost->trigger, absl::ZeroDuration());
  EXPECT_GT(cost->full, absl::ZeroDuration());
}

TEST_F(CascadeTrialTest, WhatIsWrongIsSaid) {
  auto trial = Create();
  ASSERT_TRUE(trial.ok()) << trial.status();
  TrialData data((*trial)->inputs());
  EXPECT_THAT(std::string(data.Add({{"y", Tensor::Of<float>({1}, {0})}}).message()),
              HasSubstr("data: got no input 'x' among y, want float32[N]"));
  EXPECT_THAT(std::string(data.Add({{"x", Tensor::Of<int64_t>({1}, {0})}}).message()), HasSubstr("got int64[1]"));
  EXPECT_THAT(std::string((*trial)->Sample(data, 8).status().message()), HasSubstr("data: got no rows"));
  cascade_.members.emplace_back().model = "full";
  EXPECT_THAT(std::string(Create().status().message()), HasSubstr("got a cascade of 3 stages, want a cascade of two"));
  cascade_.members.pop_back();
  cascade_.members[1].outputs.clear();
  EXPECT_THAT(std::string(Create().status().message()), HasSubstr("got no output that all have"));
  ModelBuilder portal;
  portal.Input("x", DType::kFloat, {"N"}).Output("score", DType::kFloat, {"N"});
  portal.Portal("Remote", "far", {"x"}, {"score"}, {DType::kFloat}, {"N"});
  portal.WriteTo(folder_.File("full/1/model.onnx"));
  EXPECT_THAT(std::string(Create().status().message()), HasSubstr("model 'full': got a model with portals"));
}

TEST(TrialData, RequestsOfOtherShapesAreRunApart) {
  const TensorSpec x{
      .name = "x", .dtype = DType::kFloat, .dims = {{.symbol = "N"}, {.symbol = "L"}}, .axis = AxisKind::kRows};
  const TensorSpec table{.name = "t", .dtype = DType::kFloat, .dims = {{.symbol = "T"}}};
  TrialData data({x, table});
  const Tensor one = Tensor::Of<float>({1}, {1}), two = Tensor::Of<float>({1}, {2});
  const auto add = [&](Shape shape, const Tensor& shared) {
    EXPECT_TRUE(data.Add({{"x", Tensor::Allocate(DType::kFloat, shape)}, {"t", shared}}).ok());
  };
  add({2, 3}, one);
  add({1, 4}, one);
  add({3, 3}, one);
  add({1, 3}, two);
  add({0, 3}, one);
  std::vector<std::string> seen;
  const auto visited = data.Visit(4, [&](const std::vector<NamedTensor>& inputs, int64_t rows) {
    seen.push_back(absl::StrCat(rows, ShapeString(inputs[0].tensor.shape()), inputs[1].tensor.data<float>()[0]));
    return absl::OkStatus();
  });
  ASSERT_TRUE(visited.ok());
  EXPECT_THAT(seen, ElementsAre("4[4,3]1", "1[1,3]1", "1[1,4]1", "1[1,3]2"));
}

}  // namespace
}  // namespace portico
