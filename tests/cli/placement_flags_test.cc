#include "cli/serve_placement_flags.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/parse_serve_flags.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::Status Parse(std::vector<std::string> arguments, Node::Options* options) {
  return ParseServeFlags({NewPlacementFlags().get()}, std::move(arguments), options);
}

TEST(PlacementFlagsTest, ProvidersTheirOptionsAndCores) {
  Node::Options options;
  const absl::Status status = Parse({"--providers", "tensorrt,cuda,cpu", "--provider-option", "cuda.device_id=1",
                                     "--provider-option", "cuda.gpu_mem_limit=100", "--cpus", "0-1,3"},
                                    &options);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(ProviderNames(options.providers), "tensorrt, cuda, cpu");
  EXPECT_EQ(options.providers[1].options.at("device_id"), "1");
  EXPECT_EQ(options.providers[1].options.at("gpu_mem_limit"), "100");
  EXPECT_THAT(options.cpus, ElementsAre(0, 1, 3));
}

TEST(PlacementFlagsTest, WhatMakesNoSenseIsRefused) {
  const auto error = [](std::vector<std::string> arguments) {
    Node::Options options;
    return std::string(Parse(std::move(arguments), &options).message());
  };
  EXPECT_THAT(error({"--providers", "cdua"}), HasSubstr("--providers: execution provider 'cdua'"));
  EXPECT_THAT(error({"--providers", "cuda", "--provider-option", "cuda=1"}),
              HasSubstr("--provider-option: got 'cuda=1', want NAME.KEY=VALUE"));
  EXPECT_THAT(error({"--provider-option", "cuda.device_id=1"}), HasSubstr("want a provider of --providers"));
  EXPECT_THAT(error({"--providers", "cpu", "--provider-option", "cpu.a=1"}), HasSubstr("'cpu': got options"));
  EXPECT_THAT(error({"--cpus", "b"}), HasSubstr("--cpus: got 'b', want numbers of cores"));
}

}  // namespace
}  // namespace portico
