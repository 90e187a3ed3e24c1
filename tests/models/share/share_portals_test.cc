// Models that have portals: modules that use modules.

#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/graph/graph_plan.h"
#include "models/share/calls_between.h"
#include "tests/models/share/share_fixture.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

constexpr uint64_t kDenseBytes = (8 * 8 + 8) * sizeof(float);

/// What portals call lies in a folder of packages.
class SharePortalsTest : public ::testing::Test {
 protected:
  /// One layer, 8 → 8, as FOLDER/NAME/1; its digest.
  Digest WriteDense(const std::string& name, float seed, int version = 1) {
    Layers layers;
    layers.model.Node("Identity", {layers.Dense(layers.Input("in", 8), 8, 8, seed)}, {"out"});
    layers.Output("out", 8);
    layers.model.WriteTo(folder_.File(absl::StrCat(name, "/", version, "/model.onnx")));
    absl::StatusOr<Model> model = Model::FromProto(layers.model.Build(), "", sharing_.store);
    PORTICO_CHECK(model.ok());
    return *ModelDigest(*model);
  }

  static std::string Call(Layers& layers, const std::string& x, const std::string& target, const std::string& digest,
                          const std::string& output, const std::string& shape) {
    layers.model.Portal("Remote", target, {x}, {output}, {DType::kFloat}, {shape},
                        {String("digest", digest), Strings("input_names", {"in"}), Strings("output_names", {"out"})});
    return output;
  }

  /// x → portal → layer `seed` → layer `head`; extents have names of the model's own.
  static ModelBuilder Product(const std::string& prefix, const std::string& target, const std::string& digest,
                              float seed, float head, const char* batch) {
    Layers layers(prefix);
    const std::string called =
        Call(layers, layers.Input("x", 8, batch), target, digest, prefix + "called", absl::StrCat(batch, ",8"));
    const std::string features = layers.Dense(called, 8, 8, seed);
    layers.Output(layers.Dense(features, 8, 3, head), 3, batch);
    return layers.model;
  }

  static std::string Text(const onnx::NodeProto& node, const std::string& name) {
    for (const auto& attribute : node.attribute()) {
      if (attribute.name() != name) continue;
      return attribute.strings_size() > 0 ? attribute.strings(0) : attribute.s();
    }
    return "";
  }
  static const onnx::NodeProto& PortalOf(const Model& model) {
    for (const auto& node : model.proto().graph().node()) {
      if (node.domain() == kPorticoDomain) return node;
    }
    PORTICO_CHECK(false);
  }

  TempFolder folder_;
  CalledModels called_{{{"", folder_.path()}}};
  Sharing sharing_;
};

TEST_F(SharePortalsTest, AModuleMayUseAModule) {
  const std::string digest = WriteDense("acme/inner", 3).Hex();
  sharing_.verify.called = &called_;
  sharing_.Add("a", Product("", "acme/inner", digest, 1, 5, "N"));
  sharing_.Add("b", Product("b/", "acme/inner", digest, 1, 6, "batch"));
  const auto proposal = sharing_.Share();
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  ASSERT_THAT(proposal->modules, SizeIs(1));
  // The portal is in it, what it calls is nobody's to save.
  EXPECT_EQ(proposal->modules[0].nodes, 4);
  EXPECT_EQ(proposal->modules[0].saved_bytes, kDenseBytes);
  ASSERT_TRUE(proposal->modules[0].flops.has_value());
  EXPECT_EQ(proposal->modules[0].flops->per_row, 2 * 8 * 8);
  const SplitModel& module = sharing_.shared.modules[0];
  EXPECT_THAT(Ops(module.model),
              UnorderedElementsAre(Pair("Remote", 1), Pair("MatMul", 1), Pair("Add", 1), Pair("Relu", 1)));
  EXPECT_EQ(Text(PortalOf(module.model), "target"), "acme/inner");
  // One name for the extent that each product calls otherwise, at the border and at the portal.
  const auto signature = GraphSignature(module.model);
  ASSERT_TRUE(signature.ok()) << signature.status();
  EXPECT_EQ(Text(PortalOf(module.model), "output_shapes"), absl::StrCat(signature->inputs[0].dims[0].symbol, ",8"));
  EXPECT_EQ(*ModelDigest(module.model), module.digest);
  for (const SharedModels::Rewritten& product : sharing_.shared.products) {
    EXPECT_EQ(Ops(product.model.model)["Remote"], 1);
    EXPECT_EQ(Text(PortalOf(product.model.model), "digest"), module.digest.Hex());
    EXPECT_EQ(*ModelDigest(product.model.model), product.model.digest);
  }
}

