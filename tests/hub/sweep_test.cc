#include "hub/sweep.h"

#include <filesystem>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/hub/hub_folder.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Manifest Module(const std::string& handle, std::vector<PortalTarget> portals = {}) {
  Manifest manifest;
  manifest.handle = *ParseHandle(handle);
  manifest.digest = Sha256(handle);
  manifest.files = {{"model.onnx", 10, Digest()}};
  manifest.portals = std::move(portals);
  return manifest;
}

std::vector<std::string> Removed(const SweepPlan& plan) {
  std::vector<std::string> handles;
  for (const Manifest& module : plan.removed) handles.push_back(module.handle.ToString());
  return handles;
}

TEST(SweepTest, WhatIsPinnedByHandleOrDigestStaysWithWhatItCalls) {
  const std::vector<Manifest> modules = {Module("a/m/1"),
                                         Module("a/m/2"),
                                         Module("a/m/3", {{"a/inner", Sha256("a/inner/1")}}),
                                         Module("a/inner/1"),
                                         Module("a/inner/2"),
                                         Module("a/any/1"),
                                         Module("b/any/2", {{"a/any", Digest()}})};
  ModulePins pins;
  pins.handles[*ParseHandle("a/m/3")] = {"model 'digit'"};
  pins.digests[Sha256("a/m/1")] = {"model 'parity'"};
  pins.digests[Sha256("b/any/2")] = {"x"};
  const auto plan = PlanSweep(modules, pins, {});
  ASSERT_TRUE(plan.ok());
  EXPECT_THAT(Removed(*plan), ElementsAre("a/m/2", "a/inner/2"));
  EXPECT_EQ(plan->removed_bytes(), 20u);
  ASSERT_EQ(plan->kept.size(), 5u);
  EXPECT_THAT(plan->kept[0].users, ElementsAre("model 'parity'"));
  EXPECT_THAT(plan->kept[2].users, ElementsAre("module 'a/m/3'"));
}

TEST(SweepTest, AModuleThatIsUsedIsRefusedByNameAndNothingGoes) {
  const std::vector<Manifest> modules = {Module("a/m/1"), Module("a/m/2")};
  ModulePins pins;
  pins.handles[*ParseHandle("a/m/1")] = {"model 'digit' of mesh 'm.yaml'"};
  const auto refused = PlanSweep(modules, pins, {*ParseHandle("a/m/2"), *ParseHandle("a/m/1")});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.status().message()),
              AllOf(HasSubstr("'a/m/1'"), HasSubstr("model 'digit' of mesh 'm.yaml' uses")));
  EXPECT_THAT(Removed(*PlanSweep(modules, pins, {*ParseHandle("a/m/2")})), ElementsAre("a/m/2"));
  const auto none = PlanSweep(modules, pins, {*ParseHandle("a/m/3")});
  EXPECT_EQ(none.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(none.status().message()), HasSubstr("versions 1, 2 of it"));
}

TEST(SweepTest, RemovedModulesAreGoneAndEmptyFoldersWithThem) {
  HubFolder hub;
  hub.Put("acme/encoder/1", 1);
  hub.Put("acme/encoder/2", 2);
  hub.Put("other/model/1", 3);
  ASSERT_TRUE(RemoveModules(hub.root(), {*ParseHandle("acme/encoder/1"), *ParseHandle("other/model/1")}).ok());
  EXPECT_FALSE(std::filesystem::exists(hub.root() + "/acme/encoder/1"));
  EXPECT_FALSE(std::filesystem::exists(hub.root() + "/other"));
  const auto left = ReadManifests(hub.root());
  ASSERT_TRUE(left.ok()) << left.status();
  ASSERT_EQ(left->size(), 1u);
  EXPECT_EQ((*left)[0].handle.ToString(), "acme/encoder/2");
  // A handle that is free again may be taken by other content only because nobody used it.
  EXPECT_TRUE(hub.Publish("acme/encoder/1", hub.Package(1)).ok());
}

}  // namespace
}  // namespace portico
