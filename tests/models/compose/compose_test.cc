// Sequences and ensembles. Cascades and experts: compose_portals_test.cc.

#include "models/compose/compose.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/models/compose/compose_fixture.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Kind = Composition::Kind;

TEST_F(ComposeTest, SequencePassesOutputsOnByName) {
  kitchen_.Add("add", Scaled("Add", 1));
  kitchen_.Add("multiply", Scaled("Mul", 3, "y", "z"));
  Composition composition = NewComposition(Kind::kSequence, {"add", "multiply"});
  for (const bool copied : {false, true}) {
    for (CompositionMember& step : composition.members) step.copied = copied;
    const Package made = Make(composition);
    EXPECT_EQ(made.signatures[0].inputs[0].ToString(), "float32[N,2]");
    EXPECT_EQ(made.signatures[0].outputs[0].name, "z");
    EXPECT_EQ(made.signatures[0].outputs[0].ToString(), "float32[N,2]");
    int calls = 0;
    const auto outputs = MustRun(made, {Tensor::Of<float>({2, 2}, {1, 2, 3, 4})}, &calls);
    EXPECT_THAT(outputs[0].data<float>(), ElementsAre(6, 9, 12, 15));
    EXPECT_EQ(calls, copied ? 0 : 2);
  }
}

TEST_F(ComposeTest, AStepThatNobodyNeedsIsRefused) {
  kitchen_.Add("add", Scaled("Add", 1));
  kitchen_.Add("multiply", Scaled("Mul", 3, "y", "z"));
  Composition composition = NewComposition(Kind::kSequence, {"multiply", "add"});
  for (const bool copied : {false, true}) {
    for (CompositionMember& step : composition.members) step.copied = copied;
    EXPECT_EQ(
        ErrorOf(composition),
        "mesh.yaml:11: model 'made': 'multiply': got outputs that nothing takes (z), want one of them as an input "
        "of a later step or among 'outputs'; steps run in the order in which they stand: mend that, or rename "
        "with 'inputs' and 'outputs'");
  }
  composition.members[1].outputs = {{"y", "w"}};
  composition.outputs = {"z", "w"};
  EXPECT_EQ(Make(composition).signatures[0].outputs.size(), 2u);
  composition.outputs = {"z"};
  EXPECT_THAT(ErrorOf(composition), ::testing::HasSubstr("mesh.yaml:12: model 'made': 'add': got outputs that"));
}

TEST_F(ComposeTest, SequenceRenamesAndAnswersWithWhatIsAskedFor) {
  kitchen_.Add("add", Scaled("Add", 1));
  Composition composition = NewComposition(Kind::kSequence, {"add", "add", "add"});
  composition.members[0].outputs = {{"y", "one"}};
  composition.members[1].inputs = {{"x", "one"}};
  composition.members[1].outputs = {{"y", "two"}};
  composition.members[1].copied = true;
  composition.members[2].inputs = {{"x", "two"}};
  composition.members[2].outputs = {{"y", "x"}};
  composition.members[2].copied = true;
  composition.outputs = {"two", "x", "one"};
  const Package made = Make(composition);
  // An output with the name of an input: the tensor has another one, which servable.yaml says.
  EXPECT_THAT(config_, HasSubstr("x: {tensor: x_out}"));
  const auto outputs = MustRun(made, {Tensor::Of<float>({1, 2}, {0, 5})});
  EXPECT_THAT(outputs[0].data<float>(), ElementsAre(2, 7));
  EXPECT_THAT(outputs[1].data<float>(), ElementsAre(3, 8));
  EXPECT_THAT(outputs[2].data<float>(), ElementsAre(1, 6));
}

