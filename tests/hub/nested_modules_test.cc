#include "hub/nested_modules.h"

#include <filesystem>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hub/local_store.h"
#include "tests/hub/hub_folder.h"
#include "tests/testing/model_builder.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class NestedModulesTest : public ::testing::Test {
 protected:
  NestedModulesTest() {
    HubCache::Options options;
    options.folder = hub_.cache();
    cache_ = *HubCache::Open(std::move(options));
  }

  /// Publishes a module that calls `target`; its digest.
  Digest PutCaller(const std::string& handle, const std::string& target, const Digest& digest) {
    ModelBuilder model;
    model.Input("x", DType::kFloat, {"N", 64}).Output("y", DType::kFloat, {"N", 2});
    model.Portal("Remote", target, {"x"}, {"y"}, {DType::kFloat}, {"N,2"},
                 digest.empty() ? Attrs{} : Attrs{String("digest", digest.Hex())});
    const std::string file = hub_.folder().File(absl::StrCat(handle, ".onnx"));
    model.WriteTo(file);
    const auto result = hub_.Publish(handle, file);
    PORTICO_CHECK(result.ok());
    missing_ = result->missing;
    return result->manifest.digest;
  }

  /// Pulls `handle` and what it calls.
  absl::StatusOr<NestedModules> Pull(const std::string& handle) {
    const auto store = OpenStore(hub_.root());
    if (!store.ok()) return store.status();
    const auto pulled = cache_->Pull(**store, *ParseHandle(handle));
    if (!pulled.ok()) return pulled.status();
    return PullNested(*cache_, **store, pulled->manifest);
  }
  static std::vector<std::string> Handles(const NestedModules& nested) {
    std::vector<std::string> handles;
    for (const HubCache::Pulled& one : nested.pulled) handles.push_back(one.manifest.handle.ToString());
    return handles;
  }

  HubFolder hub_;
  std::optional<HubCache> cache_;
  std::vector<PortalTarget> missing_;
};

TEST_F(NestedModulesTest, WhatIsCalledIsPulledAtAnyDepth) {
  const Digest deep = hub_.Put("acme/deep/4", 1).manifest.digest;
  hub_.Put("acme/deep/5", 2);
  const Digest middle = PutCaller("acme/middle/1", "acme/deep", deep);
  PutCaller("acme/top/1", "acme/middle", middle);
  EXPECT_THAT(missing_, IsEmpty());
  auto nested = Pull("acme/top/1");
  ASSERT_TRUE(nested.ok()) << nested.status();
  EXPECT_THAT(Handles(*nested), ElementsAre("acme/middle/1", "acme/deep/4"));
  EXPECT_THAT(nested->missing, IsEmpty());
  EXPECT_TRUE(std::filesystem::exists(hub_.cache() + "/modules/acme/deep/4/model.onnx"));
  EXPECT_FALSE(std::filesystem::exists(hub_.cache() + "/modules/acme/deep/5"));
  // Everything is here, so that the store's list is not asked for.
  std::filesystem::remove_all(hub_.root() + "/acme");
  nested = Pull("acme/top/1");
  ASSERT_TRUE(nested.ok()) << nested.status();
  EXPECT_THAT(Handles(*nested), ElementsAre("acme/middle/1", "acme/deep/4"));
  EXPECT_TRUE(nested->pulled[1].was_there);
}

TEST_F(NestedModulesTest, WhatNobodyHasIsNamedWithItsCaller) {
  const Digest middle = PutCaller("acme/middle/1", "acme/deep", Sha256("nobody"));
  ASSERT_EQ(missing_.size(), 1u);
  EXPECT_EQ(missing_[0].name, "acme/deep");
  PutCaller("acme/top/1", "acme/middle", middle);
  EXPECT_THAT(missing_, IsEmpty());
  const auto nested = Pull("acme/top/1");
  ASSERT_TRUE(nested.ok()) << nested.status();
  EXPECT_THAT(Handles(*nested), ElementsAre("acme/middle/1"));
  EXPECT_THAT(nested->missing,
              ElementsAre("'acme/deep' of digest " + Sha256("nobody").Short() + ", which acme/middle/1 calls"));
}

TEST_F(NestedModulesTest, ATargetWithoutADigestIsAnyVersionAndNotPulled) {
  hub_.Put("acme/deep/1", 1);
  PutCaller("acme/top/1", "acme/deep", Digest());
  EXPECT_THAT(missing_, IsEmpty());
  const auto nested = Pull("acme/top/1");
  ASSERT_TRUE(nested.ok()) << nested.status();
  EXPECT_THAT(nested->pulled, IsEmpty());
  EXPECT_THAT(nested->missing, IsEmpty());
}

TEST_F(NestedModulesTest, OfTwoOfOneDigestTheOneOfThatNameIsMeant) {
  const Digest digest = hub_.Put("acme/again/1", 1).manifest.digest;
  hub_.Put("acme/deep/1", 1);
  hub_.Put("zzz/last/1", 1);
  const auto store = OpenStore(hub_.root());
  ASSERT_TRUE(store.ok());
  const auto entries = (*store)->List();
  ASSERT_TRUE(entries.ok()) << entries.status();
  EXPECT_EQ(FindCalled({"acme/deep", digest}, *entries)->handle.ToString(), "acme/deep/1");
  EXPECT_EQ(FindCalled({"other", digest}, *entries)->handle.ToString(), "acme/again/1");
  EXPECT_EQ(FindCalled({"acme/deep", Digest()}, *entries), nullptr);
}

}  // namespace
}  // namespace portico
