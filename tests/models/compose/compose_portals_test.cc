// Cascades and experts, and what is written of any composition.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_join.h"
#include "models/compose/compose.h"
#include "models/compose/expression.h"
#include "models/graph/portal_spec.h"
#include "onnx/onnx_pb.h"
#include "tests/models/compose/compose_fixture.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Kind = Composition::Kind;

/// Attribute of a node as text.
std::string AttributeText(const onnx::NodeProto& node, absl::string_view name) {
  for (const onnx::AttributeProto& attribute : node.attribute()) {
    if (attribute.name() != name) continue;
    if (attribute.type() == onnx::AttributeProto::STRING) return attribute.s();
    if (attribute.type() == onnx::AttributeProto::INT) return absl::StrCat(attribute.i());
    if (attribute.type() == onnx::AttributeProto::FLOAT) return absl::StrCat(attribute.f());
    if (attribute.type() == onnx::AttributeProto::INTS) return absl::StrJoin(attribute.ints(), " ");
    if (attribute.type() == onnx::AttributeProto::FLOATS) return absl::StrJoin(attribute.floats(), " ");
    return absl::StrJoin(attribute.strings(), " ");
  }
  return "none";
}

std::vector<const onnx::NodeProto*> Nodes(const Package& package, absl::string_view op_type) {
  std::vector<const onnx::NodeProto*> nodes;
  for (const onnx::NodeProto& node : package.model.proto().graph().node()) {
    if (node.op_type() == op_type) nodes.push_back(&node);
  }
  return nodes;
}

/// score float[N], words int64[N,2], sure bool[N] of x; the full models' answers differ by `factor`.
ModelBuilder Scorer(float factor, bool trigger) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"n", 2}).Output("score", DType::kFloat, {"n"});
  model.Initializer("factor", {}, {factor}).Initializer("axes", Tensor::Of<int64_t>({1}, {1}));
  model.Node("ReduceSum", {"x", "axes"}, {"sum"}, {Int("keepdims", 0)}).Node("Mul", {"sum", "factor"}, {"score"});
  if (trigger) {
    model.Output("sure", DType::kBool, {"n"}).Initializer("one", {}, {1}).Node("Greater", {"score", "one"}, {"sure"});
  } else {
    model.Input("table", DType::kFloat, {5}).Output("extra", DType::kFloat, {"n"}).Node("Abs", {"sum"}, {"extra"});
  }
  return model;
}

TEST_F(ComposeTest, HowACascadeIsWatchedIsInItsPortal) {
  kitchen_.Add("trigger", Scorer(1, true));
  kitchen_.Add("full", Scorer(100, false));
  Composition composition = NewComposition(Kind::kCascade, {"trigger", "full"});
  CompositionMember& full = composition.members[1];
  full.when = "score > 0.1 && !sure";
  const auto portal = [&](const Package& made) {
    auto spec = ReadPortalSpec(*Nodes(made, "Cascade").at(0));
    EXPECT_TRUE(spec.ok()) << spec.status();
    return *std::move(spec);
  };
  EXPECT_EQ(portal(Make(composition)).cascade->watch, CascadeWatch());
  EXPECT_EQ(AttributeText(*Nodes(Make(composition), "Cascade")[0], "audit"), "none") << "what is off is not said";

  full.outputs = {{"score", "score"}};
  // Shares that float has, too.
  full.watch = {.audit = 0.125,
                .audit_max_in_flight = 7,
                .audit_timeout = absl::Milliseconds(300),
                .agreement_outputs = {"score"},
                .agreement_tolerance = 0.5,
                .expected_escalated = 0.25,
                .expected_agreement = 0.75,
                .expected_escalated_within = 0.0625,
                .expected_agreement_within = 0.03125,
                .expected_over = absl::Minutes(3),
                .max_shed = 0.5,
                .slower_than = absl::Milliseconds(40)};
  const Package made = Make(composition);
  const PortalSpec spec = portal(made);
  EXPECT_EQ(spec.cascade->watch, full.watch);
  // escalate, the cheap answer, x and table, then how much each row needs it.
  const onnx::NodeProto& node = *Nodes(made, "Cascade")[0];
  ASSERT_EQ(node.input_size(), 5);
  EXPECT_EQ(AttributeText(node, "input_names"), "x table");

  // In the order of the condition's margin, or of what is said.
  const auto need = [&](const Package& package) {
    std::vector<float> values;
    auto plan = Partition(package.model, package.signatures[0]);
    EXPECT_TRUE(plan.ok()) << plan.status();
    const auto outputs =
        RunPlan(*std::move(plan),
                {Tensor::Of<float>({3, 2}, {0, 0.05F, 0.25F, 0.25F, 1, 1}), Tensor::Of<float>({5}, {0, 0, 0, 0, 0})},
                [&](const PortalSpec&) -> PortalBody {
                  return [&](const std::vector<Tensor>& in) -> absl::StatusOr<std::vector<Tensor>> {
                    EXPECT_EQ(in.size(), 5u);
                    const auto last = in.back().data<float>();
                    values.assign(last.begin(), last.end());
                    return std::vector<Tensor>{in[1]};
                  };
                });
    EXPECT_TRUE(outputs.ok()) << outputs.status();
    return values;
  };
  EXPECT_THAT(need(made), ElementsAre(0.05F - 0.1F, 0.5F - 0.1F, -1e30F));
  full.by = "1 - score";
  EXPECT_THAT(need(Make(composition)), ElementsAre(0.95F, 0.5F, -1));

  full.by = "score >";
  full.by_line = 20;
  EXPECT_THAT(ErrorOf(composition), HasSubstr("mesh.yaml:20: model 'made': condition 'score >': at column 8"));
  full.by = "score > 1";
  EXPECT_THAT(ErrorOf(composition), HasSubstr("got one truth value per row, want one number per row"));
  full.by.clear();
  full.watch.agreement_outputs = {"extra"};
  EXPECT_EQ(ErrorOf(composition),
            "mesh.yaml:12: model 'made': 'full': audit: outputs: got 'extra', want answers of the cascade: score");
}

