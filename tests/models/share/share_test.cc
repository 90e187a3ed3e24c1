#include "models/share/share.h"

#include <algorithm>
#include <filesystem>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/models/share/share_fixture.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

constexpr uint64_t kTrunkBytes = (8 * 16 + 16 + 16 * 4 + 4) * sizeof(float);

/// Two layers, 8 → 16 → 4.
std::string Trunk(Layers& layers, const std::string& x, float seed = 1) {
  return layers.Dense(layers.Dense(x, 8, 16, seed), 16, 4, seed + 1);
}

Layers TrunkAndHead(const std::string& prefix, float head, const char* batch = "N", float seed = 1) {
  Layers layers(prefix);
  const std::string features = Trunk(layers, layers.Input("x", 8, batch), seed);
  layers.Output(layers.Dense(features, 4, 3, head), 3, batch);
  return layers;
}

/// Nodes and weights the other way round: the nodes remain a graph, though no longer in a topological order.
ModelBuilder Reversed(ModelBuilder model) {
  auto& nodes = *model.graph().mutable_node();
  for (int i = 0, j = nodes.size() - 1; i < j; ++i, --j) nodes.SwapElements(i, j);
  auto& weights = *model.graph().mutable_initializer();
  for (int i = 0, j = weights.size() - 1; i < j; ++i, --j) weights.SwapElements(i, j);
  return model;
}

#define ASSERT_SHARED(name, sharing)                              \
  const absl::StatusOr<SharingProposal> name = (sharing).Share(); \
  ASSERT_TRUE(name.ok()) << name.status()

TEST(ShareTest, TwoHeadsOnOneTrunkShareIt) {
  Sharing sharing;
  sharing.Add("a", TrunkAndHead("", 5).model).Add("b", TrunkAndHead("other/", 6).model);
  ASSERT_SHARED(proposal, sharing);
  ASSERT_THAT(proposal->modules, SizeIs(1));
  const SharedModule& module = proposal->modules[0];
  EXPECT_EQ(module.name, "hub/shared");
  EXPECT_EQ(module.nodes, 6);
  EXPECT_EQ(module.weight_bytes, kTrunkBytes);
  EXPECT_EQ(module.saved_bytes, kTrunkBytes);
  ASSERT_TRUE(module.flops.has_value());
  EXPECT_EQ(module.flops->per_row, 2 * (8 * 16 + 16 * 4));
  EXPECT_EQ(module.flops->unknown_nodes, 0);
  ASSERT_THAT(module.uses, SizeIs(2));
  EXPECT_THAT(module.uses[0].part.inputs, ElementsAre("x"));
  EXPECT_THAT(module.uses[1].part.inputs, ElementsAre("other/x"));
  ASSERT_THAT(sharing.shared.products, SizeIs(2));
  for (const auto& product : sharing.shared.products) {
    EXPECT_THAT(Ops(product.model.model),
                UnorderedElementsAre(Pair("Remote", 1), Pair("MatMul", 1), Pair("Add", 1), Pair("Relu", 1)));
    EXPECT_EQ(product.model.model.weight_bytes(), (4 * 3 + 3) * sizeof(float));
  }
}

TEST(ShareTest, NamesAndOrderOfNodesDoNotCount) {
  Sharing sharing;
  sharing.Add("a", TrunkAndHead("", 5).model).Add("b", Reversed(TrunkAndHead("renamed/", 6).model));
  ASSERT_SHARED(proposal, sharing);
  ASSERT_THAT(proposal->modules, SizeIs(1));
  EXPECT_EQ(proposal->modules[0].saved_bytes, kTrunkBytes);
}

TEST(ShareTest, TheSameNetworkTwiceLeavesAPortalEach) {
  Sharing sharing;
  sharing.Add("a", TrunkAndHead("", 5).model).Add("b", Reversed(TrunkAndHead("again/", 5, "batch").model));
  ASSERT_SHARED(proposal, sharing);
  ASSERT_THAT(proposal->modules, SizeIs(1));
  EXPECT_EQ(proposal->modules[0].nodes, 9);
  for (const auto& product : sharing.shared.products) {
    EXPECT_THAT(Ops(product.model.model), ElementsAre(Pair("Remote", 1)));
  }
}

