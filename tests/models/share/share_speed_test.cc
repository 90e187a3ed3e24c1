// Large graphs, and graphs that repeat themselves: time has to stay about linear.

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/models/share/share_fixture.h"
#include "tests/testing/memory.h"

namespace portico {
namespace {

using ::testing::SizeIs;

/// Far above what it takes (a tenth of that without sanitizers), far below what quadratic time would.
constexpr absl::Duration kLong = absl::Seconds(kSanitized ? 120 : 30);

/// Residual blocks of five nodes.
Layers Deep(const std::string& prefix, int blocks, bool same_weights, float head) {
  Layers layers(prefix);
  std::string x = layers.Input("x", 4);
  const std::string same = layers.Weight(Numbers({4, 4}, 0.01f));
  for (int i = 0; i < blocks; ++i) {
    const std::string w = same_weights ? same : layers.Weight(Numbers({4, 4}, 0.001f * static_cast<float>(i)));
    const std::string h = layers.Op("Tanh", {layers.Op("MatMul", {x, w})});
    x = layers.Op("Mul", {layers.Op("Add", {layers.Op("Neg", {h}), x}), h});
  }
  layers.Output(layers.Dense(x, 4, 4, head), 4);
  return layers;
}

TEST(ShareSpeedTest, TenThousandNodes) {
  Sharing sharing;
  sharing.Add("a", Deep("", 2000, false, 5).model).Add("b", Deep("b/", 2000, false, 6).model);
  const absl::Time start = absl::Now();
  const auto proposal = sharing.Propose();
  const absl::Duration took = absl::Now() - start;
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  ASSERT_THAT(proposal->modules, SizeIs(1));
  EXPECT_EQ(proposal->modules[0].nodes, 10000);
  EXPECT_LT(took, kLong);
  RecordProperty("milliseconds", static_cast<int>(absl::ToInt64Milliseconds(took)));
}

TEST(ShareSpeedTest, TenThousandNodesThatAreAllAlike) {
  Sharing sharing;
  sharing.options.min_bytes = 1;
  sharing.Add("a", Deep("", 2000, true, 5).model).Add("b", Deep("b/", 2000, true, 6).model);
  const absl::Time start = absl::Now();
  const auto proposal = sharing.Propose();
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  EXPECT_LT(absl::Now() - start, kLong);
  ASSERT_THAT(proposal->modules, SizeIs(1));
  EXPECT_EQ(proposal->modules[0].nodes, 10000);
}

/// Each layer of the one is a layer of the other, in the opposite order: thousands of places where something begins.
TEST(ShareSpeedTest, LayersInOppositeOrder) {
  const auto build = [](const std::string& prefix, bool backwards) {
    Layers layers(prefix);
    std::string x = layers.Input("x", 4);
    constexpr int kCount = 1500;
    for (int i = 0; i < kCount; ++i) {
      const float seed = 0.001f * static_cast<float>(backwards ? kCount - i : i + 1);
      x = layers.Op("Tanh", {layers.Op("MatMul", {x, layers.Weight(Numbers({4, 4}, seed))})});
    }
    layers.Output(x, 4);
    return layers;
  };
  Sharing sharing;
  sharing.Add("a", build("", false).model).Add("b", build("b/", true).model);
  const absl::Time start = absl::Now();
  const auto proposal = sharing.Propose();
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  EXPECT_LT(absl::Now() - start, kLong);
}

}  // namespace
}  // namespace portico
