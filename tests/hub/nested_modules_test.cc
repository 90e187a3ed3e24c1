#include "hub/nested_modules.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hub/local_store.h"
#include "tests/hub/file_server.h"
#include "tests/hub/hub_folder.h"
#include "tests/testing/model_builder.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
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
  absl::StatusOr<NestedModules> Pull(const std::string& handle) { return PullFrom(hub_.root(), handle); }
  absl::StatusOr<NestedModules> PullFrom(const std::string& url, const std::string& handle) {
    const auto store = OpenStore(url);
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
  EXPECT_THAT(nested->missing, ElementsAre("'acme/deep' of digest " + Sha256("nobody").Short() +
                                           ", which acme/middle/1 calls: " + hub_.root() +
                                           " does not have it; publish it there, or have it in the mesh by a path"));
}

TEST_F(NestedModulesTest, AStoreThatCannotListIsSaidAndNoError) {
  const Digest deep = hub_.Put("acme/deep/1", 1).manifest.digest;
  PutCaller("acme/top/1", "acme/deep", deep);
  FileServer server(hub_.root());
  ASSERT_TRUE(std::filesystem::remove(hub_.root() + "/index.json"));
  const auto nested = PullFrom(server.url(), "acme/top/1");
  ASSERT_TRUE(nested.ok()) << nested.status();
  EXPECT_THAT(nested->pulled, IsEmpty());
  EXPECT_THAT(nested->missing, ElementsAre(AllOf(HasSubstr("which acme/top/1 calls: what " + server.url()),
                                                 HasSubstr("cannot be listed: "), HasSubstr("index.json"))));
  // What is here needs no list.
  ASSERT_TRUE(cache_->Pull(**OpenStore(server.url()), *ParseHandle("acme/deep/1")).ok());
  EXPECT_THAT(Handles(*PullFrom(server.url(), "acme/top/1")), ElementsAre("acme/deep/1"));
}

TEST_F(NestedModulesTest, WhatAListTakesForTheDigestIsComparedWithIt) {
  const std::string wanted = hub_.Put("acme/deep/4", 1).manifest.digest.Hex();
  const std::string other = hub_.Put("acme/deep/5", 2).manifest.digest.Hex();
  PutCaller("acme/top/1", "acme/deep", *Digest::FromHex(wanted));
  FileServer server(hub_.root());
  std::stringstream text;
  text << std::ifstream(hub_.root() + "/index.json").rdbuf();
  std::ofstream(hub_.root() + "/index.json") << absl::StrReplaceAll(text.str(), {{wanted, other}, {other, wanted}});
  const auto nested = PullFrom(server.url(), "acme/top/1");
  ASSERT_TRUE(nested.ok()) << nested.status();
  EXPECT_THAT(nested->pulled, IsEmpty());
  EXPECT_THAT(nested->missing, ElementsAre(AllOf(HasSubstr("got acme/deep/5 of digest " + other.substr(0, 12)),
                                                 HasSubstr("want " + wanted.substr(0, 12)))));
}

TEST_F(NestedModulesTest, WhatIsCachedIsKnownAtAnyDepth) {
  const Digest deep = hub_.Put("acme/deep/1", 1).manifest.digest;
  const Digest middle = PutCaller("acme/middle/1", "acme/deep", deep);
  PutCaller("acme/top/1", "acme/middle", middle);
  const auto store = OpenStore(hub_.root());
  const auto pull = [&](const char* handle) {
    const auto pulled = cache_->Pull(**store, *ParseHandle(handle));
    PORTICO_CHECK(pulled.ok());
    return pulled->manifest;
  };
  const Manifest top = pull("acme/top/1");
  EXPECT_FALSE(HasNested(*cache_, top).value());
  pull("acme/middle/1");
  EXPECT_FALSE(HasNested(*cache_, top).value());
  EXPECT_TRUE(HasNested(*cache_, pull("acme/deep/1")).value());
  EXPECT_TRUE(HasNested(*cache_, top).value());
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