TEST(ShareTest, AModelSharesWithItself) {
  Sharing sharing;
  sharing.Add("a", TrunkAndHead("", 5).model).Add("b", TrunkAndHead("", 5).model);
  ASSERT_SHARED(proposal, sharing);
  EXPECT_THAT(proposal->modules, SizeIs(1));
  EXPECT_EQ(sharing.shared.products[0].model.digest, sharing.shared.products[1].model.digest);
}

TEST(ShareTest, NamesOfDimsDoNotCount) {
  Sharing sharing;
  sharing.Add("a", TrunkAndHead("", 5, "N").model).Add("b", TrunkAndHead("", 6, "batch_size").model);
  ASSERT_SHARED(proposal, sharing);
  EXPECT_EQ(proposal->modules.at(0).saved_bytes, kTrunkBytes);
}

TEST(ShareTest, AModuleTakesTheShapesOfAllItsProducts) {
  Layers fixed("f/");
  fixed.model.Input("f/x", DType::kFloat, {3, 8});
  const std::string features = Trunk(fixed, "f/x");
  fixed.model.Output(fixed.Dense(features, 4, 3, 7), DType::kFloat, {3, 3});
  for (const bool fixed_first : {true, false}) {
    Sharing sharing;
    if (fixed_first) sharing.Add("fixed", fixed.model);
    sharing.Add("any", TrunkAndHead("", 5).model);
    if (!fixed_first) sharing.Add("fixed", fixed.model);
    ASSERT_SHARED(proposal, sharing);
    const auto& shape = sharing.shared.modules.at(0).model.proto().graph().input(0).type().tensor_type().shape();
    ASSERT_EQ(shape.dim_size(), 2);
    EXPECT_FALSE(shape.dim(0).has_dim_value());
    EXPECT_EQ(shape.dim(1).dim_value(), 8);
  }
}

/// x[N,8] and ctx[`rows`,8], a layer each, added up.
Layers TwoRows(const std::string& prefix, const ModelDim& rows, float head) {
  Layers layers(prefix);
  const std::string x = layers.Input("x", 8);
  layers.model.Input(prefix + "ctx", DType::kFloat, {rows, 8});
  const std::string sum = layers.Op("Add", {layers.Dense(x, 8, 16, 1), layers.Dense(prefix + "ctx", 8, 16, 2)});
  layers.Output(layers.Dense(sum, 16, 3, head), 3);
  return layers;
}

std::vector<std::string> FirstSymbols(const std::vector<TensorSpec>& specs) {
  std::vector<std::string> symbols;
  for (const TensorSpec& spec : specs) symbols.push_back(spec.dims.at(0).symbol);
  return symbols;
}

TEST(ShareTest, ASymbolIsOneInEveryProductOrNone) {
  for (const bool equal_first : {true, false}) {
    for (const ModelDim& rows : {ModelDim(1), ModelDim("M")}) {
      Sharing sharing;
      if (equal_first) sharing.Add("equal", TwoRows("", "N", 5).model);
      sharing.Add("other", TwoRows("o/", rows, 6).model);
      if (!equal_first) sharing.Add("equal", TwoRows("", "N", 5).model);
      const auto proposal = sharing.Propose();
      ASSERT_TRUE(proposal.ok()) << proposal.status();
      ASSERT_THAT(proposal->modules, SizeIs(1));
      ASSERT_EQ(proposal->modules[0].nodes, 7);
      const auto cut = CutShared(sharing.products, *proposal);
      ASSERT_TRUE(cut.ok()) << cut.status();
      const auto signature = GraphSignature(cut->modules[0].model);
      ASSERT_TRUE(signature.ok()) << signature.status();
      const std::vector<std::string> symbols = FirstSymbols(signature->inputs);
      ASSERT_THAT(symbols, SizeIs(2));
      EXPECT_THAT(symbols, testing::Each(testing::Not(IsEmpty())));
      EXPECT_NE(symbols[0], symbols[1]);
    }
  }
}