TEST_F(ComposeTest, CascadeOfThreeStages) {
  kitchen_.Add("trigger", Scorer(1, true));
  kitchen_.Add("middle", Scorer(10, false));
  kitchen_.Add("full", Scorer(100, false));
  Composition composition = NewComposition(Kind::kCascade, {"trigger", "middle", "full"});
  composition.members[1].when = "score > 0.1 && !sure";
  composition.members[2].when = "score > 5";
  composition.row_status = true;
  const Package made = Make(composition);
  const Signature& signature = made.signatures[0];
  ASSERT_EQ(signature.inputs.size(), 2u);
  EXPECT_EQ(signature.inputs[0].ToString(), "float32[N,2]");
  EXPECT_EQ(signature.inputs[1].name, "table");
  EXPECT_EQ(signature.inputs[1].ToString(), "float32[5]");
  ASSERT_EQ(signature.outputs.size(), 2u);
  EXPECT_EQ(signature.outputs[0].name, "score");
  EXPECT_EQ(signature.outputs[1].name, "row_status");
  EXPECT_EQ(signature.outputs[1].ToString(), "int8[N]");

  const auto cascades = Nodes(made, "Cascade");
  ASSERT_EQ(cascades.size(), 2u);
  const onnx::NodeProto& middle = *cascades[0];
  EXPECT_EQ(middle.domain(), "ai.portico");
  EXPECT_EQ(middle.name(), "middle");
  EXPECT_EQ(AttributeText(middle, "target"), "middle");
  EXPECT_EQ(AttributeText(middle, "signature"), "serving_default");
  EXPECT_EQ(AttributeText(middle, "digest"), "none");
  EXPECT_EQ(AttributeText(middle, "input_names"), "x table");
  EXPECT_EQ(AttributeText(middle, "shared_inputs"), "table");
  EXPECT_EQ(AttributeText(middle, "output_names"), "score");
  EXPECT_EQ(AttributeText(middle, "output_dtypes"), "1 3");
  EXPECT_EQ(AttributeText(middle, "output_shapes"), "N N");
  EXPECT_EQ(AttributeText(middle, "on_row_error"), "mark");
  EXPECT_EQ(AttributeText(middle, "row_status"), "1");
  // escalate, the cheap answer, two inputs; the answer and the status.
  ASSERT_EQ(middle.input_size(), 4);
  EXPECT_EQ(middle.input(1), "trigger/score");
  EXPECT_EQ(middle.input(2), "x");
  ASSERT_EQ(middle.output_size(), 2);
  // The next stage's cheap answer is what this one gave, and its rows are among this one's.
  const onnx::NodeProto& full = *cascades[1];
  EXPECT_EQ(full.input(1), middle.output(0));
  EXPECT_EQ(full.output(0), "score");
  const auto ands = Nodes(made, "And");
  ASSERT_FALSE(ands.empty());
  EXPECT_EQ(ands.back()->output(0), full.input(0));
  EXPECT_EQ(ands.back()->input(1), middle.input(0));
}

