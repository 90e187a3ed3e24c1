// Reading and checking of Cascade nodes, when a model is cut at its portals.

#include "models/graph/cascade_spec.h"

#include <functional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/models/graph/plan_runner.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// What a test changes of a model of one Cascade over the model's own inputs.
struct Cascaded {
  DType escalate = DType::kBool;
  ModelShape escalate_shape = {"N"};
  DType cheap = DType::kFloat;
  ModelShape cheap_shape = {"N", 2};
  ModelShape x_shape = {"N", 4};
  std::vector<std::string> inputs = {"escalate", "cheap", "x", "table"};
  std::vector<std::string> outputs = {"y"};
  std::vector<DType> dtypes = {DType::kFloat};
  std::vector<std::string> shapes = {"N,2"};
  Attrs attrs = {};

  ModelBuilder Build() const {
    ModelBuilder model;
    model.Input("escalate", escalate, escalate_shape)
        .Input("cheap", cheap, cheap_shape)
        .Input("x", DType::kFloat, x_shape)
        .Input("table", DType::kFloat, {3})
        .Output("y", DType::kFloat, {"N", 2});
    Attrs all = attrs;
    const auto default_to = [&all](onnx::AttributeProto attr) {
      for (const onnx::AttributeProto& have : all) {
        if (have.name() == attr.name()) return;
      }
      all.push_back(std::move(attr));
    };
    default_to(Strings("input_names", {"x", "table"}));
    default_to(Strings("output_names", {"y"}));
    default_to(Strings("shared_inputs", {"table"}));
    model.Portal("Cascade", "full", inputs, outputs, dtypes, shapes, all);
    model.graph().mutable_node(0)->set_name("cascade");
    return model;
  }
};

TEST(CascadeSpecTest, ReadsItsAttributes) {
  Cascaded cascaded;
  cascaded.outputs = {"y", "status"};
  cascaded.attrs = {Int("row_status", 1), String("on_row_error", "cheap")};
  const auto plan = PartitionBuilt(cascaded.Build());
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->steps.size(), 1u);
  const PortalSpec& portal = *plan->steps[0].portal;
  EXPECT_EQ(portal.op_type, "Cascade");
  EXPECT_EQ(portal.target, "full");
  EXPECT_THAT(portal.input_names, ElementsAre("x", "table"));
  ASSERT_EQ(portal.outputs.size(), 2u);
  EXPECT_EQ(portal.outputs[0].ToString(), "float32[N,2]");
  EXPECT_EQ(portal.outputs[1].ToString(), "int8[N]");
  ASSERT_TRUE(portal.cascade.has_value());
  EXPECT_EQ(portal.cascade->on_row_error, CascadeSpec::OnRowError::kCheap);
  EXPECT_TRUE(portal.cascade->row_status);
  EXPECT_EQ(portal.cascade->answers, 1u);
  EXPECT_THAT(portal.cascade->shared, ElementsAre(false, true));
}

TEST(CascadeSpecTest, WithoutThemItMarksAndHasNoRowStatus) {
  const auto plan = PartitionBuilt(Cascaded().Build());
  ASSERT_TRUE(plan.ok()) << plan.status();
  const CascadeSpec& cascade = *plan->steps[0].portal->cascade;
  EXPECT_EQ(cascade.on_row_error, CascadeSpec::OnRowError::kMark);
  EXPECT_FALSE(cascade.row_status);
}

TEST(CascadeSpecTest, TheRowStatusMayBeDescribedLikeOtherOutputs) {
  Cascaded cascaded;
  cascaded.outputs = {"y", "status"};
  cascaded.dtypes = {DType::kFloat, DType::kInt8};
  cascaded.shapes = {"N,2", "N"};
  cascaded.attrs = {Int("row_status", 1)};
  const auto plan = PartitionBuilt(cascaded.Build());
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->steps[0].portal->outputs.size(), 2u);
}

TEST(CascadeSpecTest, AnswersAndRowStatusFeedSegments) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N"}).Output("z", DType::kFloat, {"N"}).Output("late", DType::kBool, {"N"});
  model.Initializer("limit", {1}, {2}).Initializer("two", Tensor::Of<int8_t>({1}, {2}));
  model.Node("Greater", {"x", "limit"}, {"escalate"})
      .Node("Neg", {"x"}, {"cheap"})
      .Portal("Cascade", "full", {"escalate", "cheap", "x"}, {"y", "status"}, {DType::kFloat}, {"N"},
              {Int("row_status", 1), Strings("input_names", {"x"}), Strings("output_names", {"y"})})
      .Node("Abs", {"y"}, {"z"})
      .Node("Cast", {"status"}, {"wide"}, {Int("to", static_cast<int64_t>(DType::kInt32))})
      .Node("Cast", {"two"}, {"wide_two"}, {Int("to", static_cast<int64_t>(DType::kInt32))})
      .Node("Equal", {"wide", "wide_two"}, {"late"});
  const PortalBody cascade = [](const std::vector<Tensor>& in) -> absl::StatusOr<std::vector<Tensor>> {
    EXPECT_THAT(in[0].data<bool>(), ElementsAre(false, true));
    EXPECT_THAT(in[1].data<float>(), ElementsAre(-1, -3));
    return std::vector<Tensor>{in[1], Tensor::Of<int8_t>({2}, {0, 2})};
  };
  const auto outputs = RunBuilt(model, {Tensor::Of<float>({2}, {1, 3})}, {{"full", cascade}});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT((*outputs)[0].data<float>(), ElementsAre(1, 3));
  EXPECT_THAT((*outputs)[1].data<bool>(), ElementsAre(false, true));
}

