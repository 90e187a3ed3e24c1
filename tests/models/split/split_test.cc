#include "models/split/split.h"

#include <algorithm>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/models/split/split_fixture.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

const onnx::AttributeProto& Attribute(const onnx::NodeProto& node, const std::string& name) {
  const auto it = std::find_if(node.attribute().begin(), node.attribute().end(),
                               [&](const auto& attribute) { return attribute.name() == name; });
  PORTICO_CHECK(it != node.attribute().end());
  return *it;
}

/// What every split must be: it computes what the original computes.
void ExpectSame(const Model& original, const std::vector<SplitModel>& split) {
  const auto report = VerifySplit(original, split, {});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_GT(report->rounds, 0);
}

std::string ErrorOf(const ModelBuilder& builder, std::vector<PartPlan> parts) {
  Splitting split;
  const auto result = split(builder, std::move(parts));
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(result.status().message());
}

TEST(SplitTest, CutsAnEncoderAndLeavesAPortal) {
  Splitting split;
  const Model model = split.Load(DigitsLike());
  const auto result = split(model, {Part("hub/encoder", {}, {"features"})});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(Names(*result), ElementsAre("product", "hub/encoder"));
  const Model& product = (*result)[0].model;
  const Model& encoder = (*result)[1].model;
  EXPECT_THAT(OpTypes(product), ElementsAre("Remote", "MatMul", "Softmax"));
  EXPECT_THAT(OpTypes(encoder), ElementsAre("MatMul", "Add", "Relu"));
  EXPECT_THAT(InputNames(encoder), ElementsAre("image"));
  EXPECT_THAT(OutputNames(encoder), ElementsAre("features"));
  EXPECT_EQ(product.initializers().size(), 1u);
  EXPECT_EQ(encoder.initializers().size(), 2u);

  const onnx::NodeProto& portal = product.proto().graph().node(0);
  EXPECT_EQ(portal.domain(), "ai.portico");
  EXPECT_EQ(Attribute(portal, "target").s(), "hub/encoder");
  EXPECT_EQ(Attribute(portal, "digest").s(), (*result)[1].digest.Hex());
  EXPECT_THAT(Attribute(portal, "input_names").strings(), ElementsAre("image"));
  EXPECT_THAT(Attribute(portal, "output_names").strings(), ElementsAre("features"));
  EXPECT_THAT(Attribute(portal, "output_dtypes").ints(), ElementsAre(static_cast<int>(DType::kFloat)));
  EXPECT_THAT(Attribute(portal, "output_shapes").strings(), ElementsAre("N,4"));
  EXPECT_TRUE(std::any_of(product.proto().opset_import().begin(), product.proto().opset_import().end(),
                          [](const auto& opset) { return opset.domain() == "ai.portico" && opset.version() == 1; }));
  ExpectSame(model, *result);
}

TEST(SplitTest, PartsShareWeightMemoryWithTheOriginal) {
  Splitting split;
  const Model model = split.Load(DigitsLike());
  const uint64_t bytes = split.store.bytes();
  const auto result = split(model, {Part("encoder", {}, {"features"})});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(split.store.bytes(), bytes);
  EXPECT_EQ((*result)[1].model.initializers().at("w1").tensor.bytes().data(),
            model.initializers().at("w1").tensor.bytes().data());
}

TEST(SplitTest, TwoProductsWithTheSameEncoderCutTheSameDigest) {
  Splitting split;
  ModelBuilder parity = DigitsLike();
  parity.Opset("ai.onnx.ml", 3).Node("Relu", {"probabilities"}, {"odd"}).Output("odd", DType::kFloat, {"N", 3});
  const auto digit = split(DigitsLike(), {Part("encoder", {}, {"features"})});
  const auto other = split(parity, {Part("encoder", {}, {"features"})});
  ASSERT_TRUE(digit.ok()) << digit.status();
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ((*digit)[1].digest, (*other)[1].digest);
  EXPECT_NE((*digit)[0].digest, (*other)[0].digest);
}

TEST(SplitTest, CopiesTiedWeightsToBothSidesOfTheCut) {
  Splitting split;
  ModelBuilder builder;
  builder.Input("ids", DType::kInt64, {"N", 3})
      .Output("logits", DType::kFloat, {"N", 3, 5})
      .Initializer("table", Weights({5, 4}, -1))
      .Node("Gather", {"table", "ids"}, {"embedded"})
      .Node("Tanh", {"embedded"}, {"features"})
      .Node("Transpose", {"table"}, {"table_t"}, {Ints("perm", {1, 0})})
      .Node("MatMul", {"features", "table_t"}, {"logits"});
  const Model model = split.Load(builder);
  const auto result = split(model, {Part("embed", {}, {"features"})});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(OpTypes((*result)[0].model), UnorderedElementsAre("Remote", "Transpose", "MatMul"));
  EXPECT_EQ((*result)[0].model.initializers().at("table").tensor.bytes().data(),
            (*result)[1].model.initializers().at("table").tensor.bytes().data());
  ExpectSame(model, *result);
}

