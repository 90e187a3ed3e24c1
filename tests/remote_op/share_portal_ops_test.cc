// Products that have portals of other ops than Remote, shared: what such a portal is told by, and what answers it.

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/graph/graph_plan.h"
#include "models/split/local_mesh.h"
#include "remote_op/local_portals.h"
#include "tests/models/package/group_builder.h"
#include "tests/models/share/share_fixture.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Key;
using ::testing::Not;
using ::testing::SizeIs;

/// What portals call lies in a folder of packages.
class SharePortalOpsTest : public ::testing::Test {
 protected:
  SharePortalOpsTest() {
    for (const char* name : {"acme/full", "acme/other"}) digests_[name] = WriteDense(name, name[5] == 'f' ? 3 : 4);
  }

  /// One layer, 8 → 8, as FOLDER/NAME/1; its digest.
  std::string WriteDense(const std::string& name, float seed) {
    Layers layers;
    layers.model.Node("Identity", {layers.Dense(layers.Input("in", 8), 8, 8, seed)}, {"out"});
    layers.Output("out", 8);
    layers.model.WriteTo(folder_.File(name + "/1/model.onnx"));
    return ModelDigest(Load(layers.model))->Hex();
  }
  Model Load(const ModelBuilder& builder) {
    absl::StatusOr<Model> model = Model::FromProto(builder.Build(), "", store_);
    PORTICO_CHECK(model.ok());
    return *std::move(model);
  }
  void WriteTables(const std::string& group, float shift = 0) {
    TableSpec items;
    items.name = "items";
    items.dim = 8;
    items.seed = static_cast<uint64_t>(shift);
    ASSERT_TRUE(BuildGroup(folder_.path() + "/" + group, 2, {{items, 100}}).ok());
  }

  /// How `portal` makes its output of `x` [N,8]; `attrs` take the place of its own of the same name.
  using MakePortal = std::function<std::string(Layers& layers, const std::string& x, Attrs attrs)>;

  static Attrs With(Attrs own, const Attrs& attrs) {
    for (const onnx::AttributeProto& one : attrs) {
      std::erase_if(own, [&](const onnx::AttributeProto& have) { return have.name() == one.name(); });
      own.push_back(one);
    }
    return own;
  }
  /// Rows whose largest cheap answer is below `sure` go to the full model.
  MakePortal Cascade(float sure = 0.05f) const {
    return [this, sure](Layers& layers, const std::string& x, const Attrs& attrs) {
      const std::string cheap = layers.Dense(x, 8, 8, 2);
      const std::string best = layers.Op("ReduceMax", {cheap}, {Ints("axes", {1}), Int("keepdims", 0)});
      const std::string escalate = layers.Op("Less", {best, layers.Weight(Tensor::Of<float>({1}, {sure}))});
      const Attrs all = With({String("target", "acme/full"), String("digest", digests_.at("acme/full")),
                              Strings("input_names", {"in"}), Strings("output_names", {"out"})},
                             attrs);
      const bool row_status = std::any_of(all.begin(), all.end(),
                                          [](const auto& one) { return one.name() == "row_status" && one.i() == 1; });
      std::vector<std::string> outputs = {x + "_answer"};
      if (row_status) outputs.push_back(x + "_status");
      layers.model.Portal("Cascade", "", {escalate, cheap, x}, outputs, {DType::kFloat}, {"N,8"}, all);
      return outputs[0];
    };
  }
  MakePortal Experts() const {
    return [this](Layers& layers, const std::string& x, const Attrs& attrs) {
      const std::string gate = layers.Op("MatMul", {x, layers.Weight(Numbers({8, 2}, -0.08f))});
      layers.model.Portal("Experts", "", {gate, x}, {x + "_answer"}, {DType::kFloat}, {"N,8"},
                          With({Strings("targets", {"acme/full", "acme/other"}),
                                Strings("digests", {digests_.at("acme/full"), digests_.at("acme/other")}), Int("k", 1),
                                Strings("input_names", {"in"}), Strings("output_names", {"out"})},
                               attrs));
      return x + "_answer";
    };
  }
  /// Ids are the signs of x.
  static MakePortal Bags() {
    return [](Layers& layers, const std::string& x, const Attrs& attrs) {
      const std::string zero = layers.Weight(Tensor::Of<float>({1}, {0}));
      const std::string ids = layers.Op("Cast", {layers.Op("Less", {x, zero})}, {Int("to", onnx::TensorProto::INT64)});
      layers.model.Portal(
          "EmbeddingBag", "clicks", {ids}, {x + "_answer"}, {DType::kFloat}, {"N,8"},
          With({String("target", "clicks"), Strings("tables", {"items"}), Ints("dims", {8}),
                Strings("poolings", {"sum"}), Strings("forms", {"padded"}), Strings("id_kinds", {"dense"}),
                Strings("input_names", {}), Strings("output_names", {})},
               attrs));
      return x + "_answer";
    };
  }