TEST(ShareTest, RowsGoThroughAModuleWhereverOneProductSaysSo) {
  Layers fixed("f/");
  fixed.model.Input("f/x", DType::kFloat, {3, 8});
  fixed.model.Output(fixed.Dense(Trunk(fixed, "f/x"), 4, 3, 7), DType::kFloat, {3, 3});
  Sharing sharing;
  sharing.Add("fixed", fixed.model).Add("any", TrunkAndHead("", 5).model).Add("b", TrunkAndHead("b/", 6, "B").model);
  ASSERT_SHARED(proposal, sharing);
  const auto signature = GraphSignature(sharing.shared.modules.at(0).model);
  ASSERT_TRUE(signature.ok()) << signature.status();
  EXPECT_EQ(FirstSymbols(signature->inputs), std::vector<std::string>{"N"});
  EXPECT_EQ(FirstSymbols(signature->outputs), std::vector<std::string>{"N"});
}

TEST(ShareTest, ASymbolThatDoesNotHoldIsFoundByComparing) {
  Sharing sharing;
  sharing.Add("equal", TwoRows("", "N", 5).model).Add("one", TwoRows("o/", 1, 6).model);
  ASSERT_SHARED(proposal, sharing);
  SplitModel& module = sharing.shared.modules.at(0);
  auto proto = std::make_unique<onnx::ModelProto>(module.model.proto());
  for (auto& input : *proto->mutable_graph()->mutable_input()) {
    input.mutable_type()->mutable_tensor_type()->mutable_shape()->mutable_dim(0)->set_dim_param("N");
  }
  auto model = Model::WithWeightsOf(module.model, std::move(proto));
  ASSERT_TRUE(model.ok()) << model.status();
  module.model = *std::move(model);
  const auto report = VerifyShared(sharing.products[1], sharing.shared, sharing.shared.products[1], VerifyOptions());
  ASSERT_FALSE(report.ok());
  EXPECT_THAT(std::string(report.status().message()), HasSubstr("as in another input"));
}

TEST(ShareTest, OneWeightChangedIsNotMerged) {
  Layers changed("c/");
  const std::string first = changed.Dense(changed.Input("x", 8), 8, 16, 1);
  const std::string w = changed.Weight([] {
    const Tensor same = Numbers({16, 4}, 2);
    std::vector<float> values(same.data<float>().begin(), same.data<float>().end());
    values[37] += 1e-6f;
    return Tensor::Of<float>({16, 4}, values);
  }());
  const std::string second =
      changed.Op("Relu", {changed.Op("Add", {changed.Op("MatMul", {first, w}), changed.Weight(Numbers({4}, 2.5f))})});
  changed.Output(changed.Dense(second, 4, 3, 6), 3);
  Sharing sharing;
  sharing.Add("a", TrunkAndHead("", 5).model).Add("b", changed.model);
  ASSERT_SHARED(proposal, sharing);
  ASSERT_THAT(proposal->modules, SizeIs(1));
  // The layer in front of the change alone.
  EXPECT_EQ(proposal->modules[0].weight_bytes, (8 * 16 + 16) * sizeof(float));
  EXPECT_EQ(proposal->modules[0].nodes, 3);
}

TEST(ShareTest, NothingInCommonProposesNothing) {
  Sharing sharing;
  sharing.Add("a", TrunkAndHead("", 5).model).Add("b", TrunkAndHead("", 50, "N", 20).model);
  ASSERT_SHARED(proposal, sharing);
  EXPECT_THAT(proposal->modules, IsEmpty());
  EXPECT_THAT(sharing.shared.products, IsEmpty());
  EXPECT_EQ(WriteShared(std::move(sharing.shared), "nowhere", 1).code(), absl::StatusCode::kInvalidArgument);
}