TEST_F(ComposeTest, CascadeEscalatesByItsCondition) {
  kitchen_.Add("trigger", Scorer(1, true));
  kitchen_.Add("full", Scorer(100, false));
  Composition composition = NewComposition(Kind::kCascade, {"trigger", "full"});
  composition.members[1].when = "score > 0.1 && !sure";
  const Package made = Make(composition);
  // The graph up to the portal, with what goes into it as outputs.
  auto cut = std::make_unique<onnx::ModelProto>();
  {
    ASSERT_EQ(Nodes(made, "Cascade").size(), 1u);
    const auto runnable = MakeRunnable(made.model, {});
    ASSERT_TRUE(runnable.ok());
    ASSERT_TRUE(cut->ParseFromString(runnable->proto));
  }
  onnx::GraphProto& graph = *cut->mutable_graph();
  const onnx::NodeProto portal = graph.node(graph.node_size() - 1);
  ASSERT_EQ(portal.op_type(), "Cascade");
  graph.mutable_node()->RemoveLast();
  google::protobuf::RepeatedPtrField<onnx::OperatorSetIdProto> opsets;
  for (const onnx::OperatorSetIdProto& opset : cut->opset_import()) {
    if (opset.domain() != "ai.portico") *opsets.Add() = opset;
  }
  cut->mutable_opset_import()->Swap(&opsets);
  graph.clear_output();
  graph.add_output()->set_name(portal.input(0));
  graph.add_output()->set_name(portal.input(1));
  auto session = Session::Create(cut->SerializeAsString(), {}, {.name = "cheap"});
  ASSERT_TRUE(session.ok()) << session.status();
  const auto outputs = (*session)->Run(
      {Tensor::Of<float>({4, 2}, {0, 0.05f, 0.2f, 0.3f, 1, 1, -1, 0}), Tensor::Of<float>({5}, {0, 0, 0, 0, 0})});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT((*outputs)[0].data<bool>(), ElementsAre(false, true, false, false));
  EXPECT_THAT((*outputs)[1].data<float>(), ElementsAre(0.05f, 0.5f, 2, -1));
  EXPECT_EQ((*session)->outputs()[0].ToString(), "bool[N]");
}

TEST_F(ComposeTest, CascadesThatMakeNoSense) {
  kitchen_.Add("trigger", Scorer(1, true));
  kitchen_.Add("full", Scorer(100, false));
  Composition composition = NewComposition(Kind::kCascade, {"trigger", "full"});
  composition.members[1].when = "scores > 0.1";
  EXPECT_EQ(ErrorOf(composition),
            "mesh.yaml:12: model 'made': condition 'scores > 0.1': at column 1: got name 'scores', "
            "want one of the outputs: score, sure");
  composition.members[1].when = "score > 0.1";
  composition.members[1].pinned = true;
  EXPECT_EQ(
      ErrorOf(composition),
      "mesh.yaml:12: model 'made': 'full': pin: got 1 of its outputs (score, extra), want all of them in order; a "
      "call by digest goes by position");
  composition.members[1].pinned = false;
  composition.members[1].copied = true;
  EXPECT_THAT(ErrorOf(composition), HasSubstr("got inline: true for a further stage"));
  composition.members[1].copied.reset();
  composition.members[1].outputs = {{"score", "probability"}};
  EXPECT_THAT(ErrorOf(composition), HasSubstr("got no output that all have"));
  composition.outputs = {"score"};
  EXPECT_EQ(ErrorOf(composition),
            "mesh.yaml:12: model 'made': 'full': got no output 'score', want one of probability, "
            "extra; rename with 'outputs'");
  composition.members[1].outputs = {{"extra", "sure"}};
  composition.outputs = {"sure"};
  EXPECT_EQ(ErrorOf(composition),
            "mesh.yaml:12: model 'made': 'full': output 'sure': got float32[N], want bool[N], as "
            "'trigger' gives it");
}