TEST_F(SharePortalsTest, FixedExtentsOfOneProductDoNotBindTheOthers) {
  const std::string digest = WriteDense("acme/inner", 3).Hex();
  sharing_.verify.called = &called_;
  Layers fixed("f/");
  fixed.model.Input("f/x", DType::kFloat, {4, 8});
  const std::string called = Call(fixed, "f/x", "acme/inner", digest, "f/called", "4,8");
  fixed.model.Output(fixed.Dense(fixed.Dense(called, 8, 8, 1), 8, 3, 9), DType::kFloat, {4, 3});
  sharing_.Add("fixed", fixed.model).Add("free", Product("", "acme/inner", digest, 1, 5, "N"));
  const auto proposal = sharing_.Share();
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  const Model& module = sharing_.shared.modules.at(0).model;
  EXPECT_EQ(Text(PortalOf(module), "output_shapes"), "N,8");
  EXPECT_EQ(GraphSignature(module)->inputs[0].ToString(), "float32[N,8]");
}

TEST_F(SharePortalsTest, PortalsThatCallOtherwiseAreOthers) {
  const std::string one = WriteDense("acme/inner", 3).Hex();
  const std::string two = WriteDense("acme/inner", 4, 2).Hex();
  ASSERT_NE(one, two);
  const auto share = [&](const std::string& target, const std::string& a, const std::string& b) {
    Sharing sharing;
    sharing.verify.called = &called_;
    sharing.Add("a", Product("", "acme/inner", a, 1, 5, "N")).Add("b", Product("b/", target, b, 1, 6, "N"));
    const auto proposal = sharing.Share();
    EXPECT_TRUE(proposal.ok()) << proposal.status();
    return proposal.ok() && proposal->modules.size() == 1 ? proposal->modules[0].nodes : -1;
  };
  EXPECT_EQ(share("acme/inner", one, one), 4);
  // The layer behind is shared all the same.
  EXPECT_EQ(share("acme/inner", one, two), 3);
  // Nobody knows what a portal without a digest calls tomorrow.
  EXPECT_EQ(share("acme/inner", "", ""), 3);
  WriteDense("acme/same", 3);
  EXPECT_EQ(share("acme/same", one, one), 3);
}

TEST_F(SharePortalsTest, NothingButAPortalIsNoModule) {
  const std::string digest = WriteDense("acme/inner", 3).Hex();
  sharing_.options.min_bytes = 0;
  sharing_.Add("a", Product("", "acme/inner", digest, 1, 5, "N"));
  sharing_.Add("b", Product("b/", "acme/inner", digest, 2, 6, "N"));
  const auto proposal = sharing_.Propose();
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  for (const SharedModule& module : proposal->modules) {
    EXPECT_THAT(module.uses[0].portals, IsEmpty()) << module.name;
  }
}

TEST_F(SharePortalsTest, AProductOfPortalsAloneHasNothingToShareAndIsNoError) {
  const std::string digest = WriteDense("acme/inner", 3).Hex();
  for (const char* prefix : {"a/", "b/"}) {
    Layers layers(prefix);
    const std::string y = absl::StrCat(prefix, "y");
    layers.Output(Call(layers, layers.Input("x", 8), "acme/inner", digest, y, "N,8"), 8);
    sharing_.Add(std::string(prefix, 1), layers.model);
  }
  const auto proposal = sharing_.Propose();
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  EXPECT_THAT(proposal->modules, IsEmpty());
  EXPECT_THAT(proposal->notes, Not(testing::Contains(HasSubstr("cannot be run"))));
}

TEST_F(SharePortalsTest, NoModuleIsCalledAsWhatAPortalCalls) {
  const std::string digest = WriteDense("hub/shared", 3).Hex();
  sharing_.Add("a", Product("", "hub/shared", digest, 1, 5, "N"));
  sharing_.Add("b", Product("b/", "hub/shared", digest, 1, 6, "N"));
  const auto proposal = sharing_.Propose();
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  ASSERT_THAT(proposal->modules, SizeIs(1));
  EXPECT_EQ(proposal->modules[0].name, "hub/shared-2");
}