TEST(ShareTest, WhatSavesTooLittleIsLeftOutAndSaid) {
  Sharing sharing;
  sharing.options.min_bytes = kTrunkBytes + 1;
  sharing.Add("a", TrunkAndHead("", 5).model).Add("b", TrunkAndHead("", 6).model);
  ASSERT_SHARED(proposal, sharing);
  EXPECT_THAT(proposal->modules, IsEmpty());
  EXPECT_THAT(proposal->notes, ElementsAre(HasSubstr(absl::StrCat("saves ", kTrunkBytes, " bytes at most"))));
}

/// Two inputs of one dtype and size, each with a layer of its own, added up. `swapped`: declared the other way round.
Layers TwoInputs(const std::string& prefix, bool swapped, float head) {
  Layers layers(prefix);
  std::string left, right;
  if (swapped) right = layers.Input("right", 8);
  left = layers.Input("left", 8);
  if (!swapped) right = layers.Input("right", 8);
  const std::string sum = layers.Op("Add", {layers.Dense(left, 8, 16, 1), layers.Dense(right, 8, 16, 2)});
  layers.Output(layers.Dense(sum, 16, 3, head), 3);
  return layers;
}

TEST(ShareTest, InputsAreFoundWhereverTheyStand) {
  Sharing sharing;
  sharing.Add("a", TwoInputs("", false, 5).model).Add("b", TwoInputs("b/", true, 6).model);
  ASSERT_SHARED(proposal, sharing);
  ASSERT_THAT(proposal->modules, SizeIs(1));
  EXPECT_EQ(proposal->modules[0].nodes, 7);
  EXPECT_THAT(proposal->modules[0].uses[0].part.inputs, ElementsAre("left", "right"));
  EXPECT_THAT(proposal->modules[0].uses[1].part.inputs, ElementsAre("b/left", "b/right"));
}

/// Sub does to left and right what cannot be told without knowing which is which.
TEST(ShareTest, InputsThatOnlyTheirUseTellsApart) {
  const auto build = [](const std::string& prefix, bool swapped, float head) {
    Layers layers(prefix);
    const std::string a = layers.Input("a", 8);
    const std::string b = layers.Input("b", 8);
    const std::string left = layers.Op("Neg", {swapped ? b : a});
    const std::string right = layers.Op("Neg", {swapped ? a : b});
    const std::string both = layers.Op("Sub", {layers.Op("Mul", {left, left}), right});
    layers.Output(layers.Dense(Trunk(layers, both), 4, 3, head), 3);
    return layers;
  };
  Sharing sharing;
  sharing.Add("a", build("", false, 5).model).Add("b", build("b/", true, 6).model);
  ASSERT_SHARED(proposal, sharing);
  ASSERT_THAT(proposal->modules, SizeIs(1));
  EXPECT_EQ(proposal->modules[0].nodes, 10);
  const auto& uses = proposal->modules[0].uses;
  const bool first_is_a = uses[0].part.inputs[0] == "a";
  EXPECT_THAT(uses[1].part.inputs, first_is_a ? ElementsAre("b/b", "b/a") : ElementsAre("b/a", "b/b"));
}

TEST(ShareTest, OneInputForTwoIsNotTwoInputs) {
  const auto build = [](const std::string& prefix, bool one) {
    Layers layers(prefix);
    const std::string a = layers.Input("a", 8);
    const std::string b = one ? a : layers.Input("b", 8);
    const std::string sum = layers.Op("Add", {layers.Dense(a, 8, 16, 1), layers.Dense(b, 8, 16, 2)});
    layers.Output(layers.Dense(sum, 16, 3, 3), 3);
    return layers;
  };
  Sharing sharing;
  sharing.Add("one", build("", true).model).Add("two", build("b/", false).model);
  ASSERT_SHARED(proposal, sharing);
  uint64_t saved = 0;
  for (const SharedModule& module : proposal->modules) saved += module.saved_bytes;
  EXPECT_GE(saved, 2 * (8 * 16 + 16) * sizeof(float) / 2);
}

