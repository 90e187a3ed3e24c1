#include "models/runtime/row_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/testing/model_builder.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

RowAxes Infer(const ModelBuilder& model) {
  auto session = Session::Create(model.Serialize(), {}, {.name = "test"});
  EXPECT_TRUE(session.ok()) << session.status();
  return InferRowAxes(**session);
}

ModelBuilder Unary(const char* op, Attrs attrs = {}) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", 4})
      .Output("y", DType::kFloat, {"N", 4})
      .Node(op, {"x"}, {"y"}, std::move(attrs));
  return model;
}

TEST(RowCheckTest, RowsThatDoNotMeetAreJoinable) {
  ModelBuilder model = Unary("Softmax", {Int("axis", 1)});
  model.Input("shift", DType::kFloat, {4}).Output("z", DType::kFloat, {"N", 4}).Node("Add", {"x", "shift"}, {"z"});
  const RowAxes axes = Infer(model);
  EXPECT_TRUE(axes.joinable) << axes.reason;
  EXPECT_THAT(axes.inputs, ElementsAre(AxisKind::kRows, AxisKind::kShared));
  EXPECT_THAT(axes.outputs, ElementsAre(AxisKind::kRows, AxisKind::kRows));
}

TEST(RowCheckTest, RowsThatMeetAreNot) {
  const RowAxes softmax = Infer(Unary("Softmax", {Int("axis", 0)}));
  EXPECT_FALSE(softmax.joinable);
  EXPECT_THAT(softmax.reason, HasSubstr("output 'y' of joined rows"));
  ModelBuilder cumulative;
  cumulative.Input("x", DType::kFloat, {"N", 4}).Output("y", DType::kFloat, {"N", 4});
  cumulative.Initializer("axis", Tensor::Of<int64_t>({}, {0})).Node("CumSum", {"x", "axis"}, {"y"});
  EXPECT_FALSE(Infer(cumulative).joinable);
}

TEST(RowCheckTest, StringsAndSmallIdsAreGenerated) {
  ModelBuilder model;
  model.Input("word", DType::kString, {"N"}).Output("same", DType::kString, {"N"}).Node("Identity", {"word"}, {"same"});
  model.Input("id", DType::kInt64, {"N"}).Output("row", DType::kFloat, {"N", 2});
  model.Initializer("table", {4, 2}, {1, 2, 3, 4, 5, 6, 7, 8}).Node("Gather", {"table", "id"}, {"row"});
  const RowAxes axes = Infer(model);
  EXPECT_TRUE(axes.joinable) << axes.reason;
}

TEST(RowCheckTest, AFailingRunIsAReason) {
  ModelBuilder model;
  model.Input("id", DType::kInt64, {"N"}).Output("row", DType::kFloat, {"N", 2});
  model.Initializer("table", {1, 2}, {1, 2}).Node("Gather", {"table", "id"}, {"row"});
  const RowAxes axes = Infer(model);
  EXPECT_FALSE(axes.joinable);
  EXPECT_THAT(axes.reason, HasSubstr("generated inputs fail"));
  EXPECT_THAT(axes.inputs, ElementsAre(AxisKind::kShared));
}

TEST(RowCheckTest, TheSymbolHasToBeCommonAndFirst) {
  ModelBuilder two = Unary("Neg");
  two.Input("b", DType::kFloat, {"M", 4}).Output("c", DType::kFloat, {"M", 4}).Node("Neg", {"b"}, {"c"});
  EXPECT_THAT(Infer(two).reason, HasSubstr("different symbols"));

  ModelBuilder fixed;
  fixed.Input("x", DType::kFloat, {3, 4}).Output("y", DType::kFloat, {3, 4}).Node("Neg", {"x"}, {"y"});
  EXPECT_THAT(Infer(fixed).reason, HasSubstr("no input has a symbolic first extent"));

  ModelBuilder square;
  square.Input("x", DType::kFloat, {"N", "N"}).Output("y", DType::kFloat, {"N", "N"}).Node("Neg", {"x"}, {"y"});
  EXPECT_THAT(Infer(square).reason, HasSubstr("behind its first extent"));

  ModelBuilder sum;
  sum.Input("x", DType::kFloat, {"N", 4})
      .Output("y", DType::kFloat, {})
      .Node("ReduceSum", {"x"}, {"y"}, {Int("keepdims", 0)});
  EXPECT_THAT(Infer(sum).reason, HasSubstr("output 'y'"));
}

