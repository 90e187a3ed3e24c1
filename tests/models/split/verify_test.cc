#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/split/split.h"
#include "tests/models/split/split_fixture.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string ErrorOf(const Model& original, const std::vector<SplitModel>& split, const VerifyOptions& options = {}) {
  const auto report = VerifySplit(original, split, options);
  EXPECT_EQ(report.status().code(), absl::StatusCode::kFailedPrecondition);
  return std::string(report.status().message());
}

TEST(VerifyTest, RunsARoundForEachNumberOfRows) {
  Splitting split;
  const Model model = split.Load(DigitsLike());
  const auto result = split(model, {Part("encoder", {}, {"features"})});
  ASSERT_TRUE(result.ok()) << result.status();
  const auto report = VerifySplit(model, *result, {});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->rounds, 3);
  EXPECT_TRUE(report->skipped.empty());
  EXPECT_GE(report->optimized_max_difference, 0);
  EXPECT_LT(report->optimized_max_difference, 1e-4);
}

TEST(VerifyTest, FindsAPartWithOtherWeights) {
  Splitting split;
  const Model model = split.Load(DigitsLike());
  const auto corrupted = split(DigitsLike(/*first_weight=*/0.75f), {Part("encoder", {}, {"features"})});
  ASSERT_TRUE(corrupted.ok()) << corrupted.status();
  EXPECT_THAT(ErrorOf(model, *corrupted),
              AllOf(HasSubstr("verification with generated inputs of 1 rows"), HasSubstr("output 'probabilities'")));
}

TEST(VerifyTest, FindsAPartThatIsNotTheOneThePortalWasCutFor) {
  Splitting split;
  const Model model = split.Load(DigitsLike());
  auto result = split(model, {Part("encoder", {}, {"features"})});
  auto other = split(DigitsLike(0.75f), {Part("encoder", {}, {"features"})});
  ASSERT_TRUE(result.ok() && other.ok());
  std::swap((*result)[1], (*other)[1]);
  EXPECT_THAT(ErrorOf(model, *result), AllOf(HasSubstr("model 'product'"), HasSubstr("got digest")));
}

TEST(VerifyTest, FindsADigestThatIsNotThatOfTheModel) {
  Splitting split;
  const Model model = split.Load(DigitsLike());
  auto result = split(model, {Part("encoder", {}, {"features"})});
  ASSERT_TRUE(result.ok());
  (*result)[1].digest = Sha256("something else");
  EXPECT_THAT(ErrorOf(model, *result), AllOf(HasSubstr("model 'encoder'"), HasSubstr("digest: got")));
}

TEST(VerifyTest, FindsThatAPartIsMissing) {
  Splitting split;
  const Model model = split.Load(DigitsLike());
  auto result = split(model, {Part("encoder", {}, {"features"})});
  ASSERT_TRUE(result.ok());
  result->pop_back();
  EXPECT_THAT(ErrorOf(model, *result), HasSubstr("target 'encoder', which is none of the parts"));
}

/// Fails for every number of rows that is not the reshape's.
ModelBuilder TakesOnlyThreeRows() {
  ModelBuilder builder;
  builder.Input("x", DType::kFloat, {"N", 2})
      .Output("y", DType::kFloat, {3, 2})
      .Initializer("shape", Tensor::Of<int64_t>({2}, {3, 2}))
      .Node("Relu", {"x"}, {"a"})
      .Node("Reshape", {"a", "shape"}, {"b"})
      .Node("Neg", {"b"}, {"y"});
  return builder;
}

TEST(VerifyTest, AsksForSamplesWhereTheOriginalRefusesAllGeneratedInputs) {
  Splitting split;
  const Model model = split.Load(TakesOnlyThreeRows());
  const auto result = split(model, {Part("part", {}, {"a"})});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(ErrorOf(model, *result), HasSubstr("--samples"));

  VerifyOptions options;
  options.samples = {{"recorded", {Weights({3, 2}, -1)}}, {"bad", {Weights({4, 2}, -1)}}};
  const auto report = VerifySplit(model, *result, options);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->rounds, 1);
  ASSERT_EQ(report->skipped.size(), 1u);
  EXPECT_THAT(report->skipped[0], HasSubstr("bad: "));
}

TEST(VerifyTest, ComparesModelsThatLookUpIds) {
  Splitting split;
  ModelBuilder builder;
  builder.Input("ids", DType::kInt64, {"N", "L"})
      .Output("y", DType::kFloat, {"N", "L", 2})
      .Initializer("table", Weights({2, 2}, -1))
      .Node("Gather", {"table", "ids"}, {"e"})
      .Node("Tanh", {"e"}, {"y"});
  const Model model = split.Load(builder);
  const auto result = split(model, {Part("part", {}, {"e"})});
  ASSERT_TRUE(result.ok()) << result.status();
  const auto report = VerifySplit(model, *result, {});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->rounds, 3);
}

}  // namespace
}  // namespace portico
