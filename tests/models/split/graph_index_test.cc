#include "models/split/graph_index.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/model_builder.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string ErrorOf(const ModelBuilder& builder) {
  const auto model = builder.Build();
  return std::string(GraphIndex::Create(*model).status().message());
}

TEST(GraphIndexTest, SortsNodesAndKeepsTheOrderOfASortedGraph) {
  ModelBuilder builder;
  builder.Input("x", DType::kFloat, {"N"})
      .Node("Add", {"b", "a"}, {"y"})
      .Node("Relu", {"x"}, {"a"})
      .Node("Tanh", {"x"}, {"b"});
  const auto model = builder.Build();
  const auto index = GraphIndex::Create(*model);
  ASSERT_TRUE(index.ok()) << index.status();
  EXPECT_THAT(index->order(), ElementsAre(1, 2, 0));
  EXPECT_EQ(index->Producer("a"), 1);
  EXPECT_EQ(index->Producer("x"), -1);
  EXPECT_THAT(index->Readers("x"), ElementsAre(1, 2));
}

TEST(GraphIndexTest, WhatIsRandomWithinAFunctionOrByAnInputIsNoConstant) {
  ModelBuilder builder;
  builder.Function("local", "Noise", {"i"}, {"o"}, {NewNode("RandomUniformLike", {"i"}, {"o"})});
  builder.Function("local", "Same", {"i"}, {"o"}, {NewNode("Neg", {"i"}, {"o"})});
  builder.Initializer("w", {2}, {1, 2})
      .Initializer("ratio", {}, {0.5f})
      .Initializer("training", {}, {1})
      .Node("Noise", {"w"}, {"r"}, {}, "local")
      .Node("Same", {"w"}, {"s"}, {}, "local")
      .Node("Dropout", {"w", "ratio", "training"}, {"d"});
  const auto model = builder.Build();
  const auto index = GraphIndex::Create(*model);
  ASSERT_TRUE(index.ok()) << index.status();
  EXPECT_FALSE(index->IsConstant("r"));
  EXPECT_TRUE(index->IsConstant("s"));
  EXPECT_FALSE(index->IsConstant("d"));
}

TEST(GraphIndexTest, RandomNodesAreNoConstants) {
  ModelBuilder builder;
  builder.Initializer("w", {2}, {1, 2})
      .Node("RandomNormal", {}, {"r"}, {Ints("shape", {2})})
      .Node("RandomUniformLike", {"w"}, {"s"})
      .Node("Neg", {"w"}, {"n"})
      .Node("Add", {"r", "n"}, {"y"});
  const auto model = builder.Build();
  const auto index = GraphIndex::Create(*model);
  ASSERT_TRUE(index.ok()) << index.status();
  EXPECT_FALSE(index->IsConstant("r"));
  EXPECT_FALSE(index->IsConstant("s"));
  EXPECT_TRUE(index->IsConstant("n"));
  EXPECT_TRUE(index->IsConstant("w"));
  EXPECT_FALSE(index->IsConstant("y"));
}

TEST(GraphIndexTest, WeightsThatAreListedAsInputsAreWeights) {
  ModelBuilder builder;
  builder.Input("w", DType::kFloat, {2}).Initializer("w", {2}, {1, 2}).Node("Neg", {"w"}, {"y"});
  const auto model = builder.Build();
  const auto index = GraphIndex::Create(*model);
  ASSERT_TRUE(index.ok()) << index.status();
  EXPECT_FALSE(index->IsInput("w"));
  EXPECT_TRUE(index->IsWeight("w"));
}

TEST(GraphIndexTest, RefusesCyclesAndTensorsWithNoneOrTwoProducers) {
  EXPECT_THAT(ErrorOf(ModelBuilder().Node("Add", {"b", "b"}, {"a"}).Node("Neg", {"a"}, {"b"})), HasSubstr("cycle"));
  EXPECT_THAT(ErrorOf(ModelBuilder().Node("Neg", {"nothing"}, {"a"})),
              HasSubstr("input 'nothing', which nobody computes"));
  ModelBuilder twice;
  twice.Input("x", DType::kFloat, {"N"}).Node("Neg", {"x"}, {"a"}).Node("Abs", {"x"}, {"a"});
  EXPECT_THAT(ErrorOf(twice), HasSubstr("tensor 'a': got a second definition by node 'a' (Abs)"));
}

TEST(GraphIndexTest, SuggestsNamesWithAScopeInFront) {
  ModelBuilder builder;
  builder.Input("x", DType::kFloat, {"N"}).Node("Neg", {"x"}, {"/model/encoder/features"}).Node("Abs", {"x"}, {"feat"});
  const auto model = builder.Build();
  const auto index = GraphIndex::Create(*model);
  ASSERT_TRUE(index.ok()) << index.status();
  EXPECT_THAT(index->NearestNames("features"), HasSubstr("'/model/encoder/features'"));
}

}  // namespace
}  // namespace portico