TEST_F(ComposeTest, CopiesBodiesFunctionsAndWhatIsPassedThrough) {
  // y = if sum(x) > 0 then x + w else twice(x), and x as it is.
  ModelBuilder then_branch, else_branch, model;
  then_branch.Output("then", DType::kFloat, {"batch", 2}).Node("Add", {"x", "w"}, {"then"});
  else_branch.Output("else", DType::kFloat, {"batch", 2}).Node("Twice", {"x"}, {"else"}, {}, "own");
  model.Input("x", DType::kFloat, {"batch", 2}).Output("y", DType::kFloat, {"batch", 2});
  model.Output("x", DType::kFloat, {"batch", 2});
  model.Initializer("w", {}, {10}).Initializer("zero", {}, {0});
  model.Function("own", "Twice", {"a"}, {"b"}, {NewNode("Add", {"a", "a"}, {"b"})});
  model.Node("ReduceSum", {"x"}, {"sum"}, {Int("keepdims", 0)}).Node("Greater", {"sum", "zero"}, {"positive"});
  model.Node("If", {"positive"}, {"y"},
             {Body("then_branch", then_branch.BuildGraph()), Body("else_branch", else_branch.BuildGraph())});
  kitchen_.Add("branch", model);
  Composition composition = NewComposition(Kind::kSequence, {"branch", "branch"});
  composition.members[0].copied = composition.members[1].copied = true;
  composition.members[0].outputs = {{"y", "first"}, {"x", "same"}};
  composition.members[1].inputs = {{"x", "first"}};
  composition.members[1].outputs = {{"x", "again"}};
  composition.outputs = {"y", "again", "same"};
  const Package made = Make(composition);
  for (const float x : {1.0f, -1.0f}) {
    const auto outputs = MustRun(made, {Tensor::Of<float>({1, 2}, {x, x})});
    const float first = x > 0 ? x + 10 : 2 * x;
    const float second = first > 0 ? first + 10 : 2 * first;
    EXPECT_THAT(outputs[0].data<float>(), ElementsAre(second, second));
    EXPECT_THAT(outputs[1].data<float>(), ElementsAre(first, first));
    EXPECT_THAT(outputs[2].data<float>(), ElementsAre(x, x));
  }
}

TEST_F(ComposeTest, MembersThatDoNotFitEachOther) {
  kitchen_.Add("add", Scaled("Add", 1));
  ModelBuilder wide;
  wide.Input("y", DType::kFloat, {"N", 3}).Output("z", DType::kFloat, {"N", 3}).Node("Relu", {"y"}, {"z"});
  kitchen_.Add("wide", wide);
  ModelBuilder old = Scaled("Mul", 2);
  kitchen_.Add("old", old.Opset("", 15));
  kitchen_.Add("oldest", Scaled("Mul", 2).Opset("", 11));

  EXPECT_EQ(
      ErrorOf(NewComposition(Kind::kSequence, {"add", "wide"})),
      "mesh.yaml:12: model 'made': 'wide': input 'y': got float32[N,2], want float32[N,3]; that is what an earlier "
      "model gives: rename one with 'inputs'");
  EXPECT_EQ(ErrorOf(NewComposition(Kind::kSequence, {"add", "none"})),
            "mesh.yaml:12: model 'made': got 'none', which is no model");
  Composition composition = NewComposition(Kind::kSequence, {"add"});
  composition.outputs = {"z"};
  EXPECT_EQ(ErrorOf(composition), "mesh.yaml:10: model 'made': outputs: got 'z', want one that a step gives: y");
  composition = NewComposition(Kind::kSequence, {"add"});
  composition.members[0].inputs = {{"image", "x"}};
  EXPECT_EQ(ErrorOf(composition), "mesh.yaml:11: model 'made': 'add': inputs: got 'image', want one of its inputs: x");
  composition.members[0].inputs.clear();
  composition.members[0].signature = "classify";
  EXPECT_EQ(ErrorOf(composition),
            "mesh.yaml:11: model 'made': 'add': got signature 'classify', want one of serving_default");
  composition = NewComposition(Kind::kEnsemble, {"add", "old"});
  for (CompositionMember& member : composition.members) member.copied = true;
  EXPECT_EQ(
      ErrorOf(composition),
      "mesh.yaml:12: model 'made': 'old': got opset 15, want 17 as 'add' has it: graphs copied into one share it; "
      "export it again, or call it through a portal: {model: old, inline: false}");
  composition = NewComposition(Kind::kEnsemble, {"oldest"});
  composition.members[0].copied = true;
  EXPECT_THAT(ErrorOf(composition), HasSubstr("got opset 11, want 13 or later where a graph is copied"));
  EXPECT_EQ(ErrorOf(NewComposition(Kind::kEnsemble, {"add", "wide"})),
            "mesh.yaml:10: model 'made': got no output that all have ('add': y; 'wide': z), want one at least; rename "
            "with 'outputs'");
}

TEST_F(ComposeTest, EnsembleMeans) {
  kitchen_.Add("a", Scaled("Add", 1));
  kitchen_.Add("b", Scaled("Mul", 2));
  kitchen_.Add("c", Scaled("Sub", 4));
  Composition composition = NewComposition(Kind::kEnsemble, {"a", "b", "c"});
  composition.members[1].copied = true;
  int calls = 0;
  auto outputs = MustRun(Make(composition), {Tensor::Of<float>({1, 2}, {3, 6})}, &calls);
  EXPECT_THAT(outputs[0].data<float>(), ElementsAre((4.0f + 6.0f - 1.0f) / 3, (7.0f + 12.0f + 2.0f) / 3));
  EXPECT_EQ(calls, 2);
  composition.ensemble.weights = {1, 0, 3};
  outputs = MustRun(Make(composition), {Tensor::Of<float>({1, 2}, {3, 6})});
  EXPECT_THAT(outputs[0].data<float>(), ElementsAre((4.0f - 3.0f) / 4, (7.0f + 6.0f) / 4));
}