TEST(ShareTest, TwoTowersAreTwoModules) {
  const auto build = [](const std::string& prefix, bool swapped, const char* join) {
    Layers layers(prefix);
    std::string user, item;
    if (swapped) item = layers.Input("item", 8);
    user = layers.Input("user", 8);
    if (!swapped) item = layers.Input("item", 8);
    layers.Output(layers.Op(join, {Trunk(layers, user, 1), Trunk(layers, item, 10)}), 4);
    return layers;
  };
  Sharing sharing;
  sharing.Add("a", build("", false, "Mul").model).Add("b", build("b/", true, "Sub").model);
  ASSERT_SHARED(proposal, sharing);
  ASSERT_THAT(proposal->modules, SizeIs(2));
  EXPECT_EQ(proposal->modules[0].name, "hub/shared");
  EXPECT_EQ(proposal->modules[1].name, "hub/shared-2");
  for (const SharedModule& module : proposal->modules) {
    EXPECT_EQ(module.saved_bytes, kTrunkBytes);
    EXPECT_EQ("b/" + module.uses[0].part.inputs.at(0), module.uses[1].part.inputs.at(0));
  }
}

TEST(ShareTest, WhatStandsInTheMiddleIsFound) {
  const auto build = [](const std::string& prefix, bool scaled, float head) {
    Layers layers(prefix);
    std::string x = layers.Input("x", 8);
    if (scaled)
      x = layers.Op("Div", {layers.Op("Sub", {x, layers.Weight(Numbers({8}, 3))}), layers.Weight(Numbers({8}, 4))});
    layers.Output(layers.Dense(Trunk(layers, x), 4, 3, head), 3);
    return layers;
  };
  Sharing sharing;
  sharing.Add("plain", build("", false, 5).model).Add("scaled", build("s/", true, 6).model);
  ASSERT_SHARED(proposal, sharing);
  ASSERT_THAT(proposal->modules, SizeIs(1));
  EXPECT_EQ(proposal->modules[0].saved_bytes, kTrunkBytes);
  EXPECT_THAT(proposal->modules[0].uses[0].part.inputs, ElementsAre("x"));
}

/// In one product something stands between two layers that follow each other in the other.
TEST(ShareTest, WhatAnAdapterPartsIsTwoModules) {
  const auto build = [](const std::string& prefix, bool adapted) {
    Layers layers(prefix);
    const std::string x = layers.Input("x", 8);
    std::string middle = layers.Dense(x, 8, 16, 1);
    if (adapted) middle = layers.Op("Tanh", {middle});
    // What goes around keeps the layers connected.
    const std::string end = layers.Dense(middle, 16, 8, 2);
    layers.Output(layers.Op("Add", {end, x}), 8);
    return layers;
  };
  Sharing sharing;
  sharing.Add("plain", build("", false).model).Add("adapted", build("a/", true).model);
  ASSERT_SHARED(proposal, sharing);
  ASSERT_THAT(proposal->modules, SizeIs(2));
  EXPECT_EQ(proposal->modules[0].saved_bytes + proposal->modules[1].saved_bytes,
            (8 * 16 + 16 + 16 * 8 + 8) * sizeof(float));
}

TEST(ShareTest, ThreeProductsShareWhatEachPairHas) {
  const auto build = [](const std::string& prefix, bool deep, float head) {
    Layers layers(prefix);
    std::string x = Trunk(layers, layers.Input("x", 8));
    if (deep) x = layers.Dense(x, 4, 30, 3);
    layers.Output(layers.Dense(x, deep ? 30 : 4, 3, head), 3);
    return layers;
  };
  Sharing sharing;
  sharing.Add("a", build("", true, 5).model).Add("b", build("b/", false, 6).model).Add("c", build("c/", true, 7).model);
  ASSERT_SHARED(proposal, sharing);
  ASSERT_THAT(proposal->modules, SizeIs(2));
  EXPECT_THAT(proposal->modules[0].uses, SizeIs(3));
  EXPECT_EQ(proposal->modules[0].saved_bytes, 2 * kTrunkBytes);
  ASSERT_THAT(proposal->modules[1].uses, SizeIs(2));
  EXPECT_EQ(proposal->modules[1].uses[0].product, 0);
  EXPECT_EQ(proposal->modules[1].uses[1].product, 2);
  EXPECT_EQ(proposal->modules[1].saved_bytes, (4 * 30 + 30) * sizeof(float));
  EXPECT_THAT(Ops(sharing.shared.products[2].model.model), testing::Contains(Pair("Remote", 2)));
}