  /// input → layer 1 → portal → layer 7 → layer `head`.
  static ModelBuilder Product(const std::string& prefix, const MakePortal& portal, float head,
                              const Attrs& attrs = {}) {
    Layers layers(prefix);
    const std::string trunk = layers.Dense(layers.Input("x", 8), 8, 8, -0.2f);
    const std::string answer = portal(layers, trunk, attrs);
    layers.Output(layers.Dense(layers.Dense(answer, 8, 8, 7), 8, 3, head), 3);
    return layers.model;
  }
  /// Shares two products and compares; how often `op` is in modules.
  int PortalsShared(const std::string& op, const ModelBuilder& a, const ModelBuilder& b) {
    sharing_ = std::make_unique<Sharing>();
    called_ = std::make_unique<CalledModels>(std::vector<CalledModels::Place>{{"", folder_.path()}});
    ops_ = NewLocalPortals();
    sharing_->verify.called = called_.get();
    sharing_->verify.ops = ops_.get();
    sharing_->Add("a", a).Add("b", b);
    const auto proposal = sharing_->Share();
    EXPECT_TRUE(proposal.ok()) << proposal.status();
    int portals = 0;
    for (const SplitModel& module : sharing_->shared.modules) portals += Ops(module.model)[op];
    return proposal.ok() ? portals : -1;
  }

  TempFolder folder_;
  WeightStore store_;
  std::map<std::string, std::string> digests_;
  std::unique_ptr<Sharing> sharing_;
  std::unique_ptr<CalledModels> called_;
  std::unique_ptr<PortalOps> ops_;
};

TEST_F(SharePortalOpsTest, AModuleMayHoldEachPortal) {
  WriteTables("clicks");
  const std::map<std::string, MakePortal> portals = {
      {"Cascade", Cascade()}, {"Experts", Experts()}, {"EmbeddingBag", Bags()}};
  for (const auto& [op, portal] : portals) {
    SCOPED_TRACE(op);
    ASSERT_EQ(PortalsShared(op, Product("", portal, 5), Product("b/", portal, 6)), 1);
    ASSERT_THAT(sharing_->shared.modules, SizeIs(1));
    // All that is in front of the portal and behind it, but for the heads.
    EXPECT_EQ(Ops(sharing_->shared.modules[0].model)["Relu"], op == "Cascade" ? 3 : 2);
    for (const SharedModels::Rewritten& product : sharing_->shared.products) {
      EXPECT_EQ(Ops(product.model.model)["Remote"], 1);
      EXPECT_THAT(Ops(product.model.model), Not(Contains(Key(op))));
    }
  }
}