TEST(CascadeSpecTest, RefusesWhatDoesNotFitWhenItIsLoaded) {
  const struct {
    const char* want;
    std::function<void(Cascaded&)> change;
  } cases[] = {
      {"attribute 'on_row_error': got 'maybe', want one of cheap, mark, fail",
       [](Cascaded& c) { c.attrs = {String("on_row_error", "maybe")}; }},
      {"attribute 'row_status': got 2, want 0 or 1",
       [](Cascaded& c) {
         c.outputs = {"y", "status"};
         c.attrs = {Int("row_status", 2)};
       }},
      {"attribute 'row_status': got STRING, want INT", [](Cascaded& c) { c.attrs = {String("row_status", "yes")}; }},
      {"outputs: got 1, want one answer at least, and the row status behind it",
       [](Cascaded& c) { c.attrs = {Int("row_status", 1)}; }},
      {"inputs: got 2, want 3 at least: escalate, a cheap answer",
       [](Cascaded& c) {
         c.inputs = {"escalate", "cheap"};
       }},
      {"attribute 'input_names': got 2 entries, want 1, one for each input",
       [](Cascaded& c) {
         c.inputs = {"escalate", "cheap", "x"};
       }},
      {"attribute 'output_names': got 2 entries, want 1",
       [](Cascaded& c) {
         c.attrs = {Strings("output_names", {"y", "z"})};
       }},
      {"attribute 'output_dtypes': got 2 entries, want 1",
       [](Cascaded& c) {
         c.dtypes = {DType::kFloat, DType::kInt8};
       }},
      {"attribute 'shared_inputs': got 'tabel', want one of x, table, the full model's inputs",
       [](Cascaded& c) { c.attrs = {Strings("shared_inputs", {"tabel"})}; }},
      {"attribute 'shared_inputs': got all inputs of the full model, want one at least that has rows",
       [](Cascaded& c) {
         c.attrs = {Strings("shared_inputs", {"table", "x"})};
       }},
      {"output 'y': got float32[], want rows in dim 0, not a scalar", [](Cascaded& c) { c.shapes = {""}; }},
      {"output 'y': got float32[3,2], want a symbol or '?' for dim 0", [](Cascaded& c) { c.shapes = {"3,2"}; }},
      {"output 'y': got float32[N,N], want rows in dim 0 alone; with 'N' in dim 1 too",
       [](Cascaded& c) { c.shapes = {"N,N"}; }},
      {"input 'escalate': got float32[N], want bool[N]", [](Cascaded& c) { c.escalate = DType::kFloat; }},
      {"input 'escalate': got bool[N,1], want bool[N]",
       [](Cascaded& c) {
         c.escalate_shape = {"N", 1};
       }},
      {"input 1, the cheap answer 'y': got int64[N,2], want float32[N,2] as the full model answers",
       [](Cascaded& c) { c.cheap = DType::kInt64; }},
      {"input 1, the cheap answer 'y': got float32[N,3], want float32[N,2]",
       [](Cascaded& c) {
         c.cheap_shape = {"N", 3};
       }},
      {"input 1, the cheap answer 'y': got float32[N], want float32[N,2]", [](Cascaded& c) { c.cheap_shape = {"N"}; }},
      {"input 2: got float32[], want rows in dim 0; name it in 'shared_inputs'", [](Cascaded& c) { c.x_shape = {}; }},
      {"attribute 'target': got none", [](Cascaded& c) { c.attrs = {String("target", "")}; }},
  };
  for (const auto& test : cases) {
    Cascaded cascaded;
    test.change(cascaded);
    const absl::Status status = PartitionBuilt(cascaded.Build()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << test.want;
    EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("node 'cascade' (Cascade): "), HasSubstr(test.want)));
  }
}

TEST(CascadeSpecTest, WhatTheModelDeclaresOfATriggersTensorsCountsToo) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"});
  model.Node("Neg", {"x"}, {"score"}).ValueInfo("score", DType::kFloat, {"N"});
  model.Portal("Cascade", "full", {"score", "x", "x"}, {"y"}, {DType::kFloat}, {"N"}, {Strings("input_names", {"x"})});
  EXPECT_THAT(std::string(PartitionBuilt(model).status().message()),
              HasSubstr("input 'escalate': got float32[N], want bool[N]"));
}

}  // namespace
}  // namespace portico
