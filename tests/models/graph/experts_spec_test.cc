#include "models/graph/experts_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/graph/portal_spec.h"
#include "tests/models/graph/plan_runner.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

/// A gate over experts a, b and c, which is an input of the model.
ModelBuilder ThreeExperts(Attrs attrs = {}, const ModelShape& gate = {"N", 3}, DType gate_dtype = DType::kFloat) {
  ModelBuilder model;
  model.Input("gate", gate_dtype, gate).Input("x", DType::kFloat, {"N", 4}).Output("y", DType::kFloat, {"N", 2});
  const auto add = [&](onnx::AttributeProto attr) {
    for (const onnx::AttributeProto& have : attrs) {
      if (have.name() == attr.name()) return;
    }
    attrs.push_back(std::move(attr));
  };
  add(Strings("targets", {"a", "b", "c"}));
  add(Strings("input_names", {"x"}));
  model.Portal("Experts", "", {"gate", "x"}, {"y"}, {DType::kFloat}, {"N,2"}, std::move(attrs));
  return model;
}

/// Empty where it can be read.
std::string ErrorOf(const ModelBuilder& model) {
  const auto plan = PartitionBuilt(model);
  if (plan.ok()) return "";
  EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(plan.status().message());
}

TEST(ExpertsSpecTest, DefaultsAreOneExpertAndTheNextBest) {
  const auto plan = PartitionBuilt(ThreeExperts());
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_THAT(plan->steps, SizeIs(1));
  const PortalSpec& portal = *plan->steps[0].portal;
  ASSERT_TRUE(portal.experts.has_value());
  EXPECT_EQ(portal.experts->k, 1);
  EXPECT_EQ(portal.experts->k_min, 1);
  EXPECT_EQ(portal.experts->k_min_after, absl::ZeroDuration());
  EXPECT_EQ(portal.experts->weights, ExpertWeights::kSoftmax);
  EXPECT_EQ(portal.experts->on_expert_error, ExpertsSpec::OnExpertError::kNext);
  EXPECT_EQ(portal.experts->on_row_error, ExpertsSpec::OnRowError::kMark);
  EXPECT_EQ(portal.experts->capacity, 0);
  EXPECT_FALSE(portal.experts->row_status);
  EXPECT_THAT(portal.input_names, ElementsAre("x"));
  EXPECT_EQ(TargetNames(portal), "a, b, c");
  EXPECT_THAT(PortalTargets(portal), SizeIs(3));
}

TEST(ExpertsSpecTest, AllAttributesAreRead) {
  const std::string digest(64, 'a');
  const auto plan = PartitionBuilt(
      ThreeExperts({Strings("digests", {digest, "", digest}), Int("k", 3), Int("k_min", 2), Int("k_min_after_ms", 20),
                    String("weights", "renormalize"), String("on_expert_error", "fail"), String("on_row_error", "fail"),
                    Float("capacity", 1.25f)}));
  ASSERT_TRUE(plan.ok()) << plan.status();
  const ExpertsSpec& experts = *plan->steps[0].portal->experts;
  EXPECT_EQ(experts.targets[0].digest.Hex(), digest);
  EXPECT_TRUE(experts.targets[1].digest.empty());
  EXPECT_EQ(experts.k, 3);
  EXPECT_EQ(experts.k_min, 2);
  EXPECT_EQ(experts.k_min_after, absl::Milliseconds(20));
  EXPECT_EQ(experts.weights, ExpertWeights::kRenormalize);
  EXPECT_EQ(experts.on_expert_error, ExpertsSpec::OnExpertError::kFail);
  EXPECT_EQ(experts.on_row_error, ExpertsSpec::OnRowError::kFail);
  EXPECT_EQ(experts.capacity, 1.25f);
}