TEST(SplitTest, CopiesConstantNodesToWhereTheyAreUsed) {
  Splitting split;
  ModelBuilder builder;
  builder.Input("x", DType::kFloat, {"N", 2})
      .Output("y", DType::kFloat, {"N", 2})
      .Node("Constant", {}, {"one"}, {Value("value", Tensor::Of<float>({1}, {1.0f}))})
      .Node("Add", {"one", "one"}, {"two"})
      .Node("Mul", {"x", "two"}, {"a"})
      .Node("Relu", {"a"}, {"b"})
      .Node("Mul", {"b", "two"}, {"y"});
  const Model model = split.Load(builder);
  const auto result = split(model, {Part("part", {}, {"b"})});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(OpTypes((*result)[0].model), ElementsAre("Constant", "Add", "Remote", "Mul"));
  EXPECT_THAT(OpTypes((*result)[1].model), ElementsAre("Constant", "Add", "Mul", "Relu"));
  ExpectSame(model, *result);
}

TEST(SplitTest, SplitsPartsInsideParts) {
  Splitting split;
  const Model model = split.Load(DigitsLike());
  const auto result =
      split(model, {Part("body", {}, {"logits"}, {Part("encoder", {}, {"features"}, {Part("stem", {}, {"h1"})})})});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(Names(*result), ElementsAre("product", "stem", "encoder", "body"));
  EXPECT_THAT(OpTypes((*result)[0].model), ElementsAre("Remote", "Softmax"));
  EXPECT_THAT(OpTypes((*result)[2].model), ElementsAre("Remote", "Add", "Relu"));
  EXPECT_THAT(OpTypes((*result)[3].model), ElementsAre("Remote", "MatMul"));
  ExpectSame(model, *result);
}

ModelBuilder TwoBranches() {
  ModelBuilder builder;
  builder.Input("x", DType::kFloat, {"N", 4})
      .Output("y", DType::kFloat, {"N", 4})
      .Node("Relu", {"x"}, {"left"})
      .Node("Tanh", {"x"}, {"right1"})
      .Node("Exp", {"right1"}, {"right2"})
      .Node("Add", {"left", "right2"}, {"sum"})
      .Node("Neg", {"sum"}, {"y"});
  return builder;
}

TEST(SplitTest, CutsParallelParts) {
  Splitting split;
  const Model model = split.Load(TwoBranches());
  const auto result = split(model, {Part("left", {}, {"left"}), Part("right", {}, {"right2"})});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(OpTypes((*result)[0].model), ElementsAre("Remote", "Remote", "Add", "Neg"));
  EXPECT_THAT(OpTypes((*result)[1].model), ElementsAre("Relu"));
  EXPECT_THAT(OpTypes((*result)[2].model), ElementsAre("Tanh", "Exp"));
  ExpectSame(model, *result);
}

TEST(SplitTest, APartBeginsWhereAnotherPartEnds) {
  Splitting split;
  const Model model = split.Load(DigitsLike());
  const auto result = split(model, {Part("head", {}, {"logits"}), Part("encoder", {}, {"features"})});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(Names(*result), ElementsAre("product", "head", "encoder"));
  EXPECT_THAT(InputNames((*result)[1].model), ElementsAre("features"));
  ExpectSame(model, *result);
}

TEST(SplitTest, OrdersInputsByPlanThenByGraph) {
  Splitting split;
  ModelBuilder builder;
  builder.Input("a", DType::kFloat, {"N"})
      .Input("b", DType::kFloat, {"N"})
      .Output("y", DType::kFloat, {"N"})
      .Node("Neg", {"a"}, {"na"})
      .Node("Add", {"na", "b"}, {"s"})
      .Node("Mul", {"s", "a"}, {"m"})
      .Node("Relu", {"m"}, {"y"});
  const Model model = split.Load(builder);
  const auto result = split(model, {Part("part", {"na"}, {"m"})});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(InputNames((*result)[1].model), ElementsAre("na", "b", "a"));
  ExpectSame(model, *result);
}