TEST_F(ComposeTest, EnsembleVotes) {
  kitchen_.Add("same", Labels(DType::kInt64, "Identity"));
  kitchen_.Add("negative", Labels(DType::kInt64, "Neg"));
  kitchen_.Add("positive", Labels(DType::kInt64, "Abs"));
  Composition composition = NewComposition(Kind::kEnsemble, {"negative", "positive", "same"});
  composition.ensemble.combine = Composition::Combine::kVote;
  auto outputs = MustRun(Make(composition), {Tensor::Of<int64_t>({3}, {5, -7, 0})});
  EXPECT_THAT(outputs[0].data<int64_t>(), ElementsAre(5, 7, 0));
  // Two against two, or all alone: the first one's.
  composition = NewComposition(Kind::kEnsemble, {"negative", "positive"});
  composition.ensemble.combine = Composition::Combine::kVote;
  for (CompositionMember& member : composition.members) member.copied = true;
  outputs = MustRun(Make(composition), {Tensor::Of<int64_t>({2}, {5, -7})});
  EXPECT_THAT(outputs[0].data<int64_t>(), ElementsAre(-5, 7));
}

TEST_F(ComposeTest, EnsembleVotesByTextAndByScores) {
  kitchen_.Add("words", Labels(DType::kString, "Identity"));
  Composition composition = NewComposition(Kind::kEnsemble, {"words", "words", "words"});
  composition.ensemble.combine = Composition::Combine::kVote;
  composition.members[0].inputs = {{"x", "a"}};
  composition.members[1].inputs = {{"x", "b"}};
  composition.members[2].inputs = {{"x", "c"}};
  const auto words = [](const std::vector<std::string>& all) {
    return Tensor::OfStrings({static_cast<int64_t>(all.size())}, absl::MakeConstSpan(all));
  };
  auto outputs = MustRun(Make(composition),
                         {words({"cat", "cat", "cow"}), words({"dog", "cat", "dog"}), words({"dog", "dog", "hen"})});
  EXPECT_EQ(outputs[0].StringAt(0), "dog");
  EXPECT_EQ(outputs[0].StringAt(1), "cat");
  EXPECT_EQ(outputs[0].StringAt(2), "cow");
  for (CompositionMember& member : composition.members) member.copied = true;
  EXPECT_THAT(ErrorOf(composition), HasSubstr("want no text in a graph of opset 17, or opset 19"));

  kitchen_.Add("same", Scaled("Mul", 1));
  kitchen_.Add("flip", Scaled("Mul", -1));
  composition = NewComposition(Kind::kEnsemble, {"flip", "same", "same"});
  composition.ensemble.combine = Composition::Combine::kVote;
  const Package made = Make(composition);
  EXPECT_EQ(made.signatures[0].outputs[0].ToString(), "int64[N]");
  outputs = MustRun(made, {Tensor::Of<float>({2, 2}, {1, 2, 4, 3})});
  EXPECT_THAT(outputs[0].data<int64_t>(), ElementsAre(1, 0));
}

TEST_F(ComposeTest, EnsembleConcatenates) {
  kitchen_.Add("pair", Scaled("Mul", 2, "x", "features"));
  ModelBuilder one;
  one.Input("x", DType::kFloat, {"n", 2}).Output("features", DType::kFloat, {"n"});
  one.Initializer("axes", Tensor::Of<int64_t>({1}, {1}));
  one.Node("ReduceSum", {"x", "axes"}, {"features"}, {Int("keepdims", 0)});
  kitchen_.Add("one", one);
  Composition composition = NewComposition(Kind::kEnsemble, {"pair", "pair"});
  composition.ensemble.combine = Composition::Combine::kConcat;
  Package made = Make(composition);
  EXPECT_EQ(made.signatures[0].outputs[0].ToString(), "float32[N,4]");
  const auto outputs = MustRun(made, {Tensor::Of<float>({1, 2}, {1, 3})});
  EXPECT_THAT(outputs[0].data<float>(), ElementsAre(2, 6, 2, 6));
  EXPECT_THAT(ErrorOf([&] {
                Composition other = NewComposition(Kind::kEnsemble, {"pair", "one"});
                other.ensemble.combine = Composition::Combine::kConcat;
                return other;
              }()),
              HasSubstr("'one': output 'features': got float32[N], want float32[N,?]"));
}

}  // namespace
}  // namespace portico