TEST_F(ComposeTest, ExpertsBehindAGate) {
  ModelBuilder gate;
  gate.Input("x", DType::kFloat, {"N", 2}).Output("gate", DType::kDouble, {"N", 2});
  gate.Node("Cast", {"x"}, {"gate"}, {Int("to", 11)});
  kitchen_.Add("gate", gate);
  kitchen_.Add("cats", Scaled("Add", 1));
  kitchen_.Add("dogs", Scaled("Add", 2));
  Composition composition = NewComposition(Kind::kExperts, {"cats", "dogs"});
  composition.experts.gate.model = "gate";
  composition.experts.k = 2;
  composition.experts.k_min = 1;
  composition.experts.k_min_after = absl::Milliseconds(20);
  composition.experts.capacity = 1.5;
  composition.experts.weights = "renormalize";
  composition.row_status = true;
  for (CompositionMember& member : composition.members) member.pinned = true;
  const Package made = Make(composition);
  ASSERT_EQ(made.signatures[0].outputs.size(), 2u);
  EXPECT_EQ(made.signatures[0].outputs[0].ToString(), "float32[N,2]");
  const auto experts = Nodes(made, "Experts");
  ASSERT_EQ(experts.size(), 1u);
  const onnx::NodeProto& node = *experts[0];
  EXPECT_EQ(node.name(), "made") << "what the gate does wrong is no expert's fault";
  EXPECT_EQ(AttributeText(node, "targets"), "cats dogs");
  EXPECT_EQ(AttributeText(node, "target"), "none");
  EXPECT_EQ(AttributeText(node, "digests"),
            absl::StrCat(kitchen_.package("cats").digest.Hex(), " ", kitchen_.package("dogs").digest.Hex()));
  EXPECT_EQ(AttributeText(node, "k"), "2");
  EXPECT_EQ(AttributeText(node, "k_min"), "1");
  EXPECT_EQ(AttributeText(node, "k_min_after_ms"), "20");
  EXPECT_EQ(AttributeText(node, "weights"), "renormalize");
  EXPECT_EQ(AttributeText(node, "on_expert_error"), "next");
  EXPECT_EQ(AttributeText(node, "capacity"), "1.5");
  EXPECT_EQ(AttributeText(node, "input_names"), "x");
  ASSERT_EQ(node.input_size(), 2);
  EXPECT_EQ(node.input(1), "x");
  EXPECT_EQ(node.output(0), "y");
  // The gate is float32.
  EXPECT_EQ(Nodes(made, "Cast").back()->output(0), node.input(0));
  EXPECT_EQ(AttributeText(node, "expected_load"), "none") << "what is off is not said";

  composition.experts.watch = {.load = {0.25, 0.75}, .load_within = 0.125, .entropy = 0.5, .over = absl::Minutes(3)};
  const Package watched = Make(composition);
  const onnx::NodeProto& expecting = *Nodes(watched, "Experts")[0];
  EXPECT_EQ(AttributeText(expecting, "expected_load"), "0.25 0.75");
  EXPECT_EQ(AttributeText(expecting, "expected_load_within"), "0.125");
  EXPECT_EQ(AttributeText(expecting, "expected_entropy"), "0.5");
  EXPECT_EQ(AttributeText(expecting, "expected_entropy_within"), "none");
  EXPECT_EQ(AttributeText(expecting, "expected_over_ms"), "180000");
}

