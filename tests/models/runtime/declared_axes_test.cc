#include "models/runtime/declared_axes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/testing/model_builder.h"

namespace portico {
namespace {

using ::testing::ElementsAre;

TensorSpec Spec(const std::string& name, const std::string& symbol, AxisKind axis) {
  return {.name = name, .graph_name = name, .dtype = DType::kFloat, .dims = {{-1, symbol}, {2, ""}}, .axis = axis};
}

/// What exporters leave without names counts rows where it is declared to.
TEST(DeclaredAxesTest, RowsNeedNoSymbol) {
  Signature signature;
  signature.inputs = {Spec("a", "", AxisKind::kRows), Spec("b", "", AxisKind::kRows),
                      Spec("bias", "", AxisKind::kShared)};
  signature.outputs = {Spec("y", "", AxisKind::kRows)};
  const DeclaredRows declared = DeclaredRows::Of(signature);
  EXPECT_TRUE(declared.any());
  const RowAxes axes = DeclaredRowAxes(signature.inputs, signature.outputs, declared);
  EXPECT_TRUE(axes.joinable) << axes.reason;
  EXPECT_THAT(axes.inputs, ElementsAre(AxisKind::kRows, AxisKind::kRows, AxisKind::kShared));
  EXPECT_THAT(axes.outputs, ElementsAre(AxisKind::kRows));
}

TEST(DeclaredAxesTest, EveryInputThatIsDeclaredCountsRows) {
  Signature signature;
  signature.inputs = {Spec("a", "N", AxisKind::kRows), Spec("b", "", AxisKind::kRows), Spec("c", "M", AxisKind::kRows)};
  signature.outputs = {Spec("y", "K", AxisKind::kRows)};
  const RowAxes axes = DeclaredRowAxes(signature.inputs, signature.outputs, DeclaredRows::Of(signature));
  EXPECT_TRUE(axes.joinable) << axes.reason;
  EXPECT_THAT(axes.inputs, ElementsAre(AxisKind::kRows, AxisKind::kRows, AxisKind::kRows));
}

TEST(DeclaredAxesTest, BetweenSegmentsTheSymbolCounts) {
  Signature signature;
  signature.inputs = {Spec("a", "N", AxisKind::kRows)};
  signature.outputs = {Spec("y", "", AxisKind::kRows)};
  const DeclaredRows declared = DeclaredRows::Of(signature);
  const auto of = [&](const std::string& symbol) {
    return DeclaredRowAxes({Spec("between", symbol, AxisKind::kShared)}, signature.outputs, declared);
  };
  EXPECT_TRUE(of("N").joinable);
  EXPECT_EQ(of("M").reason, "no input is declared as rows, nor has dim 0 'N'");
}

TEST(DeclaredAxesTest, AnOutputThatIsNotDeclaredIsSaid) {
  Signature signature;
  signature.inputs = {Spec("a", "", AxisKind::kRows)};
  signature.outputs = {Spec("y", "", AxisKind::kShared)};
  const RowAxes axes = DeclaredRowAxes(signature.inputs, signature.outputs, DeclaredRows::Of(signature));
  EXPECT_FALSE(axes.joinable);
  EXPECT_EQ(axes.reason, "output 'y' is not declared as rows");
}

TEST(DeclaredAxesTest, OfASegmentTheDeclarationCountsWhereThereIsOne) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"?", 4}).Output("y", DType::kFloat, {"?", 4}).Node("Neg", {"x"}, {"y"});
  const auto session = Session::Create(model.Serialize(), {}, {.name = "test"});
  ASSERT_TRUE(session.ok()) << session.status();
  EXPECT_FALSE(SegmentRowAxes(**session, {}).joinable);
  DeclaredRows declared;
  declared.row_inputs = {"x"};
  declared.row_outputs = {"y"};
  const RowAxes axes = SegmentRowAxes(**session, declared);
  EXPECT_TRUE(axes.joinable) << axes.reason;
}

}  // namespace
}  // namespace portico
