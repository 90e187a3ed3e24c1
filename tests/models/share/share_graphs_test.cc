// What graphs are made of beside layers: constants in all their forms, control flow, functions, random ops.

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/models/share/share_fixture.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr uint64_t kDenseBytes = (8 * 8 + 8) * sizeof(float);

/// A constant as an initializer, as a Constant node, or computed.
enum class Form { kWeight, kNode, kComputed };

std::string Constant(Layers& layers, const Tensor& tensor, Form form) {
  if (form == Form::kWeight) return layers.Weight(tensor);
  const std::string node = layers.Op("Constant", {}, {Value("value", tensor)});
  return form == Form::kNode ? node : layers.Op("Neg", {layers.Op("Neg", {node})});
}

void ExpectNothingShared(Sharing& sharing) {
  const auto proposal = sharing.Share();
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  EXPECT_THAT(proposal->modules, IsEmpty());
}

TEST(ShareGraphsTest, AConstantCountsByItsValue) {
  for (const Form a : {Form::kWeight, Form::kNode, Form::kComputed}) {
    for (const Form b : {Form::kWeight, Form::kNode, Form::kComputed}) {
      const auto build = [](const std::string& prefix, Form form, const char* end) {
        Layers layers(prefix);
        const std::string x = layers.Input("x", 8);
        const std::string shape = Constant(layers, Tensor::Of<int64_t>({3}, {-1, 4, 2}), form);
        const std::string scaled = layers.Op("Mul", {x, Constant(layers, Numbers({8}, 2), form)});
        const std::string flat = layers.Op("Flatten", {layers.Op("Reshape", {scaled, shape})});
        const std::string w = Constant(layers, Numbers({8, 8}, 3), form);
        layers.Output(layers.Op(end, {layers.Op("MatMul", {flat, w})}), 8);
        return layers;
      };
      Sharing sharing;
      sharing.Add("a", build("", a, "Neg").model).Add("b", build("b/", b, "Exp").model);
      const auto proposal = sharing.Share();
      ASSERT_TRUE(proposal.ok()) << proposal.status();
      ASSERT_THAT(proposal->modules, SizeIs(1));
      EXPECT_EQ(proposal->modules[0].nodes, 4);
    }
  }
}

/// x[N,8] → 8 numbers a row, through an If that captures x or half of it, and a weight of each branch.
Layers WithIf(const std::string& prefix, float weight, const char* end, bool reversed) {
  Layers layers(prefix);
  const std::string x = layers.Input("x", 8);
  const std::string h = layers.Dense(x, 8, 8, 1);
  const std::string sum = layers.Op("ReduceSum", {h}, {Int("keepdims", 0)});
  const std::string positive = layers.Op("Greater", {sum, layers.Weight(Tensor::Of<float>({}, {0}))});
  const auto branch = [&](const std::string& name, float seed) {
    ModelBuilder body;
    body.graph().set_name(prefix + name);
    body.Output(prefix + name + "_y", DType::kFloat, {"N", 8});
    body.Initializer(prefix + name + "_w", Numbers({8, 8}, seed));
    std::vector<onnx::NodeProto> nodes = {NewNode("Neg", {x}, {prefix + name + "_n"}),
                                          NewNode("MatMul", {h, prefix + name + "_w"}, {prefix + name + "_m"})};
    if (reversed) std::swap(nodes[0], nodes[1]);
    for (const auto& node : nodes) *body.graph().add_node() = node;
    body.Node("Add", {prefix + name + "_n", prefix + name + "_m"}, {prefix + name + "_y"});
    return body.BuildGraph();
  };
  const std::string chosen = layers.Op(
      "If", {positive}, {Body("then_branch", branch("then", 7)), Body("else_branch", branch("else", weight))});
  layers.Output(layers.Op(end, {layers.Dense(chosen, 8, 8, 2)}), 8);
  return layers;
}

TEST(ShareGraphsTest, ControlFlowIsSharedAsAWhole) {
  Sharing sharing;
  sharing.Add("a", WithIf("", 8, "Neg", false).model).Add("b", WithIf("b/", 8, "Exp", false).model);
  const auto proposal = sharing.Share();
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  ASSERT_THAT(proposal->modules, SizeIs(1));
  EXPECT_EQ(proposal->modules[0].nodes, 3 + 2 + 1 + 3);
  EXPECT_THAT(proposal->modules[0].uses[0].part.inputs, ElementsAre("x"));
}

