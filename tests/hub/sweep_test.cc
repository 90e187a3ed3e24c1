#include "hub/sweep.h"

#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "base/file.h"
#include "base/file_lock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hub/store_index.h"
#include "tests/hub/hub_folder.h"

namespace portico {
namespace {

namespace fs = std::filesystem;
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

std::vector<std::string> Listed(const HubFolder& hub) {
  std::vector<std::string> handles;
  const auto entries = ParseIndex(*ReadFile(hub.root() + "/index.json", kMaxIndexBytes));
  for (const ModuleEntry& entry : entries.value()) handles.push_back(entry.handle.ToString());
  return handles;
}

/// A cache with these modules of `hub` in it.
HubCache CacheWith(const HubFolder& hub, const std::vector<std::string>& handles) {
  HubCache::Options options;
  options.folder = hub.cache();
  HubCache cache = *HubCache::Open(std::move(options));
  const auto store = OpenStore(hub.root());
  for (const std::string& handle : handles) PORTICO_CHECK(cache.Pull(**store, *ParseHandle(handle)).ok());
  return cache;
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
  pins.handles[*ParseHandle("a/m/1")] = {"model 'a'", "model 'b'"};
  EXPECT_THAT(std::string(PlanSweep(modules, pins, {*ParseHandle("a/m/1")}).status().message()),
              HasSubstr("model 'a' and model 'b' use, want"));
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
  SweepOptions options;
  options.asked = {*ParseHandle("acme/encoder/1"), *ParseHandle("other/model/1")};
  options.dry_run = true;
  ASSERT_EQ(SweepStore(hub.root(), options)->removed.size(), 2u);
  ASSERT_TRUE(std::filesystem::exists(hub.root() + "/acme/encoder/1"));
  options.dry_run = false;
  ASSERT_TRUE(SweepStore(hub.root(), options).ok());
  EXPECT_FALSE(std::filesystem::exists(hub.root() + "/acme/encoder/1"));
  EXPECT_FALSE(std::filesystem::exists(hub.root() + "/other"));
  EXPECT_THAT(Listed(hub), ElementsAre("acme/encoder/2"));
  // A handle that is free again may be taken by other content only because nobody used it.
  EXPECT_TRUE(hub.Publish("acme/encoder/1", hub.Package(1)).ok());
}

TEST(SweepTest, APublishersFolderThatIsALinkStays) {
  HubFolder hub;
  hub.Put("acme/encoder/1", 1);
  hub.Put("acme/encoder/2", 2);
  hub.Put("acme/other/1", 3);
  const std::string elsewhere = hub.folder().path() + "/elsewhere";
  fs::rename(hub.root() + "/acme", elsewhere);
  fs::create_symlink(elsewhere, hub.root() + "/acme");
  SweepOptions options;
  options.asked = {*ParseHandle("acme/other/1")};
  ASSERT_TRUE(SweepStore(hub.root(), options).ok());
  EXPECT_TRUE(fs::is_symlink(hub.root() + "/acme"));
  EXPECT_THAT(Listed(hub), ElementsAre("acme/encoder/1", "acme/encoder/2"));
}

TEST(SweepTest, WhatCannotBeMovedStaysInTheListAndTheOthersHaveGone) {
  HubFolder hub;
  hub.Put("acme/encoder/1", 1);
  hub.Put("beta/encoder/1", 2);
  hub.Put("gamma/encoder/1", 3);
  // What lies on another file system cannot be renamed into the store.
  const TempFolder elsewhere("/dev/shm");
  struct stat here {
  }, there{};
  ASSERT_EQ(stat(hub.root().c_str(), &here), 0);
  ASSERT_EQ(stat(elsewhere.path().c_str(), &there), 0);
  if (here.st_dev == there.st_dev) GTEST_SKIP() << "one file system";
  fs::copy(hub.root() + "/beta", elsewhere.path() + "/beta", fs::copy_options::recursive);
  fs::remove_all(hub.root() + "/beta");
  fs::create_symlink(elsewhere.path() + "/beta", hub.root() + "/beta");
  const auto swept = SweepStore(hub.root(), {});
  EXPECT_FALSE(swept.ok());
  EXPECT_THAT(Listed(hub), ElementsAre("beta/encoder/1", "gamma/encoder/1"));
  EXPECT_EQ(hub.Staging(), 0u);
}

TEST(SweepTest, AStoreWithAManifestThatCannotBeReadIsLeftAlone) {
  HubFolder hub;
  hub.Put("acme/encoder/1", 1);
  hub.Put("acme/other/1", 2);
  hub.folder().Write("store/acme/other/1/manifest.json", "{}");
  const auto refused = SweepStore(hub.root(), {});
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("'acme/other/1'"));
  EXPECT_TRUE(fs::exists(hub.root() + "/acme/encoder/1"));
}

TEST(SweepTest, ACacheLosesWhatNobodyPullsAndHasNoList) {
  HubFolder hub;
  hub.Put("acme/encoder/1", 1);
  hub.Put("acme/encoder/2", 2);
  hub.Put("acme/other/1", 3);
  const HubCache cache = CacheWith(hub, {"acme/encoder/1", "acme/encoder/2", "acme/other/1"});
  SweepOptions options;
  options.pins.handles[*ParseHandle("acme/other/1")] = {"x"};
  const Handle busy = *ParseHandle("acme/encoder/2");
  {
    const auto pulling = FileLock::Take(cache.LockPath(busy));
    ASSERT_TRUE(pulling.ok());
    const auto swept = SweepCache(cache, options);
    ASSERT_TRUE(swept.ok()) << swept.status();
    EXPECT_THAT(Removed(*swept), ElementsAre("acme/encoder/1"));
    EXPECT_THAT(swept->busy, ElementsAre(busy));
  }
  EXPECT_FALSE(fs::exists(cache.modules() + "/acme/encoder/1"));
  EXPECT_TRUE(fs::exists(cache.modules() + "/acme/encoder/2/model.onnx"));
  EXPECT_THAT(Removed(*SweepCache(cache, options)), ElementsAre("acme/encoder/2"));
  EXPECT_FALSE(fs::exists(cache.modules() + "/acme/encoder"));
  EXPECT_TRUE(fs::exists(cache.modules() + "/acme/other/1"));
  EXPECT_FALSE(fs::exists(cache.modules() + "/index.json"));
}

TEST(SweepTest, DownloadsThatWereGivenUpGoUnlessTheyArePinnedOrGoOn) {
  HubFolder hub;
  hub.Put("a/m/1", 1);
  const HubCache cache = CacheWith(hub, {});
  for (const char* handle : {"a/given/1", "a/pinned/1", "a/busy/1"}) {
    hub.folder().Write(absl::StrCat("cache/partial/", handle, "/model.onnx.part"), "half");
  }
  SweepOptions options;
  options.pins.handles[*ParseHandle("a/pinned/1")] = {"x"};
  const auto pulling = FileLock::Take(cache.LockPath(*ParseHandle("a/busy/1")));
  ASSERT_TRUE(SweepCache(cache, options).ok());
  EXPECT_FALSE(fs::exists(cache.partial() + "/a/given"));
  EXPECT_TRUE(fs::exists(cache.partial() + "/a/pinned/1/model.onnx.part"));
  EXPECT_TRUE(fs::exists(cache.partial() + "/a/busy/1/model.onnx.part"));
}

TEST(SweepTest, PullsAndSweepsDoNotHarmEachOther) {
  HubFolder hub;
  hub.Put("acme/encoder/1", 1);
  hub.Put("acme/encoder/2", 2);
  CacheWith(hub, {});
  std::atomic<bool> stop{false};
  std::thread sweeps([&] {
    const HubCache cache = CacheWith(hub, {});
    while (!stop) EXPECT_TRUE(SweepCache(cache, {}).ok());
  });
  for (int i = 0; i < 30; ++i) CacheWith(hub, {i % 2 == 0 ? "acme/encoder/1" : "acme/encoder/2"});
  stop = true;
  sweeps.join();
}

}  // namespace
}  // namespace portico
