#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "onnx/onnx_pb.h"
#include "tests/models/graph/plan_runner.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

absl::StatusOr<std::vector<Tensor>> Double(const std::vector<Tensor>& inputs) {
  std::vector<float> values;
  for (const float value : inputs[0].data<float>()) values.push_back(2 * value);
  return std::vector<Tensor>{Tensor::Of<float>(inputs[0].shape(), absl::MakeConstSpan(values))};
}

onnx::ModelProto Parsed(const SegmentSpec& segment) {
  onnx::ModelProto proto;
  EXPECT_TRUE(proto.ParseFromString(segment.model));
  return proto;
}

/// x → Neg → a → [portal] → b → Neg → y.
ModelBuilder AroundOnePortal() {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"});
  model.Node("Neg", {"x"}, {"a"})
      .Portal("Remote", "double", {"a"}, {"b"}, {DType::kFloat}, {"N"})
      .Node("Neg", {"b"}, {"y"});
  return model;
}

TEST(PartitionTest, WithoutPortalsIsOneSegmentInTheSignaturesOrder) {
  ModelBuilder model;
  model.Input("b", DType::kFloat, {"N"}).Input("a", DType::kFloat, {"N"});
  model.Output("z", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"});
  model.Node("Neg", {"a"}, {"y"}).Node("Neg", {"b"}, {"z"}).Node("Neg", {"b"}, {"unused"});
  const auto plan = PartitionBuilt(model);
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->steps.size(), 1);
  EXPECT_THAT(plan->steps[0].segment->inputs, ElementsAre("b", "a"));
  EXPECT_THAT(plan->steps[0].segment->outputs, ElementsAre("z", "y"));
  EXPECT_EQ(plan->steps[0].segment->num_nodes, 2);
}

TEST(PartitionTest, CutsAtAPortal) {
  const auto plan = PartitionBuilt(AroundOnePortal());
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->steps.size(), 3);
  EXPECT_NE(plan->steps[0].segment, nullptr);
  EXPECT_EQ(plan->steps[1].portal->target, "double");
  EXPECT_THAT(plan->steps[2].segment->inputs, ElementsAre("b"));
  const auto outputs = RunBuilt(AroundOnePortal(), {Tensor::Of<float>({2}, {1, 2})}, {{"double", Double}});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT((*outputs)[0].data<float>(), ElementsAre(2, 4));
}

TEST(PartitionTest, WhatNoPortalWaitsForIsASegmentOfItsOwn) {
  ModelBuilder model = AroundOnePortal();
  model.Output("side", DType::kFloat, {"N"}).Node("Abs", {"x"}, {"side"});
  const auto plan = PartitionBuilt(model);
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->steps.size(), 4);
  // The portal is under way before the side branch begins.
  EXPECT_THAT(plan->steps[0].segment->outputs, ElementsAre("a"));
  EXPECT_NE(plan->steps[1].portal, nullptr);
}

// p1 and p2 are independent, what joins them waits for both; nothing that only one needs waits for the other.
TEST(PartitionTest, ParallelPortalsShareNoSegmentBeyondWhatBothNeed) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"});
  model.Node("Neg", {"x"}, {"a"});
  model.Portal("Remote", "double", {"a"}, {"p1"}, {DType::kFloat}, {"N"});
  model.Portal("Remote", "double", {"a"}, {"p2"}, {DType::kFloat}, {"N"});
  model.Node("Neg", {"p1"}, {"n1"}).Node("Abs", {"p2"}, {"n2"}).Node("Add", {"n1", "n2"}, {"y"});
  const auto plan = PartitionBuilt(model);
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->steps.size(), 6);
  EXPECT_NE(plan->steps[1].portal, nullptr);
  EXPECT_NE(plan->steps[2].portal, nullptr);
  const auto outputs = RunBuilt(model, {Tensor::Of<float>({2}, {1, -2})}, {{"double", Double}});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT((*outputs)[0].data<float>(), ElementsAre(4, 0));
}