/// The trunk feeds the portal of one product, which the other has not.
TEST_F(SharePortalOpsTest, TheTrunkThatFeedsAPortalIsSharedWithoutIt) {
  WriteTables("clicks");
  const MakePortal none = [](Layers&, const std::string& x, const Attrs&) { return x; };
  const std::map<std::string, MakePortal> portals = {
      {"Cascade", Cascade()}, {"Experts", Experts()}, {"EmbeddingBag", Bags()}};
  for (const auto& [op, portal] : portals) {
    SCOPED_TRACE(op);
    EXPECT_EQ(PortalsShared(op, Product("", portal, 5), Product("b/", none, 6)), 0);
    ASSERT_FALSE(sharing_->shared.modules.empty());
    EXPECT_EQ(Ops(sharing_->shared.products[0].model.model)[op], 1);
  }
}

TEST_F(SharePortalOpsTest, PortalsThatAnswerOtherwiseAreOthers) {
  WriteTables("clicks");
  WriteTables("views");
  TableSpec other;
  other.name = "users";
  other.dim = 8;
  const std::string full = digests_["acme/full"], second = digests_["acme/other"];
  const struct {
    const char* op;
    MakePortal portal;
    Attrs attrs;
  } kCases[] = {
      {"Cascade", Cascade(), {String("target", "acme/other"), String("digest", second)}},
      {"Cascade", Cascade(), {String("on_row_error", "cheap")}},
      {"Cascade", Cascade(), {Int("row_status", 1)}},
      {"Cascade", Cascade(), {Float("audit", 0.1f)}},
      {"Experts", Experts(), {Strings("digests", {second, full}), Strings("targets", {"acme/other", "acme/full"})}},
      {"Experts", Experts(), {Int("k", 2)}},
      {"Experts", Experts(), {Float("capacity", 1.5f)}},
      {"Experts", Experts(), {String("weights", "none")}},
      {"Experts", Experts(), {String("on_expert_error", "fail")}},
      {"Experts", Experts(), {String("on_row_error", "fail")}},
      {"EmbeddingBag", Bags(), {String("target", "views")}},
      {"EmbeddingBag", Bags(), {Strings("poolings", {"mean"})}},
      {"EmbeddingBag", Bags(), {Strings("paddings", {"1"})}},
  };
  for (const auto& one : kCases) {
    SCOPED_TRACE(one.op + (" " + one.attrs[0].ShortDebugString()));
    EXPECT_EQ(PortalsShared(one.op, Product("", one.portal, 5), Product("b/", one.portal, 6, one.attrs)), 0);
    // What is around them is the same.
    EXPECT_FALSE(sharing_->shared.modules.empty());
    // Two that answer otherwise in the same way are one.
    EXPECT_EQ(PortalsShared(one.op, Product("", one.portal, 5, one.attrs), Product("b/", one.portal, 6, one.attrs)), 1);
  }
}

/// A module that holds the cascade is told which rows escalate.
TEST_F(SharePortalOpsTest, AConditionThatDiffersStaysWithItsProduct) {
  EXPECT_EQ(PortalsShared("Cascade", Product("", Cascade(0.05f), 5), Product("b/", Cascade(0.06f), 6)), 1);
  for (const SplitModel& module : sharing_->shared.modules) EXPECT_THAT(Ops(module.model), Not(Contains(Key("Less"))));
  for (const SharedModels::Rewritten& product : sharing_->shared.products) {
    EXPECT_EQ(Ops(product.model.model)["Less"], 1);
  }
  EXPECT_EQ(PortalsShared("Cascade", Product("", Cascade(0.06f), 5), Product("b/", Cascade(0.06f), 6)), 1);
  ASSERT_THAT(sharing_->shared.modules, SizeIs(1));
  EXPECT_EQ(Ops(sharing_->shared.modules[0].model)["Less"], 1);
}

