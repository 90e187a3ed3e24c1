#include "models/split/embedding_verify.h"

#include <memory>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/models/split/embedding_fixture.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

/// Sums of three rows of two tables.
ModelBuilder TwoSums() {
  ModelBuilder model;
  model.Input("a", DType::kInt64, {"N", 3})
      .Input("b", DType::kInt64, {"N", 3})
      .Initializer("first", TableValues(30, 8))
      .Initializer("second", TableValues(30, 8, 5))
      .Initializer("bag", Tensor::Of<int64_t>({1}, {1}))
      .Node("Gather", {"first", "a"}, {"a_rows"})
      .Node("Gather", {"second", "b"}, {"b_rows"})
      .Node("ReduceSum", {"a_rows", "bag"}, {"a_sum"}, {Int("keepdims", 0)})
      .Node("ReduceSum", {"b_rows", "bag"}, {"b_sum"}, {Int("keepdims", 0)})
      .Node("Concat", {"a_sum", "b_sum"}, {"y"}, {Int("axis", 1)})
      .Output("y", DType::kFloat, {"N", 16});
  return model;
}

class EmbeddingVerifyTest : public ::testing::Test {
 protected:
  EmbeddingVerifyTest() : rewriting_(TwoSums()) { EXPECT_TRUE(rewriting_.status.ok()) << rewriting_.status; }

  /// The rewritten model with its portal's attribute changed.
  Model With(absl::string_view attribute, const std::vector<std::string>& values) {
    auto proto = std::make_unique<onnx::ModelProto>(rewriting_.rewritten->proto());
    for (auto& node : *proto->mutable_graph()->mutable_node()) {
      for (auto& entry : *node.mutable_attribute()) {
        if (entry.name() != attribute) continue;
        entry.clear_strings();
        for (const std::string& value : values) entry.add_strings(value);
      }
    }
    auto model = Model::WithWeightsOf(*rewriting_.rewritten, std::move(proto));
    PORTICO_CHECK(model.ok());
    return *std::move(model);
  }
  absl::Status Check(const Model& model, const VerifyOptions& options = {}) {
    auto verifier = EmbeddingVerifier::Create(*rewriting_.model, *rewriting_.lookups, options);
    if (!verifier.ok()) return verifier.status();
    return (*verifier)->CheckRewriting(model);
  }

  EmbeddingRewriting rewriting_;
};

TEST_F(EmbeddingVerifyTest, FindsWhatAPortalSaysOtherwise) {
  EXPECT_TRUE(Check(*rewriting_.rewritten).ok());
  const absl::Status pooled = Check(With("poolings", {"sum", "mean"}));
  EXPECT_EQ(pooled.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(pooled.message(), HasSubstr("verification with generated inputs of 1 rows: output 'y'"));
  EXPECT_THAT(Check(With("tables", {"second", "first"})).message(), HasSubstr("output 'y'"));
  // Generated ids need not have the one that would be left out.
  VerifyOptions with_zero;
  with_zero.samples = {{"zero", {Tensor::Of<int64_t>({1, 3}, {0, 1, 2}), Tensor::Of<int64_t>({1, 3}, {0, 1, 2})}}};
  EXPECT_THAT(Check(With("paddings", {"0", ""}), with_zero).message(), HasSubstr("output 'y'"));
  EXPECT_THAT(Check(With("tables", {"first", "third"})).message(), HasSubstr("table 'third': not in shard 0 of 1"));
}

TEST_F(EmbeddingVerifyTest, IdsThatCountFromTheEndAreRefusedByTables) {
  VerifyOptions options;
  options.samples = {{"recorded", {Tensor::Of<int64_t>({1, 3}, {0, -1, 2}), Tensor::Of<int64_t>({1, 3}, {0, 1, 2})}}};
  EXPECT_THAT(Check(*rewriting_.rewritten, options).message(),
              HasSubstr("the split model fails where the original does not: portal 'group': table 'first': got id -1"));
}

TEST_F(EmbeddingVerifyTest, AsksForSamplesWhereTheOriginalRefusesAll) {
  VerifyOptions options;
  options.samples = {{"too large", {Tensor::Of<int64_t>({1, 3}, {0, 30, 2}), Tensor::Of<int64_t>({1, 3}, {0, 1, 2})}}};
  EXPECT_THAT(Check(*rewriting_.rewritten, options).message(),
              HasSubstr("give recorded ones with --samples; too large"));
}

}  // namespace
}  // namespace portico