TEST(PartitionTest, LearnsTypesBetweenSegmentsFromOnnxRuntime) {
  ModelBuilder model = AroundOnePortal();
  // "codes" goes from the first segment to the last, past the portal, and is declared nowhere.
  model.Output("z", DType::kInt64, {"N"}).Node("Cast", {"a"}, {"codes"}, {Int("to", 7)});
  model.Node("Cast", {"b"}, {"whole"}, {Int("to", 7)}).Node("Add", {"codes", "whole"}, {"z"});
  model.Portal("Remote", "double", {"codes_f"}, {"c"}, {DType::kFloat}, {"N"})
      .Node("Cast", {"codes"}, {"codes_f"}, {Int("to", 1)});
  model.Output("c", DType::kFloat, {"N"});
  const auto plan = PartitionBuilt(model);
  ASSERT_TRUE(plan.ok()) << plan.status();
  bool seen = false;
  for (const PlanStep& step : plan->steps) {
    if (step.segment == nullptr) continue;
    const onnx::ModelProto proto = Parsed(*step.segment);
    for (const onnx::ValueInfoProto& input : proto.graph().input()) {
      if (input.name() != "codes") continue;
      seen = true;
      EXPECT_EQ(input.type().tensor_type().elem_type(), onnx::TensorProto::INT64);
      EXPECT_EQ(input.type().tensor_type().shape().dim(0).dim_param(), "N");
    }
  }
  EXPECT_TRUE(seen);
  const auto outputs = RunBuilt(model, {Tensor::Of<float>({1}, {3})}, {{"double", Double}});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT((*outputs)[1].data<int64_t>(), ElementsAre(-9));
}

TEST(PartitionTest, CopiesConstantNodesButNotRandomOnes) {
  ModelBuilder model = AroundOnePortal();
  model.Initializer("w", {1}, {3})
      .Node("Neg", {"w"}, {"negated"})
      .Node("RandomUniform", {}, {"noise"}, {Ints("shape", {1})});
  model.Output("u", DType::kFloat, {"N"}).Output("v", DType::kFloat, {"N"});
  model.Node("Add", {"a", "negated"}, {"t"}).Portal("Remote", "double", {"t"}, {"p"}, {DType::kFloat}, {"N"});
  model.Node("Add", {"p", "negated"}, {"u"});
  model.Node("Add", {"a", "noise"}, {"s"}).Portal("Remote", "double", {"s"}, {"q"}, {DType::kFloat}, {"N"});
  model.Node("Add", {"q", "noise"}, {"v"});
  const auto plan = PartitionBuilt(model);
  ASSERT_TRUE(plan.ok()) << plan.status();
  int negations = 0, noises = 0;
  for (const PlanStep& step : plan->steps) {
    if (step.segment == nullptr) continue;
    const onnx::ModelProto proto = Parsed(*step.segment);
    for (const onnx::NodeProto& node : proto.graph().node()) {
      negations += node.output(0) == "negated";
      noises += node.op_type() == "RandomUniform";
    }
  }
  EXPECT_EQ(negations, 2);
  EXPECT_EQ(noises, 1);
  const auto outputs = RunBuilt(model, {Tensor::Of<float>({1}, {1})}, {{"double", Double}});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT((*outputs)[1].data<float>(), ElementsAre(-11));
}

TEST(PartitionTest, OutputsMayBeInputsWeightsAndEachOther) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N"}).Initializer("w", {2}, {5, 6}).Node("Neg", {"w"}, {"c"});
  model.Output("x", DType::kFloat, {"N"}).Output("w", DType::kFloat, {2}).Output("c", DType::kFloat, {2});
  const auto outputs = RunBuilt(model, {Tensor::Of<float>({1}, {1})});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT((*outputs)[0].data<float>(), ElementsAre(1));
  EXPECT_THAT((*outputs)[1].data<float>(), ElementsAre(5, 6));
  EXPECT_THAT((*outputs)[2].data<float>(), ElementsAre(-5, -6));
}

