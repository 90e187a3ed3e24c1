#include "models/graph/embedding_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/graph/portal_spec.h"
#include "tests/models/graph/plan_runner.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::SizeIs;

/// What the tests' node says unless they say otherwise: users padded, pages csr with weights, words of strings.
Attrs Usual() {
  return {Strings("tables", {"users", "pages", "words"}),
          Ints("dims", {4, 8, 16}),
          Strings("poolings", {"mean", "sum", "none"}),
          Strings("forms", {"padded", "csr", "padded"}),
          Strings("id_kinds", {"dense", "sparse", "string"}),
          Ints("weighted", {0, 1, 0}),
          Strings("paddings", {"-1", "", "-"})};
}

/// A model that is one such node; `attrs` in place of those of the same name, empty ones left out.
ModelBuilder Bags(Attrs attrs = {}, DType ids = DType::kInt64, const ModelShape& shape = {"N", 3},
                  const std::string& users_shape = "N,4", std::vector<std::string> inputs = {}) {
  ModelBuilder model;
  model.Input("u", ids, shape)
      .Input("p", DType::kInt64, {"T"})
      .Input("o", DType::kInt32, {"B"})
      .Input("w", DType::kFloat, {"T"})
      .Input("s", DType::kString, {"N"});
  for (const char* output : {"users", "pages", "words"}) {
    model.Output(output, DType::kFloat, {"?", "?"});
  }
  for (onnx::AttributeProto& attr : Usual()) {
    bool said = false;
    for (const onnx::AttributeProto& have : attrs) said |= have.name() == attr.name();
    if (!said) attrs.push_back(std::move(attr));
  }
  if (inputs.empty()) inputs = {"u", "p", "o", "w", "s"};
  model.Portal("EmbeddingBag", "clicks", inputs, {"users", "pages", "words"},
               {DType::kFloat, DType::kFloat, DType::kFloat}, {users_shape, "B,8", "N,16"}, std::move(attrs));
  return model;
}

/// Empty where it can be read.
std::string ErrorOf(const ModelBuilder& model) {
  const auto plan = PartitionBuilt(model);
  if (plan.ok()) return "";
  EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(plan.status().message());
}

TEST(EmbeddingSpecTest, AllAttributesAreRead) {
  const auto plan = PartitionBuilt(Bags({Int("include_last_offset", 1)}));
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_THAT(plan->steps, SizeIs(1));
  const PortalSpec& portal = *plan->steps[0].portal;
  ASSERT_TRUE(portal.embedding.has_value());
  EXPECT_EQ(portal.signature, "lookup");
  const EmbeddingSpec& spec = *portal.embedding;
  EXPECT_TRUE(spec.include_last_offset);
  EXPECT_EQ(spec.inputs, 5);
  ASSERT_THAT(spec.lookups, SizeIs(3));
  const auto& [users, pages, words] = std::tie(spec.lookups[0], spec.lookups[1], spec.lookups[2]);
  EXPECT_EQ(users.table, "users");
  EXPECT_EQ(users.dim, 4u);
  EXPECT_EQ(users.pooling, Pooling::kMean);
  EXPECT_EQ(users.id_kind, IdKind::kDense);
  EXPECT_EQ(users.padding, -1);
  EXPECT_EQ(users.ids, 0);
  EXPECT_EQ(users.offsets, -1);
  EXPECT_EQ(users.weights, -1);
  EXPECT_TRUE(pages.csr);
  EXPECT_TRUE(pages.weighted);
  EXPECT_EQ(pages.id_kind, IdKind::kSparse);
  EXPECT_FALSE(pages.padding.has_value());
  EXPECT_EQ(pages.ids, 1);
  EXPECT_EQ(pages.offsets, 2);
  EXPECT_EQ(pages.weights, 3);
  EXPECT_EQ(words.pooling, Pooling::kNone);
  EXPECT_EQ(words.id_kind, IdKind::kString);
  EXPECT_TRUE(words.empty_is_padding);
  EXPECT_EQ(words.ids, 4);
  ASSERT_THAT(PortalTargets(portal), SizeIs(1));
  EXPECT_EQ(PortalTargets(portal)[0].name, "clicks");
}