TEST(ShareGraphsTest, AnotherWeightInABodyIsAnotherNode) {
  Sharing sharing;
  sharing.Add("a", WithIf("", 8, "Neg", false).model).Add("b", WithIf("b/", 9, "Exp", false).model);
  const auto proposal = sharing.Share();
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  // Before it, and behind it.
  ASSERT_THAT(proposal->modules, SizeIs(2));
  for (const SharedModule& module : proposal->modules) EXPECT_GE(module.saved_bytes, kDenseBytes);
}

TEST(ShareGraphsTest, ABodyWhoseNodesStandOtherwiseIsNeverMistaken) {
  Sharing sharing;
  sharing.Add("a", WithIf("", 8, "Neg", false).model).Add("b", WithIf("b/", 8, "Exp", true).model);
  const auto proposal = sharing.Share();
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  uint64_t saved = 0;
  for (const SharedModule& module : proposal->modules) saved += module.saved_bytes;
  EXPECT_GE(saved, 2 * kDenseBytes);
}

TEST(ShareGraphsTest, LoopsAreSharedAsAWhole) {
  const auto build = [](const std::string& prefix, const char* end) {
    Layers layers(prefix);
    const std::string x = layers.Input("x", 8);
    const std::string h = layers.Dense(x, 8, 8, 1);
    const std::string w = layers.Weight(Numbers({8, 8}, 3));
    ModelBuilder body;
    body.graph().set_name(prefix + "body");
    body.Input(prefix + "i", DType::kInt64, {}).Input(prefix + "go", DType::kBool, {});
    body.Input(prefix + "state", DType::kFloat, {"N", 8});
    body.Output(prefix + "go_on", DType::kBool, {}).Output(prefix + "next", DType::kFloat, {"N", 8});
    body.Node("Identity", {prefix + "go"}, {prefix + "go_on"});
    body.Node("MatMul", {prefix + "state", w}, {prefix + "m"});
    body.Node("Tanh", {prefix + "m"}, {prefix + "next"});
    const std::string looped =
        layers.Op("Loop", {layers.Weight(Tensor::Of<int64_t>({}, {3})), layers.Weight(Tensor::Of<bool>({}, {true})), h},
                  {Body("body", body.BuildGraph())});
    layers.Output(layers.Op(end, {looped}), 8);
    return layers;
  };
  Sharing sharing;
  sharing.Add("a", build("", "Neg").model).Add("b", build("b/", "Exp").model);
  const auto proposal = sharing.Share();
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  ASSERT_THAT(proposal->modules, SizeIs(1));
  EXPECT_EQ(proposal->modules[0].nodes, 4);
  EXPECT_EQ(proposal->modules[0].flops->unknown_nodes, 1);
}

TEST(ShareGraphsTest, WhatDrawsRandomlyIsNeverShared) {
  const auto build = [](const std::string& prefix, const char* end) {
    Layers layers(prefix);
    const std::string h = layers.Dense(layers.Input("x", 8), 8, 8, 1);
    // Never more than a hundred-thousandth, so that runs can be compared.
    const std::string noise =
        layers.Op("RandomUniformLike", {h}, {Float("low", 0), Float("high", 1e-7f), Float("seed", 7)});
    const std::string noisy = layers.Op("Add", {h, noise});
    layers.Output(layers.Op(end, {layers.Dense(noisy, 8, 8, 2)}), 8);
    return layers;
  };
  Sharing sharing;
  sharing.Add("a", build("", "Neg").model).Add("b", build("b/", "Exp").model);
  const auto proposal = sharing.Share();
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  ASSERT_THAT(proposal->modules, SizeIs(2));
  for (const SharedModels::Rewritten& product : sharing.shared.products) {
    EXPECT_THAT(Ops(product.model.model), testing::Contains(testing::Key("RandomUniformLike")));
  }
  for (const SplitModel& module : sharing.shared.modules) {
    EXPECT_THAT(Ops(module.model), testing::Not(testing::Contains(testing::Key("RandomUniformLike"))));
  }
}

