#include "deploy/mesh_traffic.h"

#include <filesystem>

#include "deploy/mesh.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/deploy/mesh_fixture.h"
#include "tests/testing/version_model.h"

namespace portico {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

/// Models `m` (versions 1 to 3 served, 2 is labelled `canary`) and `other` at node `n`, `far` at another one.
class MeshTrafficTest : public ::testing::Test {
 protected:
  MeshTrafficTest() {
    for (const int64_t version : {1, 2, 3}) PublishVersion(VersionModel(version), folder_.File("m"), version);
    PublishVersion(VersionModel(4), folder_.File("other"), 4);
    PublishVersion(VersionModel(5), folder_.File("far"), 5);
  }

  absl::StatusOr<TrafficSplit> Read(absl::string_view split) {
    const auto mesh = ReadMeshFile(folder_.WriteMesh(
        absl::StrCat("mesh: t\nmodels:\n  m: {path: m, versions: all, labels: {canary: 2}}\n  other: {path: other}\n"
                     "  far: {path: far}\nnodes:\n  n: {serve: [m, other]}\n  f: {serve: [far]}\ntraffic:\n  m: ",
                     split, "\n")));
    if (!mesh.ok()) return mesh.status();
    return mesh->revision.traffic.at("m");
  }
  std::string ErrorOf(absl::string_view split) {
    const auto read = Read(split);
    EXPECT_TRUE(absl::IsInvalidArgument(read.status())) << split;
    const std::string message(read.status().message());
    EXPECT_THAT(message, StartsWith(folder_.path() + "/mesh.yaml:10: traffic 'm': ")) << split;
    return message;
  }

  MeshFolder folder_;
};

TEST_F(MeshTrafficTest, ArmsAreVersionsLabelsAndModels) {
  const auto split = Read("{split: {1: 90, canary: 7.5, other: 2.5}, by: tenant}");
  ASSERT_TRUE(split.ok()) << split.status();
  EXPECT_EQ(split->by, TrafficSplit::By::kTenant);
  ASSERT_EQ(split->arms.size(), 3u);
  EXPECT_EQ(split->arms[0].target, (TrafficSplit::Target{"1", "m", 1}));
  EXPECT_EQ(split->arms[1].target, (TrafficSplit::Target{"canary", "m", 2}));
  EXPECT_EQ(split->arms[2].target, (TrafficSplit::Target{"other", "other", 4}));
  EXPECT_EQ(split->arms[2].weight, 2.5);
}

/// y = relu(x) of `width` columns, under another name where asked for.
ModelBuilder Relu(DType dtype, int64_t width, const char* output = "y") {
  ModelBuilder model;
  model.Input("x", dtype, {"N", width}).Output(output, dtype, {"N", width}).Node("Relu", {"x"}, {output});
  return model;
}

class ArmSignaturesTest : public ::testing::Test {
 protected:
  /// Of a mesh whose model has version 1, y float32[N,2], and this one for version 2.
  std::string ErrorOf(const ModelBuilder& second, absl::string_view split) {
    for (const auto& [version, model] : {std::pair(1, Relu(DType::kFloat, 2)), {2, second}}) {
      std::filesystem::remove_all(folder_.File(absl::StrCat("m/", version)));
      PublishVersion(model, folder_.File("m"), version);
    }
    const auto mesh = ReadMeshFile(folder_.WriteMesh(
        absl::StrCat("mesh: t\nmodels: {m: {path: m, versions: all}}\nnodes: {n: {serve: [m]}}\ntraffic:\n  m:\n    ",
                     split, "\n")));
    if (mesh.ok()) return "";
    EXPECT_TRUE(absl::IsInvalidArgument(mesh.status()));
    return std::string(mesh.status().message()).substr(folder_.path().size() + 1);
  }