/// The comparison is worth something: rows go both ways, and what is told is what the portal's targets say.
TEST_F(SharePortalOpsTest, PortalsAnswerAsTheyDoInAMesh) {
  CalledModels called({{"", folder_.path()}});
  const std::unique_ptr<PortalOps> ops = NewLocalPortals();
  const auto run = [&](const ModelBuilder& builder, const Tensor& x) {
    LocalMesh mesh({.optimize = false, .called = &called, .ops = ops.get()});
    const Model model = Load(builder);
    const absl::Status added = mesh.Add("it", model, *ModelDigest(model));
    EXPECT_TRUE(added.ok()) << added;
    auto outputs = mesh.Run({x});
    EXPECT_TRUE(outputs.ok()) << outputs.status();
    return *std::move(outputs);
  };
  const auto alone = [&](float seed, const Tensor& x) {
    Layers layers;
    layers.Output(layers.Dense(layers.Input("x", 8), 8, 8, seed), 8);
    return run(layers.model, x)[0];
  };
  const auto with = [&](const MakePortal& portal, const Attrs& attrs, const Tensor& x) {
    Layers layers;
    const std::string answer = portal(layers, layers.Input("x", 8), attrs);
    layers.Output(answer, 8);
    for (const auto& one : attrs) {
      if (one.name() == "row_status") layers.model.Output("x_status", DType::kInt8, {"N"});
    }
    return run(layers.model, x);
  };
  // Rows 0 and 2 are all negative: their cheap answers are 0.
  std::vector<float> values(3 * 8);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = (i / 8 == 1 ? 1.0f : -1.0f) * (0.5f + 0.01f * static_cast<float>(i));
  const Tensor x = Tensor::Of<float>({3, 8}, absl::MakeConstSpan(values));
  const auto row = [](const Tensor& tensor, size_t i) {
    const absl::Span<const float> all = tensor.data<float>().subspan(i * 8, 8);
    return std::vector<float>(all.begin(), all.end());
  };
  const std::vector<Tensor> cascade = with(Cascade(), {Int("row_status", 1)}, x);
  ASSERT_THAT(cascade, SizeIs(2));
  const Tensor cheap = alone(2, x), full = alone(3, x), other = alone(4, x);
  ASSERT_NE(row(cheap, 1), row(full, 1));
  EXPECT_EQ(row(cascade[0], 1), row(cheap, 1));
  EXPECT_EQ(row(cascade[0], 0), row(full, 0));
  EXPECT_EQ(row(cascade[0], 2), row(full, 2));
  const absl::Span<const int8_t> status = cascade[1].data<int8_t>();
  EXPECT_THAT(std::vector<int>(status.begin(), status.end()), testing::ElementsAre(1, 0, 1));

  const Tensor experts = with(Experts(), {}, x)[0];
  // The gate's second column is the larger one where x is positive.
  for (size_t d = 0; d < 8; ++d) {
    EXPECT_FLOAT_EQ(row(experts, 1)[d], row(other, 1)[d]);
    EXPECT_FLOAT_EQ(row(experts, 0)[d], row(full, 0)[d]);
  }

  WriteTables("clicks");
  const Tensor bags = with(Bags(), {}, x)[0];
  std::vector<float> zeros = RowValues(0, 8), ones = RowValues(1, 8);
  for (size_t d = 0; d < 8; ++d) {
    EXPECT_FLOAT_EQ(row(bags, 1)[d], 8 * zeros[d]);
    EXPECT_FLOAT_EQ(row(bags, 0)[d], 8 * ones[d]);
  }
}