TEST(ShareTest, OutputsInsideTheTrunkStayOutputs) {
  Layers inside("");
  const std::string middle = inside.Dense(inside.Input("x", 8), 8, 16, 1);
  const std::string features = inside.Dense(middle, 16, 4, 2);
  inside.Output(middle, 16).Output(inside.Dense(features, 4, 3, 5), 3);
  Sharing sharing;
  sharing.Add("a", inside.model).Add("b", TrunkAndHead("b/", 6).model);
  ASSERT_SHARED(proposal, sharing);
  ASSERT_THAT(proposal->modules, SizeIs(1));
  EXPECT_EQ(proposal->modules[0].saved_bytes, kTrunkBytes);
  EXPECT_THAT(proposal->modules[0].uses[0].part.outputs, ElementsAre(middle, features));
}

TEST(ShareTest, WhereTooMuchCrossesItEndsEarlier) {
  // Six layers, of which each product needs all results: behind the first one a single tensor crosses.
  const auto build = [](const std::string& prefix, float head) {
    Layers layers(prefix);
    const std::string stem = layers.Dense(layers.Input("x", 8), 8, 64, 1);
    std::vector<std::string> all;
    for (int i = 0; i < 6; ++i) {
      all.push_back(
          layers.Op("Add", {layers.Op("Neg", {stem}), layers.Weight(Numbers({1}, 30 + static_cast<float>(i)))}));
    }
    std::vector<std::string> ends;
    for (int i = 0; i < 6; ++i)
      ends.push_back(layers.Dense(all[static_cast<size_t>(i)], 64, 2, head + static_cast<float>(i)));
    layers.Output(layers.Op("Sum", ends), 2);
    return layers;
  };
  Sharing sharing;
  sharing.options.max_tensors = 4;
  sharing.Add("a", build("", 5).model).Add("b", build("b/", 15).model);
  ASSERT_SHARED(proposal, sharing);
  ASSERT_THAT(proposal->modules, SizeIs(1));
  EXPECT_THAT(proposal->modules[0].uses[0].part.outputs, SizeIs(1));
  EXPECT_EQ(proposal->modules[0].weight_bytes, (8 * 64 + 64) * sizeof(float));
}

TEST(ShareTest, ABorderThatIsTooWideIsLeftOutAndSaid) {
  const auto build = [](const std::string& prefix, const char* op) {
    Layers layers(prefix);
    const std::string w = layers.Weight(Numbers({8, 8}, 1));
    const std::string gemm = layers.Op("Gemm", {layers.Input("x", 8), w, layers.Input("y", 8)});
    layers.Output(layers.Op(op, {gemm}), 8);
    return layers;
  };
  Sharing sharing;
  sharing.options.max_tensors = 1;
  sharing.Add("a", build("", "Neg").model).Add("b", build("b/", "Exp").model);
  ASSERT_SHARED(proposal, sharing);
  EXPECT_THAT(proposal->modules, IsEmpty());
  EXPECT_THAT(proposal->notes,
              ElementsAre(HasSubstr("256 bytes of common weights, as more tensors than --max-tensors (1)")));
}