  MeshFolder folder_;
};

TEST_F(ArmSignaturesTest, AnArmThatRequestsForTheOthersDoNotSuitIsAnErrorAtItsLine) {
  EXPECT_EQ(ErrorOf(Relu(DType::kFloat, 3), "split:\n      1: 90\n      2: 10"),
            "mesh.yaml:8: traffic 'm': arm '2': signature 'serving_default': input 'x': got float32[N,3], want "
            "float32[N,2] as in arm '1'; requests for 'm' have to suit every arm");
  EXPECT_THAT(ErrorOf(Relu(DType::kDouble, 2), "split: {2: 10, 1: 90}"),
              HasSubstr("mesh.yaml:6: traffic 'm': arm '2': signature 'serving_default': input 'x': got float64[N,2]"));
  EXPECT_THAT(ErrorOf(Relu(DType::kFloat, 2, "z"), "split: {1: 100}\n    ramp: {to: 2, steps: [1, 100]}"),
              HasSubstr("mesh.yaml:7: traffic 'm': arm '2': signature 'serving_default': output 'y': got none"));
}

TEST_F(ArmSignaturesTest, WhatTakesMoreSuits) {
  ModelBuilder wider;
  wider.Input("x", DType::kFloat, {"N", "W"}).Output("y", DType::kFloat, {"N", "W"}).Node("Relu", {"x"}, {"y"});
  EXPECT_EQ(ErrorOf(wider, "split: {1: 90, 2: 10}"), "");
  EXPECT_THAT(ErrorOf(wider, "split: {1: 10, 2: 90}"),
              HasSubstr("arm '1': signature 'serving_default': input 'x': got float32[N,2], want float32[N,W]"));
}

TEST_F(MeshTrafficTest, ShadowAloneCopiesWhatTheDefaultVersionAnswers) {
  const auto split = Read("{shadow: {to: far, percent: 10, max_in_flight: 4, timeout: 50ms, tolerance: 0.1}}");
  ASSERT_TRUE(split.ok()) << split.status();
  ASSERT_EQ(split->arms.size(), 1u);
  EXPECT_EQ(split->arms[0].target.version, 3);
  EXPECT_EQ(split->shadow->to, (TrafficSplit::Target{"far", "far", 5}));
  EXPECT_EQ(split->shadow->timeout, absl::Milliseconds(50));
  EXPECT_FALSE(split->ramp.has_value());
}

TEST_F(MeshTrafficTest, RampBeginsAtItsFirstStepAndOneVersionHasOneName) {
  const auto split = Read(
      "{split: {1: 100, 2: 0}, shadow: {to: canary}, ramp: {to: canary, steps: [5, 100], every: 1m, "
      "rollback: {disagreement_percent: 2}}}");
  ASSERT_TRUE(split.ok()) << split.status();
  EXPECT_EQ(split->ramp->to.name, "2");
  EXPECT_EQ(split->shadow->to.name, "2");
  EXPECT_EQ(split->ramp->error_percent, 1);
  EXPECT_EQ(split->ramp->disagreement_percent, 2);
  EXPECT_DOUBLE_EQ(PercentOf(*split, "2"), 5);
  EXPECT_DOUBLE_EQ(PercentOf(*split, "1"), 95);
}

TEST_F(MeshTrafficTest, WhatIsWrongIsRefusedWhereItStands) {
  EXPECT_THAT(ErrorOf("{split: {9: 1}}"),
              HasSubstr("split: got '9' for version 9 of 'm', which is not served, want one "
                        "of 1, 2, 3; add it to 'versions'"));
  EXPECT_THAT(ErrorOf("{split: {moon: 1}}"), HasSubstr("split: got 'moon', want a version of 'm' that is served"));
  EXPECT_THAT(ErrorOf("{split: {1: 50, far: 50}}"), HasSubstr("got 'far', which node 'n' does not serve"));
  EXPECT_THAT(ErrorOf("{split: {1: 0}}"), HasSubstr("one of them with a weight above 0"));
  EXPECT_THAT(ErrorOf("{split: {1: -1}}"), HasSubstr("got '-1', want a number from 0 to"));
  EXPECT_THAT(ErrorOf("{split: {2: 1, canary: 1}}"), HasSubstr("which another arm means too"));
  EXPECT_THAT(ErrorOf("{by: moon}"), HasSubstr("by: got 'moon', want key, tenant or random"));
  EXPECT_THAT(ErrorOf("{shadow: {percent: 1}}"), HasSubstr("shadow: got no 'to'"));
  EXPECT_THAT(ErrorOf("{shadow: {to: 1, percent: 101}}"), HasSubstr("percent: got '101'"));
  EXPECT_THAT(ErrorOf("{shadow: {to: 1, timeout: 0s}}"), HasSubstr("timeout: got 0"));
  EXPECT_THAT(ErrorOf("{split: {1: 1}, ramp: {to: 2}}"), HasSubstr("ramp: got no 'steps'"));
  EXPECT_THAT(ErrorOf("{split: {1: 1}, ramp: {to: 2, steps: [5, 5]}}"),
              HasSubstr("steps: got 5, want percents that rise"));
  EXPECT_THAT(ErrorOf("{ramp: {to: 3, steps: [5]}}"), HasSubstr("got no arm with a weight besides '3'"));
  EXPECT_THAT(ErrorOf("{split: {1: 1}, ramp: {to: 2, steps: [5], rollback: {disagreement_percent: 1}}}"),
              HasSubstr("got no shadow that goes to '2'"));
}

TEST_F(MeshTrafficTest, RampGoesOnWhereItIsUntilItIsAnotherOne) {
  const std::string text = "{split: {1: 100}, ramp: {to: 2, steps: [5, 50, 100]}}";
  Revision from, to;
  from.traffic["m"] = to.traffic["m"] = *Read(text);
  from.traffic["m"].ramp->step = 1;
  CarryRamps(from, &to);
  EXPECT_EQ(to.traffic["m"].ramp->step, 1u);
  EXPECT_DOUBLE_EQ(PercentOf(to.traffic["m"], "2"), 50);
  from.traffic["m"].ramp->state = TrafficSplit::Ramp::State::kRolledBack;
  CarryRamps(from, &to);
  EXPECT_DOUBLE_EQ(PercentOf(to.traffic["m"], "2"), 0);
  to.traffic["m"] = *Read("{split: {1: 100}, ramp: {to: 3, steps: [5, 50, 100]}}");
  CarryRamps(from, &to);
  EXPECT_DOUBLE_EQ(PercentOf(to.traffic["m"], "3"), 5);
}

}  // namespace
}  // namespace portico
