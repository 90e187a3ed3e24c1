#include "base/version_policy.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(VersionPolicyTest, LatestTakesTheHighest) {
  EXPECT_THAT(ChooseVersions({}, {1, 2, 10}), ElementsAre(10));
  EXPECT_THAT(ChooseVersions({.num_versions = 2}, {1, 2, 10}), ElementsAre(2, 10));
  EXPECT_THAT(ChooseVersions({.num_versions = 9}, {1, 2, 10}), ElementsAre(1, 2, 10));
  EXPECT_THAT(ChooseVersions({}, {}), IsEmpty());
}

TEST(VersionPolicyTest, AllAndSpecific) {
  EXPECT_THAT(ChooseVersions({.kind = VersionPolicy::Kind::kAll}, {3, 5}), ElementsAre(3, 5));
  EXPECT_THAT(ChooseVersions({.kind = VersionPolicy::Kind::kSpecific, .versions = {5, 4, 3}}, {3, 5}),
              ElementsAre(3, 5));
}

TEST(VersionPolicyTest, WhatMakesNoSenseIsRefused) {
  EXPECT_TRUE(CheckVersionPolicy({}).ok());
  EXPECT_THAT(CheckVersionPolicy({.num_versions = 0}).message(), HasSubstr("got the latest 0, want at least 1"));
  EXPECT_THAT(CheckVersionPolicy({.kind = VersionPolicy::Kind::kSpecific}).message(), HasSubstr("want at least one"));
  EXPECT_THAT(CheckVersionPolicy({.kind = VersionPolicy::Kind::kSpecific, .versions = {-4}}).message(),
              HasSubstr("got version -4"));
}

}  // namespace
}  // namespace portico