TEST(SplitTest, APartMayComputeAnOutputOfTheGraphAndSeveralTensors) {
  Splitting split;
  ModelBuilder builder = DigitsLike();
  builder.Output("features", DType::kFloat, {"N", 4});
  const Model model = split.Load(builder);
  const auto result = split(model, {Part("part", {}, {"features", "probabilities"})});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(OpTypes((*result)[0].model), ElementsAre("Remote"));
  EXPECT_THAT(OutputNames((*result)[0].model), ElementsAre("probabilities", "features"));
  ExpectSame(model, *result);
}

TEST(SplitTest, CutsScalarsWithTheirRankWhereItIsDeclared) {
  Splitting split;
  ModelBuilder builder;
  builder.Input("x", DType::kFloat, {"N"})
      .Output("y", DType::kFloat, {"N"})
      .ValueInfo("sum", DType::kFloat, {})
      .Node("ReduceSum", {"x"}, {"sum"}, {Int("keepdims", 0)})
      .Node("Mul", {"x", "sum"}, {"y"});
  const Model model = split.Load(builder);
  const auto result = split(model, {Part("part", {}, {"sum"})});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(Attribute((*result)[0].model.proto().graph().node(0), "output_shapes").strings(), ElementsAre(""));
  ExpectSame(model, *result);
}

TEST(SplitTest, CutsStrings) {
  Splitting split;
  ModelBuilder builder;
  builder.Input("words", DType::kString, {"N", 2})
      .Output("first", DType::kString, {"N", 1})
      .Initializer("zero", Tensor::Of<int64_t>({1}, {0}))
      .Node("Identity", {"words"}, {"copy"})
      .Node("Gather", {"copy", "zero"}, {"first"}, {Int("axis", 1)});
  const Model model = split.Load(builder);
  const auto result = split(model, {Part("part", {}, {"copy"})});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(Attribute((*result)[0].model.proto().graph().node(0), "output_dtypes").ints(),
              ElementsAre(static_cast<int>(DType::kString)));
  ExpectSame(model, *result);
}

TEST(SplitTest, CopiesOnlyTheLocalFunctionsThatAPartUses) {
  Splitting split;
  ModelBuilder builder;
  builder.Input("x", DType::kFloat, {"N", 2})
      .Output("y", DType::kFloat, {"N", 2})
      .Function("my.ops", "Twice", {"a"}, {"b"}, {NewNode("Add", {"a", "a"}, {"b"})})
      .Function("my.ops", "Fourfold", {"a"}, {"c"},
                {NewNode("Twice", {"a"}, {"b"}, {}, "my.ops"), NewNode("Twice", {"b"}, {"c"}, {}, "my.ops")})
      .Function("my.ops", "Negated", {"a"}, {"b"}, {NewNode("Neg", {"a"}, {"b"})})
      .Node("Fourfold", {"x"}, {"h"}, {}, "my.ops")
      .Node("Negated", {"h"}, {"y"}, {}, "my.ops");
  const Model model = split.Load(builder);
  const auto result = split(model, {Part("part", {}, {"h"})});
  ASSERT_TRUE(result.ok()) << result.status();
  const auto functions = [](const Model& m) {
    std::vector<std::string> names;
    for (const auto& function : m.proto().functions()) names.push_back(function.name());
    return names;
  };
  EXPECT_THAT(functions((*result)[0].model), ElementsAre("Negated"));
  EXPECT_THAT(functions((*result)[1].model), ElementsAre("Twice", "Fourfold"));
  ExpectSame(model, *result);
}

/// y = If(flag) then a + x2 else a − w, where a = Relu(x): the bodies capture an inner tensor, an input and a weight.
ModelBuilder WithIf() {
  ModelBuilder then_body, else_body, builder;
  then_body.Node("Add", {"a", "x2"}, {"t"}).Output("t", DType::kFloat, {"N", 2});
  else_body.Node("Sub", {"a", "w"}, {"e"}).Output("e", DType::kFloat, {"N", 2});
  builder.Input("x", DType::kFloat, {"N", 2})
      .Input("x2", DType::kFloat, {"N", 2})
      .Input("flag", DType::kBool, {})
      .Output("y", DType::kFloat, {"N", 2})
      .Initializer("w", Weights({2}, 1))
      .Node("Relu", {"x"}, {"a"})
      .Node("If", {"flag"}, {"i"},
            {Body("then_branch", then_body.BuildGraph()), Body("else_branch", else_body.BuildGraph())})
      .Node("Neg", {"i"}, {"y"});
  return builder;
}