TEST(ExpertsSpecTest, WhatIsExpectedOfTheGateIsReadAndHeldWithinBounds) {
  const auto plan = PartitionBuilt(ThreeExperts(
      {Floats("expected_load", {0.5f, 0.25f, 0.25f}), Float("expected_load_within", 0.125f),
       Float("expected_entropy", 0.75f), Float("expected_entropy_within", 0.25f), Int("expected_over_ms", 60'000)}));
  ASSERT_TRUE(plan.ok()) << plan.status();
  const ExpertsWatch& watch = plan->steps[0].portal->experts->watch;
  EXPECT_THAT(watch.load, ElementsAre(0.5f, 0.25f, 0.25f));
  EXPECT_EQ(watch.LoadWithin(0), 0.125);
  EXPECT_EQ(watch.entropy, 0.75);
  EXPECT_EQ(watch.entropy_within, 0.25);
  EXPECT_EQ(watch.over, absl::Minutes(1));
  const auto usual = PartitionBuilt(ThreeExperts({Floats("expected_load", {0.9f, 0.08f, 0.02f})}));
  ASSERT_TRUE(usual.ok()) << usual.status();
  EXPECT_NEAR(usual->steps[0].portal->experts->watch.LoadWithin(0), 0.225, 1e-6);
  EXPECT_EQ(usual->steps[0].portal->experts->watch.LoadWithin(2), 0.01);
  EXPECT_FALSE(PartitionBuilt(ThreeExperts())->steps[0].portal->experts->watch.on());

  EXPECT_THAT(ErrorOf(ThreeExperts({Floats("expected_load", {0.5f, 0.5f})})),
              HasSubstr("'expected_load': got 2 shares, want 3, one for each expert"));
  EXPECT_THAT(ErrorOf(ThreeExperts({Floats("expected_load", {0.5f, 0.5f, 0.5f})})), HasSubstr("add up to 1.5, want 1"));
  EXPECT_THAT(ErrorOf(ThreeExperts({Floats("expected_load", {1.5f, -0.5f, 0})})),
              HasSubstr("'expected_load': got 1.5, want a share from 0 to 1"));
  EXPECT_THAT(ErrorOf(ThreeExperts({Float("expected_entropy", 2)})), HasSubstr("'expected_entropy': got 2"));
  EXPECT_THAT(ErrorOf(ThreeExperts({Float("expected_entropy_within", -1)})),
              HasSubstr("'expected_entropy_within': got -1"));
  EXPECT_THAT(ErrorOf(ThreeExperts({Int("expected_over_ms", 10)})), HasSubstr("'expected_over': got 10ms, want 1s"));
  EXPECT_THAT(ErrorOf(ThreeExperts({Int("expected_load", 1)})), HasSubstr("got INT, want FLOATS"));
}

TEST(ExpertsSpecTest, RowStatusIsOneMoreOutputWithoutAName) {
  ModelBuilder model;
  model.Input("gate", DType::kFloat, {"N", 2}).Input("x", DType::kString, {"N"});
  model.Output("y", DType::kFloat, {"N"}).Output("how", DType::kInt8, {"N"});
  model.Portal("Experts", "", {"gate", "x"}, {"y", "how"}, {DType::kFloat, DType::kInt8}, {"N", "N"},
               {Strings("targets", {"a", "b"}), Strings("input_names", {"text"}), Strings("output_names", {"score"}),
                Int("row_status", 1)});
  const auto plan = PartitionBuilt(model);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const PortalSpec& portal = *plan->steps[0].portal;
  EXPECT_TRUE(portal.experts->row_status);
  ASSERT_THAT(portal.outputs, SizeIs(2));
  EXPECT_EQ(portal.outputs[0].name, "score");
  EXPECT_EQ(portal.outputs[1].ToString(), "int8[N]");
}

TEST(ExpertsSpecTest, AttributesThatCannotBeAreRefusedByName) {
  EXPECT_THAT(ErrorOf(ThreeExperts({Strings("targets", {})})), HasSubstr("attribute 'targets': got 0 experts"));
  EXPECT_THAT(ErrorOf(ThreeExperts({Strings("targets", {"a", "", "c"})})), HasSubstr("'targets': got none at 1"));
  EXPECT_THAT(ErrorOf(ThreeExperts({Strings("targets", {"a", "b", "a"})})), HasSubstr("got 'a' twice"));
  EXPECT_THAT(ErrorOf(ThreeExperts({String("target", "a")})), HasSubstr("the experts are in 'targets'"));
  EXPECT_THAT(ErrorOf(ThreeExperts({Strings("digests", {""})})), HasSubstr("'digests': got 1 entries, want 3"));
  EXPECT_THAT(ErrorOf(ThreeExperts({Strings("digests", {"", "12", ""})})), HasSubstr("attribute 'digests' at 1"));
  EXPECT_THAT(ErrorOf(ThreeExperts({Int("k", 0)})), HasSubstr("attribute 'k': got 0, want a number from 1 to 3"));
  EXPECT_THAT(ErrorOf(ThreeExperts({Int("k", 4)})), HasSubstr("attribute 'k': got 4"));
  EXPECT_THAT(ErrorOf(ThreeExperts({Int("k", 2), Int("k_min", 3)})), HasSubstr("attribute 'k_min': got 3"));
  EXPECT_THAT(ErrorOf(ThreeExperts({Int("k_min_after_ms", -1)})), HasSubstr("attribute 'k_min_after_ms': got -1"));
  EXPECT_THAT(ErrorOf(ThreeExperts({String("weights", "sum")})),
              HasSubstr("attribute 'weights': got 'sum', want one of softmax, renormalize, none"));
  EXPECT_THAT(ErrorOf(ThreeExperts({String("on_expert_error", "retry")})), HasSubstr("next, renormalize, fail"));
  EXPECT_THAT(ErrorOf(ThreeExperts({String("on_row_error", "cheap")})), HasSubstr("mark, fail"));
  EXPECT_THAT(ErrorOf(ThreeExperts({Float("capacity", -1)})), HasSubstr("attribute 'capacity': got -1"));
  EXPECT_THAT(ErrorOf(ThreeExperts({Strings("input_names", {"gate", "x"})})),
              HasSubstr("attribute 'input_names': got 2 entries, want 1"));
  EXPECT_THAT(ErrorOf(ThreeExperts({Int("row_status", 1)})), HasSubstr("got 2 inputs and 1 outputs"));
  EXPECT_THAT(ErrorOf(ThreeExperts({Int("row_status", 2)})), HasSubstr("attribute 'row_status': got 2"));
}

TEST(ExpertsSpecTest, OutputsThatAreNoRowsOfFloatsAreRefused) {
  const auto with = [](DType dtype, const std::string& shape) {
    ModelBuilder model;
    model.Input("gate", DType::kFloat, {"N", 2}).OutputWithoutRank("y", dtype);
    model.Portal("Experts", "", {"gate", "gate"}, {"y"}, {dtype}, {shape},
                 {Strings("targets", {"a", "b"}), Strings("input_names", {"x"})});
    return ErrorOf(model);
  };
  EXPECT_EQ(with(DType::kFloat, "N,2"), "");
  EXPECT_EQ(with(DType::kFloat, "..."), "");
  EXPECT_THAT(with(DType::kInt64, "N,2"), AllOf(HasSubstr("output 'y': got int64[N,2]"), HasSubstr("float32[N,...]")));
  EXPECT_THAT(with(DType::kFloat, "8,2"), HasSubstr("output 'y': got float32[8,2]"));
  EXPECT_THAT(with(DType::kFloat, ""), HasSubstr("output 'y'"));
}

TEST(ExpertsSpecTest, GateOfAnotherWidthIsRefusedWhenTheModelIsRead) {
  EXPECT_THAT(ErrorOf(ThreeExperts({}, {"N", 4})),
              HasSubstr("gate: got float32[N,4], want float32[N,3], one column for each of the 3 experts"));
  EXPECT_THAT(ErrorOf(ThreeExperts({}, {"N"})), HasSubstr("gate: got float32[N]"));
  EXPECT_THAT(ErrorOf(ThreeExperts({}, {"N", 3}, DType::kDouble)), HasSubstr("gate: got float64[N,3]"));
  EXPECT_EQ(ErrorOf(ThreeExperts({}, {"N", "E"})), "");
}

TEST(ExpertsSpecTest, TypeOfAGateThatIsComputedIsKnownToo) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", 4}).Output("y", DType::kFloat, {"N", 2});
  model.Initializer("w", Tensor::Of<float>({4, 5}, std::vector<float>(20, 1)));
  model.Node("MatMul", {"x", "w"}, {"gate"});
  model.Portal("Experts", "", {"gate", "x"}, {"y"}, {DType::kFloat}, {"N,2"},
               {Strings("targets", {"a", "b"}), Strings("input_names", {"x"})});
  EXPECT_THAT(ErrorOf(model), AllOf(HasSubstr("gate: got float32["), HasSubstr(",5], want float32[N,2]")));
}

TEST(ExpertsSpecTest, ManyTargetsAreNamedShort) {
  PortalSpec spec;
  spec.experts.emplace();
  for (int i = 0; i < 64; ++i) spec.experts->targets.push_back({absl::StrCat("e", i), Digest()});
  EXPECT_EQ(TargetNames(spec), "e0, e1, e2 and 61 more");
}

}  // namespace
}  // namespace portico
