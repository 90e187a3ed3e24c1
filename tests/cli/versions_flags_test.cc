#include "cli/serve_versions_flags.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/parse_serve_flags.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

absl::Status Parse(std::vector<std::string> arguments, Node::Options* options) {
  return ParseServeFlags({NewVersionsFlags().get()}, std::move(arguments), options);
}

TEST(VersionsFlagsTest, ResultCacheIsAModelsOwn) {
  Node::Options options;
  options.models = {{"a", "/a"}, {"b", "/b"}};
  ASSERT_TRUE(Parse({"--result-cache", "b=64"}, &options).ok());
  EXPECT_FALSE(options.models[0].result_cache_mib.has_value());
  EXPECT_EQ(options.models[1].result_cache_mib, 64);
}

TEST(VersionsFlagsTest, WhatMakesNoSenseIsRefused) {
  const auto error = [](const std::string& text, std::vector<ModelConfig> models) {
    Node::Options options;
    options.models = std::move(models);
    const absl::Status status = Parse({"--result-cache", text}, &options);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(error("a", {{"a", "/a"}}), HasSubstr("--result-cache: got 'a', want NAME=MIB"));
  EXPECT_THAT(error("a=-1", {{"a", "/a"}}), HasSubstr("got 'a=-1', want NAME=MIB"));
  EXPECT_THAT(error("c=1", {{"a", "/a"}, {"b", "/b"}}), HasSubstr("got model 'c', want one of a, b"));
  EXPECT_THAT(error("a=1", {}), HasSubstr("got it without --model"));
}

}  // namespace
}  // namespace portico
