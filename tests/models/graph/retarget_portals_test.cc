#include "models/graph/retarget_portals.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/graph/portal_spec.h"
#include "onnx/onnx_pb.h"
#include "tests/testing/model_builder.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const Digest kOne = Sha256("one"), kTwo = Sha256("two"), kOther = Sha256("other");

class RetargetPortalsTest : public ::testing::Test {
 protected:
  /// x → portal to acme/encoder (kOne) → h → portal to `second` → y.
  Model Chain(const std::string& second, const std::string& digest) {
    ModelBuilder model;
    model.Input("x", DType::kFloat, {"N", 4}).Output("y", DType::kFloat, {"N", 4});
    model.Portal("Remote", "acme/encoder", {"x"}, {"h"}, {DType::kFloat}, {"N,4"},
                 {String("digest", kOne.Hex()), Strings("input_names", {"x"}), Strings("output_names", {"y"})});
    model.Initializer("w", Tensor::Of<float>({1}, {2})).Node("Mul", {"h", "w"}, {"scaled"});
    std::vector<onnx::AttributeProto> attrs = {Strings("input_names", {"x"}), Strings("output_names", {"y"})};
    if (!digest.empty()) attrs.push_back(String("digest", digest));
    model.Portal("Remote", second, {"scaled"}, {"y"}, {DType::kFloat}, {"N,4"}, attrs);
    return Load(model);
  }
  Model Load(const ModelBuilder& builder) {
    auto model = Model::FromProto(builder.Build(), "", store_);
    PORTICO_CHECK(model.ok());
    return *std::move(model);
  }
  /// "name#digest" of each target, in the graph's order.
  static std::vector<std::string> Targets(const Model& model) {
    std::vector<std::string> targets;
    for (const auto& node : model.proto().graph().node()) {
      if (node.domain() != kPorticoDomain) continue;
      const auto spec = ReadPortalSpec(node);
      PORTICO_CHECK(spec.ok());
      for (const PortalTarget& target : PortalTargets(*spec)) {
        targets.push_back(absl::StrCat(target.name, "#", target.digest.empty() ? "" : target.digest.Short()));
      }
    }
    return targets;
  }

  WeightStore store_;
};

TEST_F(RetargetPortalsTest, MovesPortalsWithTheDigestAndNoOthers) {
  const Model before = Chain("acme/other", kOther.Hex());
  const auto after = RetargetPortals(before, {"acme/encoder", kOne}, {"acme/encoder", kTwo});
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_THAT(Targets(after->model), ElementsAre("acme/encoder#" + kTwo.Short(), "acme/other#" + kOther.Short()));
  EXPECT_THAT(Targets(before), ElementsAre("acme/encoder#" + kOne.Short(), "acme/other#" + kOther.Short()));
  EXPECT_THAT(after->portals, ElementsAre("h"));
  EXPECT_EQ(after->model.initializers().at("w").tensor.bytes().data(),
            before.initializers().at("w").tensor.bytes().data());
}

TEST_F(RetargetPortalsTest, ADigestCountsMoreThanANameAndANameAloneIsPinned) {
  // Two portals: one calls the digest under another name, one the name without a digest.
  const auto by_digest = RetargetPortals(Chain("hub/part", kOther.Hex()), {"acme/x", kOther}, {"acme/x", kTwo});
  ASSERT_TRUE(by_digest.ok()) << by_digest.status();
  EXPECT_THAT(Targets(by_digest->model), ElementsAre("acme/encoder#" + kOne.Short(), "acme/x#" + kTwo.Short()));
  const auto by_name = RetargetPortals(Chain("acme/x", ""), {"acme/x", kOther}, {"acme/x", kTwo});
  ASSERT_TRUE(by_name.ok()) << by_name.status();
  EXPECT_TRUE(by_name->by_name);
  EXPECT_FALSE(by_digest->by_name);
  EXPECT_THAT(Targets(by_name->model), ElementsAre("acme/encoder#" + kOne.Short(), "acme/x#" + kTwo.Short()));
}

TEST_F(RetargetPortalsTest, MovesExperts) {
  ModelBuilder model;
  model.Input("gate", DType::kFloat, {"N", 2}).Input("x", DType::kFloat, {"N", 4}).Output("y", DType::kFloat, {"N", 2});
  model.Portal(
      "Experts", "", {"gate", "x"}, {"y"}, {DType::kFloat}, {"N,2"},
      {Strings("targets", {"a", "b"}), Strings("digests", {kOne.Hex(), kOther.Hex()}), Strings("input_names", {"x"})});
  const Model experts = Load(model);
  const auto after = RetargetPortals(experts, {"b", kOther}, {"acme/b", kTwo});
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_THAT(Targets(after->model), ElementsAre("a#" + kOne.Short(), "acme/b#" + kTwo.Short()));
  const auto twice = RetargetPortals(experts, {"b", kOther}, {"a", kOne});
  EXPECT_EQ(twice.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(twice.status().message(), HasSubstr("want each expert once"));
}

TEST_F(RetargetPortalsTest, SaysWhatIsCalledWhereTheModuleIsNot) {
  const auto none = RetargetPortals(Chain("acme/other", ""), {"acme/encoder", kTwo}, {"acme/encoder", kOther});
  EXPECT_EQ(none.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(none.status().message(),
              AllOf(HasSubstr("got no portal that calls 'acme/encoder' digest " + kTwo.Short()),
                    HasSubstr("its portals call 'acme/encoder' digest " + kOne.Short() + ", 'acme/other'")));
  ModelBuilder plain;
  plain.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"}).Node("Relu", {"x"}, {"y"});
  EXPECT_THAT(RetargetPortals(Load(plain), {"a", kOne}, {"a", kTwo}).status().message(), HasSubstr("no portals"));
}

}  // namespace
}  // namespace portico