TEST(EmbeddingSpecTest, WhatIsAbsentIsNotWeightedAndHasNoPadding) {
  ModelBuilder model;
  model.Input("u", DType::kInt32, {"N"}).Output("y", DType::kFloat, {"N", 2});
  model.Portal("EmbeddingBag", "clicks", {"u"}, {"y"}, {DType::kFloat}, {"N,2"},
               {Strings("tables", {"users"}), Ints("dims", {2}), Strings("poolings", {"sum"}),
                Strings("forms", {"padded"}), Strings("id_kinds", {"dense"})});
  const auto plan = PartitionBuilt(model);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const EmbeddingSpec& spec = *plan->steps[0].portal->embedding;
  EXPECT_FALSE(spec.lookups[0].weighted);
  EXPECT_FALSE(spec.lookups[0].padding.has_value());
  EXPECT_FALSE(spec.include_last_offset);
}

TEST(EmbeddingSpecTest, WhatDoesNotFitIsRefusedByName) {
  EXPECT_EQ(ErrorOf(Bags()), "");
  EXPECT_THAT(ErrorOf(Bags({Strings("tables", {"users"})})), HasSubstr("'tables': got 1 entries, want 3"));
  EXPECT_THAT(ErrorOf(Bags({Strings("tables", {"users", "", "words"})})), HasSubstr("lookup 1: attribute 'tables'"));
  EXPECT_THAT(ErrorOf(Bags({Ints("dims", {4, 0, 16})})), HasSubstr("'dims' at 1: got 0, want 1 to 16384"));
  EXPECT_THAT(ErrorOf(Bags({Strings("poolings", {"mean", "max", "none"})})), HasSubstr("'poolings' at 1: got 'max'"));
  EXPECT_THAT(ErrorOf(Bags({Strings("forms", {"padded", "coo", "padded"})})), HasSubstr("'forms' at 1: got 'coo'"));
  EXPECT_THAT(ErrorOf(Bags({Strings("forms", {"padded", "csr", "csr"})})), HasSubstr("got csr without pooling"));
  EXPECT_THAT(ErrorOf(Bags({Strings("id_kinds", {"dense", "hash", "string"})})), HasSubstr("'id_kinds' at 1"));
  EXPECT_THAT(ErrorOf(Bags({Ints("weighted", {1, 1, 0})})), HasSubstr("weights with mean"));
  EXPECT_THAT(ErrorOf(Bags({Ints("weighted", {0, 2, 0})})), HasSubstr("'weighted' at 1: got 2, want 0 or 1"));
  EXPECT_THAT(ErrorOf(Bags({Strings("paddings", {"none", "", "-"})})), HasSubstr("'paddings' at 0: got 'none'"));
  EXPECT_THAT(ErrorOf(Bags({Strings("paddings", {"", "", "x"})})), HasSubstr("'paddings' at 2: got 'x'"));
  EXPECT_THAT(ErrorOf(Bags({Ints("weighted", {0, 0, 0})})), HasSubstr("got 5 inputs, want 4"));
  EXPECT_THAT(ErrorOf(Bags({String("digest", std::string(64, 'a'))})), HasSubstr("attribute 'digest'"));
}

TEST(EmbeddingSpecTest, TypesAreCheckedWhereTheyAreKnown) {
  EXPECT_EQ(ErrorOf(Bags({}, DType::kInt32, {"N", 7, 3})), "");
  EXPECT_THAT(ErrorOf(Bags({}, DType::kFloat)),
              AllOf(HasSubstr("the ids of table 'users'"), HasSubstr("want int64 or int32")));
  EXPECT_THAT(ErrorOf(Bags({}, DType::kInt64, {})), HasSubstr("want an axis that is the bag"));
  EXPECT_THAT(ErrorOf(Bags({}, DType::kInt64, {"N", 3}, "N,5")),
              AllOf(HasSubstr("output 'users' of table 'users'"), HasSubstr("want float32[...,4]")));
  EXPECT_THAT(ErrorOf(Bags({}, DType::kInt64, {"N", 3}, "N,4", {"u", "p", "u", "w", "s"})),
              AllOf(HasSubstr("the offsets of table 'pages'"), HasSubstr("want int64 or int32[N]")));
  EXPECT_THAT(ErrorOf(Bags({}, DType::kInt64, {"N", 3}, "N,4", {"u", "p", "o", "p", "s"})),
              HasSubstr("the weights of table 'pages'"));
  EXPECT_THAT(ErrorOf(Bags({}, DType::kInt64, {"N", 3}, "N,4", {"u", "p", "o", "w", "p"})),
              AllOf(HasSubstr("the ids of table 'words'"), HasSubstr("want string")));
}

}  // namespace
}  // namespace portico