TEST(ShareGraphsTest, FunctionsCountByTheirBodies) {
  const auto build = [](const std::string& prefix, const std::string& function, const char* inside, const char* end) {
    Layers layers(prefix);
    const std::string h = layers.Dense(layers.Input("x", 8), 8, 8, 1);
    layers.model.Function("mine", function, {"a"}, {"b"}, {NewNode(inside, {"a"}, {"b"})});
    layers.model.Node(function, {h}, {prefix + "called"}, {}, "mine");
    layers.Output(layers.Op(end, {layers.Dense(prefix + "called", 8, 8, 2)}), 8);
    return layers;
  };
  Sharing same;
  same.Add("a", build("", "f", "Tanh", "Neg").model).Add("b", build("b/", "g", "Tanh", "Exp").model);
  auto proposal = same.Share();
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  ASSERT_THAT(proposal->modules, SizeIs(1));
  EXPECT_EQ(proposal->modules[0].nodes, 7);

  Sharing other;
  other.Add("a", build("", "f", "Tanh", "Neg").model).Add("b", build("b/", "f", "Erf", "Exp").model);
  proposal = other.Share();
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  EXPECT_THAT(proposal->modules, SizeIs(2));
}

TEST(ShareGraphsTest, AnotherAttributeOrOpsetIsAnotherNode) {
  const auto build = [](const std::string& prefix, int64_t axis, int64_t opset) {
    Layers layers(prefix);
    layers.model.Opset("", opset);
    const std::string h = layers.Op("Softmax", {layers.Input("x", 8)}, {Int("axis", axis)});
    layers.Output(layers.Op("Flatten", {h}), 8);
    return layers;
  };
  for (const auto& [axis, opset] : {std::pair(0, 17), std::pair(1, 16)}) {
    Sharing sharing;
    sharing.options.min_bytes = 0;
    sharing.Add("a", build("", 1, 17).model).Add("b", build("b/", axis, opset).model);
    ExpectNothingShared(sharing);
  }
}

TEST(ShareGraphsTest, WhatNobodyNeedsIsNotCompared) {
  const auto build = [](const std::string& prefix, const char* end) {
    Layers layers(prefix);
    const std::string h = layers.Dense(layers.Input("x", 8), 8, 8, 1);
    layers.Output(layers.Op(end, {h}), 8);
    layers.Dense(h, 8, 50, 2);
    return layers;
  };
  Sharing sharing;
  sharing.Add("a", build("", "Neg").model).Add("b", build("b/", "Exp").model);
  const auto proposal = sharing.Share();
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  ASSERT_THAT(proposal->modules, SizeIs(1));
  EXPECT_EQ(proposal->modules[0].weight_bytes, kDenseBytes);
}

TEST(ShareGraphsTest, ADeadNodeThatReadsInsideIsNotInTheWay) {
  const auto build = [](const std::string& prefix, const char* end, bool dead) {
    Layers layers(prefix);
    const std::string product = layers.Op("MatMul", {layers.Input("x", 8), layers.Weight(Numbers({8, 8}, 1))});
    const std::string h = layers.Op("Relu", {layers.Op("Add", {product, layers.Weight(Numbers({8}, 1.5f))})});
    layers.Output(layers.Op(end, {h}), 8);
    if (dead) layers.Dense(layers.Op("Tanh", {product}), 8, 50, 2);
    return layers;
  };
  Sharing sharing;
  sharing.Add("a", build("", "Neg", true).model).Add("b", build("b/", "Exp", false).model);
  const auto proposal = sharing.Share();
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  ASSERT_THAT(proposal->modules, SizeIs(1));
  EXPECT_EQ(proposal->modules[0].nodes, 3);
  EXPECT_EQ(sharing.shared.products[0].model.model.weight_bytes(), 0u);
}

