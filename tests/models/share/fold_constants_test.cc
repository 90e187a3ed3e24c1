#include "models/share/fold_constants.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/runtime/session.h"
#include "models/split/submodel.h"
#include "tests/models/share/share_fixture.h"

namespace portico {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Key;
using ::testing::Not;
using ::testing::Pair;

class FoldConstantsTest : public ::testing::Test {
 protected:
  FoldedModel Fold(const ModelBuilder& builder, const FoldOptions& options = {}) {
    absl::StatusOr<Model> model = Model::FromProto(builder.Build(), "", store_);
    PORTICO_CHECK(model.ok());
    original_.emplace(*std::move(model));
    absl::StatusOr<FoldedModel> folded = FoldConstants(*original_, store_, options);
    PORTICO_CHECK(folded.ok());
    return *std::move(folded);
  }
  static std::vector<Tensor> Run(const Model& model, const std::vector<Tensor>& inputs) {
    auto runnable = MakeRunnable(model, {});
    PORTICO_CHECK(runnable.ok());
    const auto session = Session::Create(runnable->proto, std::move(runnable->weights), {});
    PORTICO_CHECK(session.ok());
    auto outputs = (*session)->Run(inputs);
    PORTICO_CHECK(outputs.ok());
    return *std::move(outputs);
  }