TEST_F(SharePortalsTest, WhatIsCalledHasToBeThereToCompare) {
  const std::string digest = WriteDense("acme/inner", 3).Hex();
  WriteDense("acme/inner", 4, 1);
  sharing_.verify.called = &called_;
  sharing_.Add("a", Product("", "acme/inner", digest, 1, 5, "N"));
  sharing_.Add("b", Product("b/", "acme/inner", digest, 1, 6, "N"));
  ASSERT_TRUE(sharing_.Propose().ok());
  const auto proposal = sharing_.Share();
  ASSERT_EQ(proposal.status().code(), absl::StatusCode::kFailedPrecondition) << proposal.status();
  EXPECT_THAT(std::string(proposal.status().message()),
              AllOf(HasSubstr("product 'a'"), HasSubstr("calls 'acme/inner' of digest " + digest.substr(0, 12)),
                    HasSubstr("acme/inner/1' of digest "), HasSubstr("--package acme/inner=FOLDER")));
}

TEST_F(SharePortalsTest, WithoutTheirOpsOtherPortalsThanRemoteCannotBeRun) {
  const std::string digest = WriteDense("acme/inner", 3).Hex();
  const auto build = [&](const std::string& prefix, float head) {
    Layers layers(prefix);
    const std::string x = layers.Input("x", 8);
    layers.model.Input(prefix + "escalate", DType::kBool, {"N"});
    const std::string features = layers.Dense(x, 8, 8, 1);
    layers.model.Portal("Cascade", "acme/inner", {prefix + "escalate", features, x}, {prefix + "y"}, {DType::kFloat},
                        {"N,8"}, {String("digest", digest), Strings("input_names", {"in"})});
    layers.Output(layers.Dense(prefix + "y", 8, 3, head), 3);
    return layers.model;
  };
  sharing_.verify.called = &called_;
  sharing_.Add("a", build("", 5)).Add("b", build("b/", 6));
  const auto proposal = sharing_.Share();
  ASSERT_EQ(proposal.status().code(), absl::StatusCode::kFailedPrecondition) << proposal.status();
  EXPECT_THAT(std::string(proposal.status().message()), HasSubstr("got op 'Cascade', want Remote"));
}

/// Two products on two layers share both; a third product has the first of them alone.
TEST_F(SharePortalsTest, AModuleSharesWithAModelAndCallsWhatTheyHaveInCommon) {
  const auto tower = [](const std::string& prefix, int layers_of_it, float head) {
    Layers layers(prefix);
    std::string h = layers.Input("x", 8);
    for (int i = 0; i < layers_of_it; ++i) h = layers.Dense(h, 8, 8, static_cast<float>(i + 1));
    layers.Output(layers.Dense(h, 8, 3, head), 3);
    return layers.model;
  };
  sharing_.options.name = "acme/outer";
  sharing_.Add("a", tower("", 2, 5)).Add("b", tower("b/", 2, 6));
  ASSERT_TRUE(sharing_.Share().ok());
  const SplitModel& outer = sharing_.shared.modules.at(0);
  const SplitModel& a = sharing_.shared.products.at(0).model;
  EXPECT_EQ(Ops(outer.model)["MatMul"], 2);

  Sharing again;
  again.options.name = "acme/inner";
  const auto copy = [](const SplitModel& split) {
    auto model = Model::WithWeightsOf(split.model, std::make_unique<onnx::ModelProto>(split.model.proto()));
    PORTICO_CHECK(model.ok());
    return *std::move(model);
  };
  ASSERT_TRUE(outer.model.Save(folder_.Folder("acme/outer/1")).ok());
  again.verify.called = &called_;
  again.Add("a", copy(a)).Add("acme/outer", copy(outer)).Add("c", tower("c/", 1, 7));
  const auto proposal = again.Share();
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  ASSERT_THAT(proposal->modules, SizeIs(1));
  EXPECT_EQ(proposal->modules[0].saved_bytes, kDenseBytes);
  ASSERT_THAT(again.shared.products, SizeIs(2));
  const SplitModel& rewritten = again.shared.products[0].model;
  EXPECT_EQ(rewritten.name, "acme/outer");
  EXPECT_NE(rewritten.digest, outer.digest);
  EXPECT_EQ(Ops(rewritten.model)["Remote"], 1);
  EXPECT_EQ(Ops(rewritten.model)["MatMul"], 1);

  // Who has to be moved to the new one.
  std::vector<const Model*> models;
  for (const ::portico::Product& product : again.products) models.push_back(&product.model);
  const auto calls = CallsBetween(models);
  ASSERT_TRUE(calls.ok()) << calls.status();
  ASSERT_THAT(*calls, SizeIs(1));
  EXPECT_EQ((*calls)[0].caller, 0);
  EXPECT_EQ((*calls)[0].called, 1);
  EXPECT_EQ((*calls)[0].target, "acme/outer");
  EXPECT_EQ((*calls)[0].digest, outer.digest);
}

}  // namespace
}  // namespace portico