TEST(PartitionTest, PortalsMayReadInputsWeightsConstantsAndOneTensorTwice) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N"})
      .Initializer("w", {1}, {5})
      .Node("Neg", {"w"}, {"c"})
      .Output("y", DType::kFloat, {"N"});
  model.Portal("Remote", "sum", {"x", "w", "c", "x"}, {"y", ""}, {DType::kFloat, DType::kFloat}, {"N", "N"});
  const auto sum = [](const std::vector<Tensor>& in) -> absl::StatusOr<std::vector<Tensor>> {
    float total = 0;
    for (const Tensor& tensor : in) total += tensor.data<float>()[0];
    return std::vector<Tensor>{Tensor::Of<float>({1}, {total}), Tensor::Of<float>({1}, {0})};
  };
  const auto outputs = RunBuilt(model, {Tensor::Of<float>({1}, {7})}, {{"sum", sum}});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT((*outputs)[0].data<float>(), ElementsAre(14));
}

TEST(PartitionTest, CapturedTensorsAreInputsOfTheNode) {
  ModelBuilder then_body, else_body;
  then_body.Node("Add", {"b", "w"}, {"t"}).Output("t", DType::kFloat, {"N"});
  else_body.Node("Neg", {"a"}, {"e"}).Output("e", DType::kFloat, {"N"});
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N"}).Input("flag", DType::kBool, {}).Output("y", DType::kFloat, {"N"});
  model.Initializer("w", {1}, {100});
  model.Node("Neg", {"x"}, {"a"}).Portal("Remote", "double", {"a"}, {"b"}, {DType::kFloat}, {"N"});
  model.Node("If", {"flag"}, {"y"},
             {Body("then_branch", then_body.BuildGraph()), Body("else_branch", else_body.BuildGraph())});
  for (const bool flag : {true, false}) {
    const auto outputs =
        RunBuilt(model, {Tensor::Of<float>({1}, {3}), Tensor::Of<bool>({}, {flag})}, {{"double", Double}});
    ASSERT_TRUE(outputs.ok()) << outputs.status();
    EXPECT_EQ((*outputs)[0].data<float>()[0], flag ? 94 : 3);
  }
}

TEST(PartitionTest, LocalFunctionsComeAlong) {
  ModelBuilder model = AroundOnePortal();
  model.Function("local", "Inner", {"i"}, {"o"}, {NewNode("Neg", {"i"}, {"o"})});
  model.Function("local", "Outer", {"i"}, {"o"}, {NewNode("Inner", {"i"}, {"o"}, {}, "local")});
  model.Function("local", "Unused", {"i"}, {"o"}, {NewNode("Neg", {"i"}, {"o"})});
  model.Output("z", DType::kFloat, {"N"}).Node("Outer", {"b"}, {"z"}, {}, "local");
  const auto plan = PartitionBuilt(model);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(Parsed(*plan->steps[0].segment).functions_size(), 0);
  EXPECT_EQ(Parsed(*plan->steps[2].segment).functions_size(), 2);
  const auto outputs = RunBuilt(model, {Tensor::Of<float>({1}, {3})}, {{"double", Double}});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT((*outputs)[1].data<float>(), ElementsAre(6));
}

TEST(PartitionTest, OnlyLargeWeightsStayOutside) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", 512}).Output("y", DType::kFloat, {"N", 512});
  model.Initializer("small", {1}, {2}).Initializer("large", Tensor::Of<float>({512}, std::vector<float>(512, 3)));
  model.Node("Mul", {"x", "small"}, {"t"}).Node("Add", {"t", "large"}, {"y"});
  const auto plan = PartitionBuilt(model);
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->steps[0].segment->weights.size(), 1);
  EXPECT_EQ(plan->steps[0].segment->weights[0].first, "large");
  const auto outputs = RunBuilt(model, {Tensor::Of<float>({1, 512}, std::vector<float>(512, 1))});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_EQ((*outputs)[0].data<float>()[511], 5);
}

absl::Status PartitionError(const ModelBuilder& model) { return PartitionBuilt(model).status(); }