TEST(RowCheckTest, ExtentsWithoutASymbolAreNotTakenForRows) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"?", 4}).Output("y", DType::kFloat, {"?", 4}).Node("Neg", {"x"}, {"y"});
  EXPECT_THAT(Infer(model).reason,
              HasSubstr("input 'x' has no symbol for its first extent; give it one, or declare axis: rows"));
}

TEST(RowCheckTest, LargerExtentsAreTriedWhereSmallOnesFail) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", 1, "H", "W"}).Output("y", DType::kFloat, {"N", 1, "H2", "W2"});
  model.Initializer("k", Tensor::Of<float>({1, 1, 7, 7}, std::vector<float>(49, 0.5f))).Node("Conv", {"x", "k"}, {"y"});
  const RowAxes axes = Infer(model);
  EXPECT_TRUE(axes.joinable) << axes.reason;
}

TEST(GenerateInputsTest, FollowsSpecsAndSeed) {
  TensorSpec spec;
  spec.dtype = DType::kFloat16;
  spec.dims = {{.extent = -1, .symbol = "N"}, {.extent = 2}, {.extent = -1, .symbol = "M"}};
  const auto a = GenerateInputs({spec}, {{"N", 5}}, 1);
  EXPECT_EQ(a[0].shape(), Shape({5, 2, 3}));
  EXPECT_EQ(a[0].bytes(), GenerateInputs({spec}, {{"N", 5}}, 1)[0].bytes());
  EXPECT_NE(a[0].bytes(), GenerateInputs({spec}, {{"N", 5}}, 2)[0].bytes());
}

TEST(CompareTensorsTest, AllowsRoundingOnly) {
  const auto compare = [](float got, float want) {
    return CompareTensors(Tensor::Of<float>({2}, {1, got}), Tensor::Of<float>({2}, {1, want}));
  };
  EXPECT_TRUE(compare(100.0f, 100.05f).ok());
  EXPECT_FALSE(compare(100.0f, 101.0f).ok());
  EXPECT_TRUE(compare(NAN, NAN).ok());
  EXPECT_FALSE(compare(NAN, 1).ok());
  EXPECT_FALSE(compare(1, NAN).ok());
  EXPECT_TRUE(compare(INFINITY, INFINITY).ok());
  EXPECT_FALSE(compare(INFINITY, -INFINITY).ok());
  EXPECT_FALSE(compare(1, INFINITY).ok());
  EXPECT_FALSE(compare(INFINITY, 1).ok());
  EXPECT_THAT(std::string(compare(3, 5).message()), HasSubstr("element 1: got 3, want 5"));
}

TEST(CompareTensorsTest, ComparesOtherTypesExactly) {
  EXPECT_FALSE(CompareTensors(Tensor::Of<int64_t>({2}, {1, 2}), Tensor::Of<int64_t>({2}, {1, 3})).ok());
  EXPECT_FALSE(CompareTensors(Tensor::Of<int64_t>({2}, {1, 2}), Tensor::Of<int64_t>({1, 2}, {1, 2})).ok());
  const std::vector<std::string> a = {"x", "y"}, b = {"x", "z"};
  const absl::Status status =
      CompareTensors(Tensor::OfStrings({2}, absl::MakeConstSpan(a)), Tensor::OfStrings({2}, absl::MakeConstSpan(b)));
  EXPECT_THAT(std::string(status.message()), HasSubstr("element 1: got 'y', want 'z'"));
}

TEST(CompareTensorsTest, ReadsHalves) {
  const auto half = [](uint16_t bits) {
    return Tensor::CopyOf(DType::kFloat16, {1}, {reinterpret_cast<const char*>(&bits), 2});
  };
  EXPECT_TRUE(CompareTensors(half(0x3c00), half(0x3c01)).ok());   // 1 and the next one.
  EXPECT_FALSE(CompareTensors(half(0x3c00), half(0x4000)).ok());  // 1 and 2.
  EXPECT_TRUE(CompareTensors(half(0x7e00), half(0x7e01)).ok());   // Two NaNs.
}

}  // namespace
}  // namespace portico