TEST(ShareTest, OfSeveralBranchesAsManyAsMayCross) {
  const auto build = [](const std::string& prefix, const char* op) {
    Layers layers(prefix);
    const std::string x = layers.Input("x", 8);
    for (int i = 0; i < 3; ++i) {
      layers.Output(layers.Op(op, {layers.Dense(x, 8, 4, static_cast<float>(i))}), 4);
    }
    return layers;
  };
  const auto wide = [](const std::string& prefix, const char* op) {
    Layers layers(prefix);
    const std::string x = layers.Input("x", 8);
    const std::string all = layers.Op("MatMul", {x, layers.Weight(Numbers({8, 9}, 1))});
    std::vector<std::string> parts = {prefix + "p0", prefix + "p1", prefix + "p2"};
    const std::string sizes = layers.Weight(Tensor::Of<int64_t>({3}, {3, 3, 3}));
    layers.model.Node("Split", {all, sizes}, parts, {Int("axis", 1)});
    for (const std::string& part : parts) layers.Output(layers.Op(op, {part}), 3);
    return layers;
  };
  Sharing sharing;
  sharing.options.max_tensors = 2;
  sharing.Add("a", build("", "Neg").model).Add("b", build("b/", "Exp").model);
  ASSERT_SHARED(proposal, sharing);
  ASSERT_THAT(proposal->modules, testing::Not(IsEmpty()));
  for (const SharedModule& module : proposal->modules) EXPECT_LE(module.uses[0].part.outputs.size(), 2u);
  Sharing narrow;
  narrow.options.max_tensors = 1;
  narrow.Add("a", wide("", "Neg").model).Add("b", wide("b/", "Exp").model);
  ASSERT_SHARED(one, narrow);
  ASSERT_THAT(one->modules, SizeIs(1));
  EXPECT_EQ(one->modules[0].nodes, 1);  // before Split
}

TEST(ShareTest, TiedWeightsThatStayBehindAreNotSaved) {
  const auto build = [](const std::string& prefix, const char* op) {
    Layers layers(prefix);
    const std::string tied = layers.Weight(Numbers({8, 8}, 1));
    const std::string h = layers.Op("Relu", {layers.Op("MatMul", {layers.Input("x", 8), tied})});
    layers.Output(layers.Op("MatMul", {layers.Op(op, {h}), tied}), 8);
    return layers;
  };
  Sharing sharing;
  sharing.options.min_bytes = 1;
  sharing.Add("a", build("", "Neg").model).Add("b", build("b/", "Exp").model);
  ASSERT_SHARED(proposal, sharing);
  uint64_t saved = 0;
  for (const SharedModule& module : proposal->modules) saved += module.saved_bytes;
  // Either nothing, or both uses of the weight went.
  for (const auto& product : sharing.shared.products) EXPECT_EQ(product.model.model.weight_bytes(), 0u);
  EXPECT_TRUE(saved == 0 || saved == 8 * 8 * sizeof(float)) << saved;
}