TEST(ShareGraphsTest, InputsOfTwoDtypesAreNotOne) {
  const auto build = [](const std::string& prefix, DType dtype, const char* end) {
    Layers layers(prefix);
    layers.model.Input(prefix + "ids", dtype, {"N"});
    const std::string rows = layers.Op("Gather", {layers.Weight(Numbers({30, 8}, 4)), prefix + "ids"});
    layers.Output(layers.Op(end, {layers.Dense(rows, 8, 8, 1)}), 8);
    return layers;
  };
  const auto pixels = [](const std::string& prefix, DType dtype, const char* end) {
    Layers layers(prefix);
    layers.model.Input(prefix + "image", dtype, {"N", 8});
    // Between the input and what is told apart by its weights stand two nodes that take any dtype.
    const std::string flat = layers.Op("Flatten", {prefix + "image"});
    const std::string image = layers.Op("Cast", {flat}, {Int("to", static_cast<int64_t>(DType::kFloat))});
    layers.Output(layers.Op(end, {layers.Dense(image, 8, 8, 1)}), 8);
    return layers;
  };
  Sharing ids;
  ids.Add("a", build("", DType::kInt32, "Neg").model).Add("b", build("b/", DType::kInt64, "Exp").model);
  auto proposal = ids.Share();
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  ASSERT_THAT(proposal->modules, SizeIs(1));
  EXPECT_EQ(proposal->modules[0].nodes, 3);
  EXPECT_EQ(proposal->modules[0].saved_bytes, kDenseBytes);
  EXPECT_THAT(proposal->notes, ElementsAre(testing::AllOf(testing::HasSubstr("'ids' of product 'a' is int32"),
                                                          testing::HasSubstr("'b/ids' of product 'b' is int64"))));

  Sharing images;
  images.Add("a", pixels("", DType::kUint8, "Neg").model).Add("b", pixels("b/", DType::kFloat16, "Exp").model);
  images.Add("c", pixels("c/", DType::kFloat16, "Tanh").model);
  proposal = images.Share();
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  ASSERT_THAT(proposal->modules, SizeIs(1));
  EXPECT_EQ(proposal->modules[0].nodes, 3);
  EXPECT_EQ(proposal->modules[0].saved_bytes, 2 * kDenseBytes);
}

TEST(ShareGraphsTest, AWeightThatStaysBehindOnAnotherWayIsNotSaved) {
  // A product keeps the weight because a constant node reads it, or because it is an output.
  for (const bool output : {false, true}) {
    const auto build = [output](const std::string& prefix, bool keeps) {
      Layers layers(prefix);
      const std::string tied = layers.Weight(Numbers({8, 8}, 1));
      const std::string h = layers.Op("Relu", {layers.Op("MatMul", {layers.Input("x", 8), tied})});
      std::string end = layers.Op(keeps ? "Neg" : "Exp", {h});
      if (keeps && !output) end = layers.Op("MatMul", {end, layers.Op("Tanh", {tied})});
      layers.Output(end, 8);
      if (keeps && output) layers.model.Output(tied, DType::kFloat, {8, 8});
      return layers;
    };
    Sharing sharing;
    sharing.options.min_bytes = 1;
    sharing.Add("keeps", build("", true).model).Add("other", build("o/", false).model);
    ExpectNothingShared(sharing);
  }
}

TEST(ShareGraphsTest, AFunctionOfOnnxRuntimesDomainThatDrawsIsNotShared) {
  const auto build = [](const std::string& prefix, const char* end) {
    Layers layers(prefix);
    const std::string h = layers.Dense(layers.Input("x", 8), 8, 8, 1);
    layers.model.Function("com.microsoft", "Noise", {"a"}, {"b"}, {NewNode("RandomNormalLike", {"a"}, {"b"})});
    layers.model.Node("Noise", {h}, {prefix + "noise"}, {}, "com.microsoft");
    layers.Output(layers.Op(end, {layers.Dense(prefix + "noise", 8, 8, 2)}), 8);
    return layers;
  };
  Sharing sharing;
  sharing.Add("a", build("", "Neg").model).Add("b", build("b/", "Exp").model);
  const auto proposal = sharing.Propose();
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  EXPECT_THAT(proposal->modules, SizeIs(2));
}