TEST(PartitionTest, RefusesAPortalInABodyWithItsPath) {
  ModelBuilder body;
  body.Input("i", DType::kInt64, {})
      .Input("go", DType::kBool, {})
      .Output("more", DType::kBool, {})
      .Output("p", DType::kFloat, {"N"});
  body.Node("Identity", {"go"}, {"more"}).Portal("Remote", "double", {"x"}, {"p"}, {DType::kFloat}, {"N"});
  body.graph().mutable_node(1)->set_name("inner");
  ModelBuilder model;
  model.Opset("ai.portico", 1);
  model.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"M", "N"});
  model.Node("Loop", {"", ""}, {"y"}, {Body("body", body.BuildGraph())});
  model.graph().mutable_node(0)->set_name("loop1");
  const absl::Status status = PartitionError(model);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("graph/node 'loop1'/body/node 'inner'"));
}

TEST(PartitionTest, RefusesAPortalInALocalFunction) {
  ModelBuilder inner;
  inner.Portal("Remote", "double", {"i"}, {"o"}, {DType::kFloat}, {"N"});
  ModelBuilder model = AroundOnePortal();
  model.Function("local", "F", {"i"}, {"o"}, {inner.graph().node(0)});
  EXPECT_THAT(std::string(PartitionError(model).message()), HasSubstr("function 'local::F'/node 'o' (Remote)"));
}

TEST(PartitionTest, RefusesCyclesAndTensorsNobodyComputes) {
  ModelBuilder cycle;
  cycle.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"});
  cycle.Node("Add", {"x", "b"}, {"a"}).Node("Neg", {"a"}, {"b"}).Node("Neg", {"b"}, {"y"});
  EXPECT_THAT(std::string(PartitionError(cycle).message()), HasSubstr("cycle"));

  ModelBuilder missing;
  missing.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"}).Node("Add", {"x", "nowhere"}, {"y"});
  EXPECT_THAT(std::string(PartitionError(missing).message()), HasSubstr("'nowhere'"));

  ModelBuilder twice;
  twice.Input("x", DType::kFloat, {"N"})
      .Output("y", DType::kFloat, {"N"})
      .Node("Neg", {"x"}, {"y"})
      .Node("Abs", {"x"}, {"y"});
  EXPECT_THAT(std::string(PartitionError(twice).message()), HasSubstr("tensor 'y'"));
}

TEST(PartitionTest, RefusesAttributesThatDoNotFit) {
  const auto with = [](Attrs attrs, const std::vector<std::string>& shapes = {"N"}) {
    ModelBuilder model;
    model.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"});
    model.Portal("Remote", "double", {"x"}, {"y"}, {DType::kFloat}, shapes, std::move(attrs));
    return std::string(PartitionError(model).message());
  };
  EXPECT_THAT(with({}), IsEmpty());
  EXPECT_THAT(with({String("target", "")}), HasSubstr("attribute 'target'"));
  EXPECT_THAT(with({Ints("output_dtypes", {1, 1})}), HasSubstr("got 2 entries, want 1"));
  EXPECT_THAT(with({Ints("output_dtypes", {99})}), HasSubstr("attribute 'output_dtypes'"));
  EXPECT_THAT(with({}, {}), HasSubstr("attribute 'output_shapes'"));
  EXPECT_THAT(with({}, {"N,,2"}), HasSubstr("attribute 'output_shapes'"));
  EXPECT_THAT(with({}, {"-3"}), HasSubstr("attribute 'output_shapes'"));
  EXPECT_THAT(with({String("digest", "12")}), HasSubstr("attribute 'digest'"));
  EXPECT_THAT(with({Int("target", 1)}), HasSubstr("got INT, want STRING"));
  EXPECT_THAT(with({Strings("input_names", {})}), HasSubstr("attribute 'input_names'"));
}