TEST(ShareTest, TheFirstErrorNamesTheProduct) {
  Sharing portal;
  ModelBuilder builder;
  builder.Input("x", DType::kFloat, {"N", 8})
      .Output("y", DType::kFloat, {"N", 8})
      .Portal("Remote", "", {"x"}, {"y"}, {DType::kFloat}, {"N,8"});
  portal.Add("a", TrunkAndHead("", 5).model).Add("b", builder);
  const auto with_portal = portal.Propose();
  ASSERT_FALSE(with_portal.ok());
  EXPECT_THAT(std::string(with_portal.status().message()),
              testing::AllOf(HasSubstr("product 'b'"), HasSubstr("attribute 'target'")));

  ModelBuilder cyclic;
  cyclic.Input("x", DType::kFloat, {"N", 8})
      .Output("y", DType::kFloat, {"N", 8})
      .Node("Add", {"x", "z"}, {"y"})
      .Node("Neg", {"y"}, {"z"});
  Sharing cycle;
  cycle.Add("a", TrunkAndHead("", 5).model).Add("b", cyclic);
  EXPECT_THAT(std::string(cycle.Propose().status().message()),
              testing::AllOf(HasSubstr("product 'b'"), HasSubstr("cycle")));

  Sharing alone;
  alone.Add("a", TrunkAndHead("", 5).model);
  EXPECT_THAT(std::string(alone.Propose().status().message()), HasSubstr("want two"));
  alone.Add("a", TrunkAndHead("", 6).model);
  EXPECT_THAT(std::string(alone.Propose().status().message()), HasSubstr("NAME=MODEL.ONNX"));
  Sharing named;
  named.options.name = "../out";
  named.Add("a", TrunkAndHead("", 5).model).Add("b", TrunkAndHead("", 6).model);
  EXPECT_EQ(named.Propose().status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ShareTest, ModulesTakeNoNameOfAProduct) {
  Sharing sharing;
  sharing.options.name = "b";
  sharing.Add("a", TrunkAndHead("", 5).model).Add("b", TrunkAndHead("", 6).model);
  ASSERT_SHARED(proposal, sharing);
  EXPECT_EQ(proposal->modules.at(0).name, "b-2");
  EXPECT_THAT(proposal->notes, ::testing::Contains(::testing::HasSubstr("called 'b-2', as 'b' is a product")));
}

TEST(ShareTest, WritesModulesAndProductsOrNothing) {
  TempFolder folder;
  const auto share = [](float head) {
    Sharing sharing;
    sharing.Add("a", TrunkAndHead("", head).model).Add("b", TrunkAndHead("b/", head + 1).model);
    const auto proposal = sharing.Share();
    PORTICO_CHECK(proposal.ok());
    return std::move(sharing.shared);
  };
  const std::string out = folder.path() + "/out";
  const absl::Status written = WriteShared(share(5), out, 2);
  ASSERT_TRUE(written.ok()) << written;
  for (const char* name : {"a", "b", "hub/shared"}) {
    WeightStore store;
    EXPECT_TRUE(Model::Load(absl::StrCat(out, "/", name, "/2/model.onnx"), store).ok()) << name;
  }
  // The module is there already, and stays; product b is another one than what stands there.
  EXPECT_TRUE(WriteShared(share(5), out, 2).ok());
  std::filesystem::remove_all(out + "/a");
  EXPECT_EQ(WriteShared(share(15), out, 2).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_FALSE(std::filesystem::exists(out + "/a"));
}

TEST(ShareTest, AModuleThatIsThereWithNarrowerShapesIsNotTaken) {
  TempFolder folder;
  const auto build = [](const std::string& prefix, const ModelDim& rows, float head) {
    Layers layers(prefix);
    layers.model.Input(prefix + "x", DType::kFloat, {rows, 8});
    layers.model.Output(layers.Dense(Trunk(layers, prefix + "x"), 4, 3, head), DType::kFloat, {rows, 3});
    return layers;
  };
  const auto write = [&](const std::string& name, const ModelDim& rows, float head) {
    Sharing sharing;
    sharing.Add(name + "1", build("", rows, head).model).Add(name + "2", build("b/", rows, head + 1).model);
    const auto proposal = sharing.Share();
    PORTICO_CHECK(proposal.ok());
    return WriteShared(std::move(sharing.shared), folder.path(), 1);
  };
  ASSERT_TRUE(write("fixed", 3, 5).ok());
  const absl::Status any = write("any", "N", 15);
  EXPECT_EQ(any.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(any.message()), testing::AllOf(HasSubstr("float32[3,8]"), HasSubstr("another --version")));
  // Of another name for its rows it is the same.
  std::filesystem::remove_all(folder.path() + "/hub");
  EXPECT_TRUE(write("any", "N", 15).ok());
  EXPECT_TRUE(write("more", "batch", 25).ok());
}

TEST(ShareTest, APartThatIsNotTheSameAfterAllIsRefused) {
  Sharing sharing;
  sharing.Add("a", TrunkAndHead("", 5).model).Add("b", TrunkAndHead("b/", 6).model);
  auto proposal = sharing.Propose();
  ASSERT_TRUE(proposal.ok());
  // As if another tensor had been found in b: the one before.
  proposal->modules[0].uses[1].part.outputs = {"b/t8"};
  const auto cut = CutShared(sharing.products, *proposal);
  ASSERT_FALSE(cut.ok());
  EXPECT_THAT(std::string(cut.status().message()),
              testing::AllOf(HasSubstr("module 'hub/shared'"), HasSubstr("product 'b'")));
}

}  // namespace
}  // namespace portico