TEST(SplitTest, CapturedTensorsCountAsInputs) {
  Splitting split;
  const Model model = split.Load(WithIf());
  const auto result = split(model, {Part("branching", {"a"}, {"i"})});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(InputNames((*result)[1].model), ElementsAre("a", "flag", "x2"));
  EXPECT_TRUE((*result)[1].model.initializers().contains("w"));
  EXPECT_FALSE((*result)[0].model.initializers().contains("w"));
  ExpectSame(model, *result);
}

TEST(SplitTest, ACapturedTensorMustBeAmongTheOutputs) {
  Splitting split;
  const auto result = split(WithIf(), {Part("part", {}, {"a"})});
  ASSERT_TRUE(result.ok()) << result.status();
  ModelBuilder builder = WithIf();
  builder.Node("Tanh", {"a"}, {"z"}).Output("z", DType::kFloat, {"N", 2});
  EXPECT_THAT(ErrorOf(builder, {Part("part", {}, {"z"})}),
              AllOf(HasSubstr("part 'part': tensor 'a' is computed inside and used outside"), HasSubstr("(If)")));
}

TEST(SplitTest, RefusesToCutInsideABody) {
  EXPECT_THAT(ErrorOf(WithIf(), {Part("part", {}, {"t"})}),
              AllOf(HasSubstr("part 'part': tensor 't' is inside the body of node 'i' (If)")));
}

TEST(SplitTest, NamesTheNearestTensorsWhereThePlanNamesOneThatIsNotThere) {
  EXPECT_THAT(ErrorOf(DigitsLike(), {Part("part", {}, {"featurs"})}),
              AllOf(HasSubstr("part 'part': got tensor 'featurs'"), HasSubstr("nearest are 'features'")));
  EXPECT_THAT(ErrorOf(DigitsLike(), {Part("part", {"imgae"}, {"features"})}), HasSubstr("'image'"));
}

TEST(SplitTest, RefusesPartsThatAreNotConvex) {
  ModelBuilder builder;
  builder.Input("x", DType::kFloat, {"N"})
      .Output("y", DType::kFloat, {"N"})
      .Node("Relu", {"x"}, {"a"})
      .Node("Tanh", {"a"}, {"b"})
      .Node("Add", {"a", "b"}, {"c"})
      .Node("Neg", {"c"}, {"y"});
  EXPECT_THAT(ErrorOf(builder, {Part("part", {"x", "b"}, {"a", "c"})}),
              HasSubstr("part 'part': not convex: tensor 'a' leaves it, passes node 'b' (Tanh) and comes back as 'b'"));
}

TEST(SplitTest, RefusesPartsThatWaitForEachOther) {
  ModelBuilder builder;
  builder.Input("x", DType::kFloat, {"N"})
      .Input("z", DType::kFloat, {"N"})
      .Output("a2", DType::kFloat, {"N"})
      .Output("b2", DType::kFloat, {"N"})
      .Node("Relu", {"x"}, {"a1"})
      .Node("Tanh", {"z"}, {"b1"})
      .Node("Neg", {"b1"}, {"a2"})
      .Node("Exp", {"a1"}, {"b2"});
  // Neither has a path of its own that leaves it and comes back; it goes through the other part as a whole.
  EXPECT_THAT(ErrorOf(builder, {Part("a", {}, {"a1", "a2"}), Part("b", {}, {"b1", "b2"})}),
              AllOf(HasSubstr("part 'a': not convex: tensor 'a1'"), HasSubstr("passes part 'b'"), HasSubstr("'b1'")));
}

TEST(SplitTest, RefusesATensorThatIsUsedOutsideAndIsNoOutput) {
  ModelBuilder builder = TwoBranches();
  builder.Output("right1", DType::kFloat, {"N", 4});
  EXPECT_THAT(ErrorOf(builder, {Part("part", {}, {"right2"})}),
              AllOf(HasSubstr("part 'part': tensor 'right1' is computed inside and used outside"),
                    HasSubstr("an output of the graph"), HasSubstr("add it to them")));
}

TEST(SplitTest, RefusesPartsThatOverlap) {
  ModelBuilder builder = TwoBranches();
  builder.Node("Neg", {"right1"}, {"z"}).Output("z", DType::kFloat, {"N", 4});
  EXPECT_THAT(ErrorOf(builder, {Part("a", {}, {"right2"}), Part("b", {}, {"z"})}),
              AllOf(HasSubstr("part 'b': overlaps part 'a'"), HasSubstr("node 'right1' (Tanh)")));
  EXPECT_THAT(ErrorOf(DigitsLike(), {Part("a", {}, {"features"}), Part("b", {"h2"}, {"features"})}),
              HasSubstr("part 'b': output 'features' is also one of part 'a'"));
}