TEST(PartitionTest, ReadsShapesOfPortals) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N"})
      .Output("a", DType::kFloat, {"N"})
      .Output("b", DType::kInt64, {})
      .OutputWithoutRank("c", DType::kFloat);
  model.Portal("Remote", "m", {"x"}, {"a", "b", "c"}, {DType::kFloat, DType::kInt64, DType::kFloat},
               {"N, 64,?", "", "..."});
  const auto plan = PartitionBuilt(model);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const PortalSpec& portal = *plan->steps[0].portal;
  EXPECT_EQ(portal.outputs[0].ToString(), "float32[N,64,?]");
  EXPECT_EQ(portal.outputs[1].ToString(), "int64[]");
  EXPECT_EQ(portal.outputs[2].ToString(), "float32[...]");
  EXPECT_EQ(portal.signature, "serving_default");
}

/// A lookup in a table, whose rows an ordinary op reads.
ModelBuilder AroundOneLookup(const std::vector<std::string>& inputs = {"tables", "entries", "ids", "strings", "lengths",
                                                                       "weights"}) {
  ModelBuilder model;
  model.Opset("ai.portico", 1);
  model.Input("tables", DType::kString, {"K"}).Input("entries", DType::kInt32, {"K", 4});
  model.Input("ids", DType::kInt64, {"T"}).Input("strings", DType::kString, {"S"});
  model.Input("lengths", DType::kInt32, {"B"}).Input("weights", DType::kFloat, {"W"});
  model.Output("y", DType::kFloat, {"N"}).Output("found", DType::kInt64, {"K", 4});
  model.Node("TableLookup", inputs, {"rows", "found"},
             {String("file", "table.shard"), String("content", std::string(64, 'a'))}, "ai.portico");
  model.Node("Cast", {"rows"}, {"y"}, {Int("to", static_cast<int64_t>(DType::kFloat))});
  return model;
}

TEST(PartitionTest, ALookupInATableIsAStepThatIsNoPortal) {
  const auto plan = PartitionBuilt(AroundOneLookup());
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->steps.size(), 2u);
  const PlanStep& lookup = plan->steps[0];
  EXPECT_EQ(lookup.portal, nullptr);
  EXPECT_EQ(lookup.segment, nullptr);
  ASSERT_NE(lookup.table, nullptr);
  EXPECT_EQ(lookup.table->file, "table.shard");
  EXPECT_EQ(lookup.table->content.Hex(), std::string(64, 'a'));
  EXPECT_EQ(lookup.inputs, plan->inputs);
  EXPECT_EQ(lookup.outputs.size(), 2u);
  EXPECT_THAT(plan->steps[1].segment->inputs, ElementsAre("rows"));
}

TEST(PartitionTest, RefusesALookupWithoutAllItReads) {
  EXPECT_THAT(
      std::string(PartitionError(AroundOneLookup({"tables", "entries", "ids", "strings", "", "weights"})).message()),
      HasSubstr("(TableLookup): input 4: got none, want 'lengths'"));
  EXPECT_THAT(std::string(PartitionError(AroundOneLookup({"tables", "entries"})).message()),
              HasSubstr("got 2 inputs and 2 outputs, want 6 and 2"));
}

TEST(PartitionTest, TenThousandNodesAndAThousandPortalsTakeNoTime) {
  ModelBuilder model;
  model.Input("t0", DType::kFloat, {"N"});
  for (int i = 0; i < 10000; ++i) {
    const std::string in = absl::StrCat("t", i), out = absl::StrCat("t", i + 1);
    model.ValueInfo(out, DType::kFloat, {"N"});
    if (i % 10 == 5) {
      model.Portal("Remote", "p", {in}, {out}, {DType::kFloat}, {"N"});
    } else {
      model.Node("Neg", {in}, {out});
    }
  }
  model.Output("t10000", DType::kFloat, {"N"});
  const auto loaded = LoadBuilt(model);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const auto signature = GraphSignature(*loaded);
  const absl::Time start = absl::Now();
  const auto plan = Partition(*loaded, *signature);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->steps.size(), 2001);
  EXPECT_LT(absl::Now() - start, absl::Seconds(30));
}

}  // namespace
}  // namespace portico