  WeightStore store_;
  std::optional<Model> original_;
};

/// x[N,8] through a matrix that is transposed, cast and given a name once more, reshaped to a computed shape.
Layers Chained() {
  Layers layers;
  const std::string x = layers.Input("x", 8);
  const std::string w = layers.Op("Identity", {layers.Op("Transpose", {layers.Weight(Numbers({16, 8}, 1))})});
  const std::string wide = layers.Op("MatMul", {x, w});
  const std::string four = layers.Op(
      "Gather", {layers.Op("Shape", {layers.Weight(Numbers({4}, 0))}), layers.Weight(Tensor::Of<int64_t>({1}, {0}))});
  const std::string shape = layers.Op(
      "Concat", {layers.Weight(Tensor::Of<int64_t>({1}, {-1})), four, layers.Weight(Tensor::Of<int64_t>({1}, {4}))},
      {Int("axis", 0)});
  const std::string cube = layers.Op("Reshape", {wide, shape});
  layers.model.Output(cube, DType::kFloat, {"N", 4, 4});
  return layers;
}

TEST_F(FoldConstantsTest, ChainsOfConstantsBecomeWeights) {
  const FoldedModel folded = Fold(Chained().model);
  ASSERT_TRUE(folded.model.has_value());
  EXPECT_EQ(folded.nodes, 5);
  EXPECT_THAT(folded.note, IsEmpty());
  EXPECT_THAT(Ops(*folded.model), testing::UnorderedElementsAre(Pair("MatMul", 1), Pair("Reshape", 1)));
  const std::vector<Tensor> inputs = {Numbers({3, 8}, 0.5f)};
  EXPECT_EQ(Run(*folded.model, inputs)[0].bytes(), Run(*original_, inputs)[0].bytes());
}

TEST_F(FoldConstantsTest, NothingToFoldIsNoNewModel) {
  Layers layers;
  layers.Output(layers.Dense(layers.Input("x", 8), 8, 4, 1), 4);
  const FoldedModel folded = Fold(layers.model);
  EXPECT_FALSE(folded.model.has_value());
  EXPECT_EQ(folded.nodes, 0);
}

TEST_F(FoldConstantsTest, ConstantNodesStay) {
  Layers layers;
  layers.model.Node("Constant", {}, {"one"}, {Value("value", Tensor::Of<float>({1}, {1}))});
  layers.Output(layers.Op("Add", {layers.Input("x", 8), layers.Op("Neg", {"one"})}), 8);
  const FoldedModel folded = Fold(layers.model);
  ASSERT_TRUE(folded.model.has_value());
  EXPECT_THAT(Ops(*folded.model), Not(Contains(Key("Neg"))));
}

TEST_F(FoldConstantsTest, WhatIsLargeIsNotComputed) {
  FoldOptions small;
  small.max_tensor_bytes = 256;
  Layers layers;
  const std::string w = layers.Op("Transpose", {layers.Weight(Numbers({16, 8}, 1))});
  layers.Output(layers.Op("MatMul", {layers.Input("x", 8), w}), 16);
  EXPECT_FALSE(Fold(layers.model, small).model.has_value());
  FoldOptions little;
  little.max_total_bytes = 511;
  EXPECT_FALSE(Fold(layers.model, little).model.has_value());
  little.max_total_bytes = 512;
  EXPECT_TRUE(Fold(layers.model, little).model.has_value());
  FoldOptions short_of_work;
  short_of_work.max_work_bytes = 1023;
  EXPECT_FALSE(Fold(layers.model, short_of_work).model.has_value());
  short_of_work.max_work_bytes = 1024;
  EXPECT_TRUE(Fold(layers.model, short_of_work).model.has_value());
}

TEST_F(FoldConstantsTest, WhatSwellsIsNotComputed) {
  // 4 TiB of zeros: computing it would end the process.
  Layers layers;
  const std::string zeros = layers.Op("ConstantOfShape", {layers.Weight(Tensor::Of<int64_t>({2}, {1 << 20, 1 << 20}))});
  const std::string sum = layers.Op("ReduceSum", {zeros}, {Int("keepdims", 0)});
  layers.Output(layers.Op("Add", {layers.Input("x", 8), sum}), 8);
  EXPECT_FALSE(Fold(layers.model).model.has_value());
}

TEST_F(FoldConstantsTest, RandomNodesAndControlFlowStay) {
  Layers layers;
  const std::string noise = layers.Op("RandomNormal", {}, {Ints("shape", {8})});
  ModelBuilder body;
  body.graph().set_name("body");
  body.Output("one", DType::kFloat, {8}).Initializer("one", Numbers({8}, 1));
  const std::string chosen =
      layers.Op("If", {layers.Weight(Tensor::Of<bool>({}, {true}))},
                {Body("then_branch", body.BuildGraph()), Body("else_branch", body.BuildGraph())});
  layers.Output(layers.Op("Add", {layers.Op("Add", {layers.Input("x", 8), layers.Op("Neg", {noise})}), chosen}), 8);
  EXPECT_FALSE(Fold(layers.model).model.has_value());
}

TEST_F(FoldConstantsTest, LargeWeightsOfTwoNamesAreOne) {
  FoldOptions small;
  small.max_tensor_bytes = 16;
  Layers layers;
  const std::string w = layers.Op("Identity", {layers.Weight(Numbers({8, 8}, 1))});
  layers.Output(layers.Op("MatMul", {layers.Input("x", 8), w}), 8);
  const FoldedModel folded = Fold(layers.model, small);
  ASSERT_TRUE(folded.model.has_value());
  EXPECT_EQ(folded.model->initializers().at(w).tensor.bytes().data(),
            original_->initializers().begin()->second.tensor.bytes().data());
}

TEST_F(FoldConstantsTest, ConstantOutputsStayOutputs) {
  Layers layers;
  const std::string x = layers.Input("x", 4);
  const std::string sum = layers.Op("Add", {x, layers.Weight(Numbers({4}, 1))});
  const std::string four = layers.Op("Neg", {layers.Weight(Numbers({4}, 2))});
  layers.Output(sum, 4);
  layers.model.Output(four, DType::kFloat, {4});
  const FoldedModel folded = Fold(layers.model);
  ASSERT_TRUE(folded.model.has_value());
  const std::vector<Tensor> inputs = {Numbers({3, 4}, 0.5f)};
  EXPECT_EQ(Run(*folded.model, inputs)[1].bytes(), Run(*original_, inputs)[1].bytes());
}

}  // namespace
}  // namespace portico