TEST(SplitTest, RefusesInputsAndOutputsThatMakeNoPart) {
  EXPECT_THAT(ErrorOf(DigitsLike(), {Part("p", {}, {"image"})}), HasSubstr("output 'image' is an input of the graph"));
  EXPECT_THAT(ErrorOf(DigitsLike(), {Part("p", {}, {"w1"})}), HasSubstr("output 'w1' is a weight"));
  EXPECT_THAT(ErrorOf(DigitsLike(), {Part("p", {"w1"}, {"h1"})}), HasSubstr("input 'w1' is a weight"));
  EXPECT_THAT(ErrorOf(DigitsLike(), {Part("p", {"logits"}, {"h1"})}), HasSubstr("input 'logits' is not needed"));
  EXPECT_THAT(ErrorOf(DigitsLike(), {Part("p", {}, {})}), HasSubstr("part 'p': got no outputs"));
  EXPECT_THAT(ErrorOf(DigitsLike(), {Part("../p", {}, {"h1"})}), HasSubstr("the segment '..'"));
  EXPECT_THAT(ErrorOf(DigitsLike(), {}), HasSubstr("got no parts"));
}

TEST(SplitTest, RefusesToCutWhatIsNoDenseTensor) {
  ModelBuilder builder;
  builder.Input("x", DType::kFloat, {"N", 2})
      .Output("y", DType::kFloat, {"N", 2})
      .Node("SequenceConstruct", {"x"}, {"sequence"})
      .Initializer("zero", Tensor::Of<int64_t>({}, {0}))
      .Node("SequenceAt", {"sequence", "zero"}, {"y"});
  EXPECT_THAT(ErrorOf(builder, {Part("part", {}, {"sequence"})}),
              AllOf(HasSubstr("part 'part': x -> sequence"), HasSubstr("output 'sequence': got"),
                    HasSubstr("want a dense tensor")));
}

TEST(SplitTest, PortalsGoToWhereTheyStand) {
  ModelBuilder builder;
  builder.Input("x", DType::kFloat, {"N", 2})
      .Output("y", DType::kFloat, {"N", 2})
      .Portal("Remote", "there", {"x"}, {"h"}, {DType::kFloat}, {"N,2"})
      .Node("Neg", {"h"}, {"y"});
  Splitting split;
  const auto before = split(builder, {Part("part", {}, {"h"})});
  ASSERT_TRUE(before.ok()) << before.status();
  EXPECT_THAT(OpTypes((*before)[0].model), ElementsAre("Remote", "Neg"));
  EXPECT_THAT(OpTypes((*before)[1].model), ElementsAre("Remote"));
  const auto behind = split(builder, {Part("part", {"h"}, {"y"})});
  ASSERT_TRUE(behind.ok()) << behind.status();
  EXPECT_THAT(OpTypes((*behind)[0].model), ElementsAre("Remote", "Remote"));
  EXPECT_EQ(Attribute((*behind)[0].model.proto().graph().node(0), "target").s(), "there");
  EXPECT_EQ((*GraphSignature((*behind)[1].model)).inputs[0].ToString(), "float32[N,2]");
}

TEST(SplitTest, RefusesPortalsInsideOfBodies) {
  ModelBuilder portal;
  portal.Output("b", DType::kFloat, {"N", 2}).Portal("Remote", "there", {"x"}, {"b"}, {DType::kFloat}, {"N,2"});
  ModelBuilder builder;
  builder.Input("x", DType::kFloat, {"N", 2})
      .Input("c", DType::kBool, {})
      .Output("y", DType::kFloat, {"N", 2})
      .Node("If", {"c"}, {"h"}, {Body("then_branch", portal.BuildGraph()), Body("else_branch", portal.BuildGraph())})
      .Node("Neg", {"h"}, {"y"});
  EXPECT_THAT(ErrorOf(builder, {Part("part", {"h"}, {"y"})}), HasSubstr("want portals only in the graph itself"));
}

TEST(SplitTest, NamesTheOuterPartInErrorsOfNestedParts) {
  EXPECT_THAT(ErrorOf(DigitsLike(), {Part("outer", {}, {"logits"}, {Part("inner", {}, {"nothing"})})}),
              HasSubstr("inside part 'outer': part 'inner': got tensor 'nothing'"));
}

}  // namespace
}  // namespace portico
