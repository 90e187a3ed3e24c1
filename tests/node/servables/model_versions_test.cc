#include "node/servables/model_versions.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using Kind = VersionPolicy::Kind;

const absl::Time kNow = absl::FromUnixSeconds(1'000'000);

class ModelVersionsTest : public ::testing::Test {
 protected:
  void Configure(VersionPolicy policy = {}, std::map<std::string, int64_t> labels = {},
                 bool resource_preserving = false) {
    ModelConfig config;
    config.name = "m";
    config.base_path = "/m";
    config.versions = std::move(policy);
    config.labels = std::move(labels);
    config.resource_preserving = resource_preserving;
    model_.Configure(config, options_);
  }

  static std::vector<VersionFolder> Folders(const std::vector<int64_t>& versions) {
    std::vector<VersionFolder> folders;
    for (const int64_t version : versions) folders.push_back({version, absl::StrCat("/m/", version)});
    return folders;
  }
  void Listed(const std::vector<int64_t>& versions) { model_.Listed(Folders(versions)); }

  /// Asks what is to be done, remembers it.
  void Next(absl::Time now = kNow) {
    const ModelVersions::Steps steps = model_.Next(now);
    load_.clear();
    for (const VersionFolder& folder : steps.load) load_.push_back(folder.version);
    withdraw_ = steps.withdraw;
    revive_ = steps.revive;
  }
  void Loaded(int64_t version) { model_.Loaded(version, absl::OkStatus(), kNow); }
  void Failed(int64_t version) { model_.Loaded(version, absl::InvalidArgumentError("bad"), kNow); }
  /// Lists, loads and unloads until nothing is to be done.
  void Serve(const std::vector<int64_t>& versions) {
    Listed(versions);
    for (int i = 0; i < 4; ++i) {
      Next();
      for (const int64_t version : load_) Loaded(version);
      for (const int64_t version : withdraw_) model_.Gone(version);
    }
  }
  VersionState StateOf(int64_t version) {
    for (const VersionStatus& status : model_.Statuses()) {
      if (status.version == version) return status.state;
    }
    return VersionState::kStart;
  }

  ModelVersions::Options options_;
  ModelVersions model_;
  std::vector<int64_t> load_, withdraw_, revive_;
};

TEST_F(ModelVersionsTest, ServesTheLatest) {
  Configure();
  EXPECT_FALSE(model_.Settled().has_value());
  Listed({1, 7});
  Next();
  EXPECT_THAT(load_, ElementsAre(7));
  EXPECT_EQ(StateOf(7), VersionState::kLoading);
  EXPECT_FALSE(model_.Settled().has_value());
  Loaded(7);
  Next();
  EXPECT_THAT(load_, IsEmpty());
  EXPECT_THAT(model_.Available(), ElementsAre(7));
  EXPECT_TRUE(model_.Settled()->ok());
}

TEST_F(ModelVersionsTest, TheOldVersionGoesOnceTheNewOneServes) {
  Configure();
  Serve({1});
  Listed({1, 2});
  Next();
  EXPECT_THAT(load_, ElementsAre(2));
  EXPECT_THAT(withdraw_, IsEmpty());
  Loaded(2);
  Next();
  EXPECT_THAT(withdraw_, ElementsAre(1));
  EXPECT_EQ(StateOf(1), VersionState::kUnloading);
  model_.Gone(1);
  EXPECT_EQ(StateOf(1), VersionState::kEnd);
}

TEST_F(ModelVersionsTest, ResourcePreservingUnloadsFirst) {
  Configure({}, {}, /*resource_preserving=*/true);
  Serve({1});
  Listed({1, 2});
  Next();
  EXPECT_THAT(withdraw_, ElementsAre(1));
  EXPECT_THAT(load_, IsEmpty());
  model_.Gone(1);
  Next();
  EXPECT_THAT(load_, ElementsAre(2));
}