TEST_F(SharePortalOpsTest, WhatIsCalledHasToBeThere) {
  const auto error = [&](const MakePortal& portal, const Attrs& attrs) {
    Sharing sharing;
    CalledModels called({{"", folder_.path()}});
    const std::unique_ptr<PortalOps> ops = NewLocalPortals();
    sharing.verify.called = &called;
    sharing.verify.ops = ops.get();
    sharing.Add("a", Product("", portal, 5, attrs)).Add("b", Product("b/", portal, 6, attrs));
    const auto proposal = sharing.Share();
    EXPECT_EQ(proposal.status().code(), absl::StatusCode::kFailedPrecondition) << proposal.status();
    return std::string(proposal.status().message());
  };
  const std::string none = Sha256("none").Hex();
  EXPECT_THAT(error(Cascade(), {String("digest", none)}),
              AllOf(HasSubstr("product 'a'"), HasSubstr("calls 'acme/full' of digest " + none.substr(0, 12)),
                    HasSubstr("--package acme/full=FOLDER")));
  EXPECT_THAT(error(Experts(), {Strings("digests", {digests_["acme/full"], none})}),
              AllOf(HasSubstr("calls 'acme/other' of digest"), HasSubstr("--package acme/other=FOLDER")));
  EXPECT_THAT(error(Bags(), {}), AllOf(HasSubstr("product 'a'"), HasSubstr("looks up in the tables of 'clicks'"),
                                       HasSubstr("got no folder of them"), HasSubstr("--package clicks=FOLDER")));
  folder_.Write("clicks/0of2/1/readme", "half of a group");
  EXPECT_THAT(error(Bags(), {}), AllOf(HasSubstr("'" + folder_.path() + "/clicks', where "), HasSubstr("1of2")));
}

/// A mark in place of an answer would make all comparisons equal.
TEST_F(SharePortalOpsTest, NothingStandsInForAnAnswer) {
  Layers strict;
  strict.model.Input("in", DType::kFloat, {3, 8}).Output("out", DType::kFloat, {3, 8});
  strict.model.Node("Identity", {strict.Dense("in", 8, 8, 3)}, {"out"});
  strict.model.WriteTo(folder_.File("acme/strict/1/model.onnx"));
  const std::string digest = ModelDigest(Load(strict.model))->Hex();
  const std::map<std::string, std::pair<MakePortal, Attrs>> portals = {
      {"Cascade", {Cascade(1e9f), {String("target", "acme/strict"), String("digest", digest)}}},
      // Its rows would go to the other one.
      {"Experts",
       {Experts(),
        {Strings("targets", {"acme/other", "acme/strict"}), Strings("digests", {digests_["acme/other"], digest})}}}};
  for (const auto& [op, portal] : portals) {
    SCOPED_TRACE(op);
    CalledModels called({{"", folder_.path()}});
    const std::unique_ptr<PortalOps> ops = NewLocalPortals();
    LocalMesh mesh({.optimize = false, .called = &called, .ops = ops.get()});
    Layers layers;
    const std::string answer = portal.first(layers, layers.Input("x", 8), portal.second);
    layers.Output(answer, 8);
    const Model model = Load(layers.model);
    const absl::Status added = mesh.Add("it", model, *ModelDigest(model));
    ASSERT_TRUE(added.ok()) << added;
    EXPECT_TRUE(mesh.Run({Numbers({3, 8}, 1)}).ok());
    EXPECT_THAT(std::string(mesh.Run({Numbers({5, 8}, 1)}).status().message()), HasSubstr("want float32[3,8]"));
    EXPECT_TRUE(mesh.Run({Numbers({3, 8}, 1)}).ok());
  }
}

TEST_F(SharePortalOpsTest, AShardOfTablesIsNoModel) {
  WriteTables("clicks");
  Sharing sharing;
  absl::StatusOr<Model> shard = Model::Load(folder_.path() + "/clicks/0of2/1/model.onnx", store_);
  ASSERT_TRUE(shard.ok()) << shard.status();
  sharing.Add("a", Product("", Bags(), 5)).Add("clicks.0of2", *std::move(shard));
  const auto proposal = sharing.Propose();
  EXPECT_EQ(proposal.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(proposal.status().message()),
              AllOf(HasSubstr("product 'clicks.0of2': got a shard of tables"), HasSubstr("'tables' of the mesh file")));
}

}  // namespace
}  // namespace portico