TEST_F(ComposeTest, ExpertsThatDifferAndGatesThatDoNotFit) {
  kitchen_.Add("gate", Scaled("Mul", 1, "x", "gate"));
  kitchen_.Add("cats", Scaled("Add", 1));
  kitchen_.Add("dogs", Scaled("Add", 2));
  kitchen_.Add("cows", Scaled("Add", 3));
  kitchen_.Add("text", Labels(DType::kString, "Identity"));
  kitchen_.Add("image", Scaled("Add", 1, "image"));
  Composition composition = NewComposition(Kind::kExperts, {"cats", "image"});
  composition.experts.gate.model = "gate";
  composition.experts.gate.line = 20;
  EXPECT_EQ(ErrorOf(composition),
            "mesh.yaml:12: model 'made': expert 'image': got input 'image', want x as expert "
            "'cats' has it");
  composition = NewComposition(Kind::kExperts, {"cats", "text"});
  composition.experts.gate.model = "gate";
  EXPECT_EQ(ErrorOf(composition),
            "mesh.yaml:12: model 'made': expert 'text': input 'x': got string[N], want "
            "float32[N,2] as expert 'cats' has it");
  composition = NewComposition(Kind::kExperts, {"cats", "dogs", "cats"});
  composition.experts.gate.model = "gate";
  EXPECT_EQ(ErrorOf(composition),
            "mesh.yaml:13: model 'made': experts: got 'cats' twice, want each expert once; let the gate add up what it "
            "gives to one");
  composition = NewComposition(Kind::kExperts, {"cats", "dogs", "cows"});
  composition.experts.gate.model = "gate";
  composition.experts.gate.line = 20;
  EXPECT_EQ(ErrorOf(composition),
            "mesh.yaml:20: model 'made': gate 'gate': output 'gate': got float32[N,2], want "
            "float32[N,3], a number for each expert");
  composition.experts.gate_output = "gates";
  EXPECT_EQ(ErrorOf(composition),
            "mesh.yaml:20: model 'made': gate 'gate': gate_output: got 'gates', want one of its "
            "outputs: gate");
}

TEST_F(ComposeTest, SameContentIsTheSameDigest) {
  kitchen_.Add("trigger", Scorer(1, true));
  kitchen_.Add("full", Scorer(100, false));
  Composition composition = NewComposition(Kind::kCascade, {"trigger", "full"});
  composition.members[1].when = "score > 0.1";
  composition.members[1].outputs = {};
  const Digest first = Make(composition).digest;
  EXPECT_EQ(Make(composition).digest, first);
  // A full model of other weights is the revision's business.
  kitchen_.Add("full", Scorer(200, false));
  EXPECT_EQ(Make(composition).digest, first);
  composition.members[1].when = "score > 0.2";
  const Digest other = Make(composition).digest;
  EXPECT_NE(other, first);
  kitchen_.Add("trigger", Scorer(2, true));
  EXPECT_NE(Make(composition).digest, other);
}

TEST_F(ComposeTest, PinnedTargetsAreCalledByDigest) {
  kitchen_.Add("add", Scaled("Add", 1));
  Composition composition = NewComposition(Kind::kSequence, {"add"});
  composition.members[0].pinned = true;
  const Package made = Make(composition);
  EXPECT_EQ(AttributeText(*Nodes(made, "Remote")[0], "digest"), kitchen_.package("add").digest.Hex());
  kitchen_.Add("add", Scaled("Add", 2));
  EXPECT_NE(Make(composition).digest, made.digest);
}

TEST_F(ComposeTest, WhatIsWrittenIsAnOrdinaryPackage) {
  kitchen_.Add("add", Scaled("Add", 1));
  kitchen_.Add("words", Labels(DType::kString, "Identity"));
  // Weights beside the model.
  ModelBuilder large;
  large.Input("y", DType::kFloat, {"n", 2}).Output("z", DType::kFloat, {"n", 200000});
  large.Initializer("w", Tensor::Of<float>({2, 200000}, std::vector<float>(400000, 0.5f)))
      .Node("MatMul", {"y", "w"}, {"z"});
  kitchen_.Add("large", large);
  Composition composition = NewComposition(Kind::kSequence, {"add", "large"});
  for (CompositionMember& member : composition.members) member.copied = true;
  const auto made = Compose(composition, kitchen_.Find());
  ASSERT_TRUE(made.ok()) << made.status();
  const TempFolder folder;
  const std::string path = absl::StrCat(folder.path(), "/made/1");
  ASSERT_TRUE(WriteComposed(*made, path).ok());
  WeightStore store;
  const auto read = LoadPackage("made", path, store);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->digest, made->package.digest);
  EXPECT_EQ(read->signatures[0].outputs[0].ToString(), "float32[N,200000]");
  EXPECT_FALSE(read->axes_declared);
  const auto outputs = MustRun(*read, {Tensor::Of<float>({1, 2}, {1, 2})});
  EXPECT_EQ(outputs[0].data<float>()[199999], 2.5f);
  EXPECT_TRUE(absl::IsAlreadyExists(WriteComposed(*made, path)));
}

}  // namespace
}  // namespace portico