TEST_F(ModelVersionsTest, ABadVersionDisturbsNoGoodOne) {
  Configure();
  Serve({1});
  Listed({1, 2});
  Next();
  Failed(2);
  Next();
  EXPECT_THAT(withdraw_, IsEmpty());
  EXPECT_THAT(model_.Available(), ElementsAre(1));
  EXPECT_EQ(model_.Settled()->message(), "bad");
  EXPECT_EQ(StateOf(2), VersionState::kEnd);
}

TEST_F(ModelVersionsTest, WhereTheLatestIsBadTheNextLowerServes) {
  Configure();
  Listed({1, 2, 3});
  Next();
  Failed(3);
  Next();
  EXPECT_THAT(load_, ElementsAre(2));
  Loaded(2);
  Next();
  EXPECT_THAT(load_, IsEmpty());
  // The bad one gets well: it takes over.
  model_.Changed(3);
  Next();
  EXPECT_THAT(load_, ElementsAre(3));
  EXPECT_THAT(withdraw_, IsEmpty());
  Loaded(3);
  Next();
  EXPECT_THAT(withdraw_, ElementsAre(2));
}

TEST_F(ModelVersionsTest, FailedLoadsAreTriedAgainSoOften) {
  options_.load_retries = 2;
  options_.load_retry_delay = absl::Seconds(10);
  Configure({.kind = Kind::kSpecific, .versions = {1}});
  Listed({1});
  Next();
  Failed(1);
  EXPECT_EQ(model_.NextRetry(), kNow + absl::Seconds(10));
  Next(kNow + absl::Seconds(9));
  EXPECT_THAT(load_, IsEmpty());
  Next(kNow + absl::Seconds(10));
  EXPECT_THAT(load_, ElementsAre(1));
  Failed(1);
  Next(kNow + absl::Seconds(10));
  EXPECT_THAT(load_, ElementsAre(1));
  Failed(1);
  EXPECT_EQ(model_.NextRetry(), absl::InfiniteFuture());
  Next(kNow + absl::Hours(1));
  EXPECT_THAT(load_, IsEmpty());
  // Somebody mends the folder.
  model_.Changed(1);
  Next();
  EXPECT_THAT(load_, ElementsAre(1));
}

TEST_F(ModelVersionsTest, AnEmptyOrFailedListingUnloadsNothing) {
  Configure();
  Serve({4});
  Listed({});
  Next();
  EXPECT_THAT(withdraw_, IsEmpty());
  EXPECT_THAT(std::string(model_.listing().message()), HasSubstr("got no version folder"));
  EXPECT_TRUE(model_.Ready().ok());
  model_.Listed(absl::UnavailableError("stale file handle"));
  Next();
  EXPECT_THAT(withdraw_, IsEmpty());
  EXPECT_TRUE(model_.Ready().ok());
}

TEST_F(ModelVersionsTest, AnEmptyListingUnloadsWhereAskedTo) {
  options_.unload_on_empty = true;
  Configure();
  Serve({4});
  Listed({});
  Next();
  EXPECT_THAT(withdraw_, ElementsAre(4));
  EXPECT_FALSE(model_.Ready().ok());
}

TEST_F(ModelVersionsTest, AMissingFolderIsTheReasonWhyNothingServes) {
  Configure();
  model_.Listed(absl::NotFoundError("folder '/m': no"));
  Next();
  EXPECT_EQ(model_.Settled()->message(), "model 'm': folder '/m': no");
  EXPECT_EQ(model_.Ready().message(), "model 'm': folder '/m': no");
}

TEST_F(ModelVersionsTest, ALabelWaitsForItsVersion) {
  Configure({}, {{"stable", 2}});
  Serve({1});
  EXPECT_THAT(model_.labels(), IsEmpty());
  Serve({1, 2});
  EXPECT_THAT(model_.labels(), ElementsAre(Pair("stable", 2)));
}

TEST_F(ModelVersionsTest, AVersionWithALabelStays) {
  Configure({}, {{"stable", 1}});
  Serve({1});
  Serve({1, 2});
  EXPECT_THAT(model_.Available(), ElementsAre(1, 2));
}

