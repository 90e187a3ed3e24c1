// Models as PyTorch (in both of its ways), TensorFlow, scikit-learn and JAX export them: exports/export.py.

#include <ostream>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/models/share/share_fixture.h"

namespace portico {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

struct Exports {
  const char* a;
  const char* b;
  size_t modules;
  uint64_t least_saved_bytes;
  /// Ops that stay in b.
  const char* kept;
};
void PrintTo(const Exports& exports, std::ostream* out) { *out << exports.a << " and " << exports.b; }

void Read(const char* a, const char* b, Sharing& sharing) {
  sharing.options.min_bytes = 512;
  for (const char* name : {a, b}) {
    absl::StatusOr<Model> model =
        Model::Load(absl::StrCat(PORTICO_SOURCE_DIR, "/tests/models/share/exports/", name, ".onnx"), sharing.store);
    PORTICO_CHECK(model.ok());
    sharing.Add(name, *std::move(model));
  }
}

class ShareExportsTest : public ::testing::TestWithParam<Exports> {};

TEST_P(ShareExportsTest, ShareTheirTrunk) {
  Sharing sharing;
  Read(GetParam().a, GetParam().b, sharing);
  const auto proposal = sharing.Share();
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  EXPECT_THAT(proposal->modules, SizeIs(GetParam().modules));
  uint64_t saved = 0;
  for (const SharedModule& module : proposal->modules) saved += module.saved_bytes;
  EXPECT_GE(saved, GetParam().least_saved_bytes);
  ASSERT_THAT(sharing.shared.products, SizeIs(2));
  std::string kept;
  for (const auto& [op, count] : Ops(sharing.shared.products[1].model.model)) {
    if (op != "Constant") absl::StrAppend(&kept, kept.empty() ? "" : " ", op, ":", count);
  }
  EXPECT_EQ(kept, GetParam().kept);
}

// Of PyTorch's trunk, 11 KiB; without what its optimiser rewrites, 10 KiB; of the towers, 4.5 and 3.8 KiB;
// of JAX's, 960 bytes and a few constants.
INSTANTIATE_TEST_SUITE_P(
    Pairs, ShareExportsTest,
    ::testing::Values(Exports{"traced_a", "traced_b", 1, 11000, "Concat:1 Div:1 Gemm:1 Remote:1 Sigmoid:1"},
                      Exports{"traced_a", "traced_again", 1, 11000, "BatchNormalization:1 Conv:1 Remote:1"},
                      Exports{"captured_a", "captured_b", 1, 11000, "Concat:1 Div:1 Gemm:1 Remote:1 Sigmoid:1"},
                      Exports{"captured_a", "captured_again", 1, 11000, "Remote:1"},
                      Exports{"keras_a", "keras_b", 1, 4900, "MatMul:1 Remote:1 Sigmoid:1"},
                      Exports{"towers_a", "towers_b", 2, 8000, "Concat:1 MatMul:1 Remote:2"},
                      Exports{"pipeline_a", "pipeline_b", 1, 2700, "LinearRegressor:1 Remote:1"},
                      Exports{"jax_a", "jax_b", 1, 980,
                              "Add:1 Concat:2 Div:1 Expand:1 Gather:2 Gemm:1 ReduceSum:1 Remote:1 Reshape:1 Shape:1 "
                              "Sigmoid:1"}));

TEST(ShareExportsOfTwoTest, ShareWhatAnOptimiserLeftAlone) {
  Sharing sharing;
  Read("captured_a", "captured_raw", sharing);
  const auto proposal = sharing.Share();
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  uint64_t saved = 0;
  for (const SharedModule& module : proposal->modules) saved += module.saved_bytes;
  EXPECT_GE(saved, 10000u);
}

TEST(ShareExportsOfTwoTest, HaveNothingInCommon) {
  for (const auto& [a, b] : {std::pair("keras_a", "captured_a"), std::pair("pipeline_a", "traced_b")}) {
    Sharing sharing;
    Read(a, b, sharing);
    const auto proposal = sharing.Share();
    ASSERT_TRUE(proposal.ok()) << proposal.status();
    EXPECT_THAT(proposal->modules, IsEmpty());
  }
}

}  // namespace
}  // namespace portico