TEST(ShareGraphsTest, OpsOfOnnxRuntimeAreSharedAndUnknownOnesAreNot) {
  const auto build = [](const std::string& prefix, const char* end) {
    Layers layers(prefix);
    const std::string h = layers.Dense(layers.Input("x", 8), 8, 8, 1);
    layers.model.Opset("com.microsoft", 1).Node("Gelu", {h}, {prefix + "gelu"}, {}, "com.microsoft");
    layers.Output(layers.Op(end, {layers.Dense(prefix + "gelu", 8, 8, 2)}), 8);
    return layers;
  };
  Sharing sharing;
  sharing.Add("a", build("", "Neg").model).Add("b", build("b/", "Exp").model);
  auto proposal = sharing.Share();
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  ASSERT_THAT(proposal->modules, SizeIs(1));
  EXPECT_EQ(proposal->modules[0].nodes, 7);

  Sharing strange;
  for (const char* prefix : {"a/", "b/"}) {
    ModelBuilder model = build(prefix, "Neg").model;
    model.Opset("vendor", 1);
    for (auto& node : *model.graph().mutable_node()) {
      if (node.op_type() == "Gelu") node.set_domain("vendor");
    }
    strange.Add(prefix[0] == 'a' ? "a" : "b", model);
  }
  // Nobody here can run it, so nothing of it can be compared, served or cut.
  proposal = strange.Share();
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  EXPECT_THAT(proposal->modules, IsEmpty());
  EXPECT_THAT(proposal->notes, testing::Contains(testing::HasSubstr("product 'a': nothing of it is shared")));

  // Others go on without it.
  strange.Add("c", build("c/", "Neg").model).Add("d", build("d/", "Exp").model);
  proposal = strange.Share();
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  ASSERT_THAT(proposal->modules, SizeIs(1));
  EXPECT_THAT(proposal->modules[0].uses, SizeIs(2));
}

TEST(ShareGraphsTest, SequencesStayWhereTheyAre) {
  const auto build = [](const std::string& prefix, DType dtype, const char* end) {
    Layers layers(prefix);
    layers.model.Input(prefix + "x", dtype, {"N", 8});
    const std::string cast = layers.Op("Cast", {prefix + "x"}, {Int("to", static_cast<int64_t>(DType::kFloat))});
    const std::string parts = layers.Op("SplitToSequence", {cast}, {Int("axis", 1), Int("keepdims", 1)});
    const std::string joined = layers.Op("ConcatFromSequence", {parts}, {Int("axis", 1)});
    layers.Output(layers.Op(end, {layers.Dense(joined, 8, 8, 1)}), 8);
    return layers;
  };
  // Before the sequence the two are not the same; the module begins behind it.
  Sharing sharing;
  sharing.Add("a", build("", DType::kInt32, "Neg").model).Add("b", build("b/", DType::kDouble, "Exp").model);
  const auto proposal = sharing.Share();
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  ASSERT_THAT(proposal->modules, SizeIs(1));
  EXPECT_EQ(proposal->modules[0].saved_bytes, kDenseBytes);
}

/// 12 layers that are all alike, twice: every node has many of its structure.
TEST(ShareGraphsTest, ATowerThatIsUsedTwiceIsSharedOnce) {
  const auto build = [](const std::string& prefix, bool twice) {
    Layers layers(prefix);
    const std::string w = layers.Weight(Numbers({8, 8}, 0.01f));
    const auto tower = [&](std::string x) {
      for (int i = 0; i < 12; ++i) x = layers.Op("Tanh", {layers.Op("MatMul", {x, w})});
      return x;
    };
    const std::string a = tower(layers.Input("a", 8));
    layers.Output(twice ? layers.Op("Mul", {a, tower(layers.Input("b", 8))}) : layers.Op("Neg", {a}), 8);
    return layers;
  };
  Sharing sharing;
  sharing.options.min_bytes = 1;
  sharing.Add("a", build("", true).model).Add("b", build("b/", true).model);
  const auto both = sharing.Share();
  ASSERT_TRUE(both.ok()) << both.status();
  ASSERT_THAT(both->modules, SizeIs(1));
  EXPECT_EQ(both->modules[0].nodes, 49);

  Sharing one;
  one.options.min_bytes = 1;
  one.Add("a", build("", true).model).Add("b", build("b/", false).model);
  const auto once = one.Share();
  ASSERT_TRUE(once.ok()) << once.status();
  // The other use keeps the weight where it is: nothing would be saved.
  EXPECT_THAT(once->modules, IsEmpty());
}

}  // namespace
}  // namespace portico