TEST_F(ModelVersionsTest, AMovedLabelStaysUntilItsNewVersionServes) {
  Configure({.kind = Kind::kSpecific, .versions = {1}}, {{"stable", 1}});
  Serve({1, 2});
  Configure({.kind = Kind::kSpecific, .versions = {2}}, {{"stable", 2}});
  Listed({1, 2});
  Next();
  EXPECT_THAT(load_, ElementsAre(2));
  EXPECT_THAT(model_.labels(), ElementsAre(Pair("stable", 1)));
  Loaded(2);
  EXPECT_THAT(model_.labels(), ElementsAre(Pair("stable", 2)));
  Next();
  EXPECT_THAT(withdraw_, ElementsAre(1));
}

TEST_F(ModelVersionsTest, PinningAndRollback) {
  Configure();
  Serve({1, 2, 3});
  // Pinned to what was before: 3 goes, and does not come back with a newer version.
  Configure({.kind = Kind::kSpecific, .versions = {2}});
  Serve({1, 2, 3});
  EXPECT_THAT(model_.Available(), ElementsAre(2));
  Serve({1, 2, 3, 4});
  EXPECT_THAT(model_.Available(), ElementsAre(2));
  // What is pinned outlives its folder.
  Serve({3, 4});
  EXPECT_THAT(model_.Available(), ElementsAre(2));
  Configure();
  Serve({3, 4});
  EXPECT_THAT(model_.Available(), ElementsAre(4));
}

TEST_F(ModelVersionsTest, AVersionThatIsWantedAgainWhileItGoesIsRevived) {
  Configure({.kind = Kind::kSpecific, .versions = {1}});
  Serve({1, 2});
  Configure({.kind = Kind::kSpecific, .versions = {2}});
  Listed({1, 2});
  Next();
  Loaded(2);
  Next();
  EXPECT_THAT(withdraw_, ElementsAre(1));
  Configure({.kind = Kind::kSpecific, .versions = {1}});
  Listed({1, 2});
  Next();
  EXPECT_THAT(revive_, ElementsAre(1));
  EXPECT_THAT(load_, IsEmpty());
  model_.Revived(1);
  Next();
  EXPECT_THAT(withdraw_, ElementsAre(2));
  EXPECT_THAT(model_.Available(), ElementsAre(1));
}

TEST_F(ModelVersionsTest, UnloadedByAnOperatorAndBack) {
  Configure();
  Serve({1});
  model_.SetUnloaded(true);
  Next();
  EXPECT_THAT(withdraw_, ElementsAre(1));
  EXPECT_TRUE(model_.Ready().ok());
  EXPECT_TRUE(model_.Settled()->ok());
  model_.Gone(1);
  Listed({1});
  Next();
  EXPECT_THAT(load_, IsEmpty());
  model_.SetUnloaded(false);
  Next();
  EXPECT_THAT(load_, ElementsAre(1));
}

TEST_F(ModelVersionsTest, ARemovedModelGoes) {
  Configure({.kind = Kind::kAll});
  Serve({1, 2});
  model_.Remove();
  Next();
  EXPECT_THAT(withdraw_, ElementsAre(1, 2));
  EXPECT_FALSE(model_.idle());
  model_.Gone(1);
  model_.Gone(2);
  EXPECT_TRUE(model_.idle());
  EXPECT_EQ(StateOf(2), VersionState::kEnd);
}

TEST_F(ModelVersionsTest, VersionsThatEndedLongAgoAreForgotten) {
  Configure();
  for (int64_t version = 1; version <= 100; ++version) Serve({version});
  const std::vector<VersionStatus> statuses = model_.Statuses();
  EXPECT_EQ(statuses.size(), 17u);
  EXPECT_EQ(statuses.back().state, VersionState::kAvailable);
  EXPECT_EQ(statuses.front().version, 84);
}

TEST_F(ModelVersionsTest, ASpecificVersionWithoutAFolderIsTold) {
  Configure({.kind = Kind::kSpecific, .versions = {1, 9}});
  Serve({1});
  EXPECT_THAT(std::string(model_.Settled()->message()), HasSubstr("got no folder for version 9"));
  Serve({1, 9});
  EXPECT_TRUE(model_.Settled()->ok());
}

}  // namespace
}  // namespace portico
