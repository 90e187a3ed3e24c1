#include "cli/serve_versions_flags.h"

#include <memory>
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

TEST(VersionsFlagsTest, WhatTheMeshSaysOfANodeStaysWhereNoFlagIsGiven) {
  Revision revision;
  revision.mesh = "mesh";
  Revision::Node node;
  node.name = "n";
  node.grpc = "127.0.0.1:1";
  node.http = "127.0.0.1:2";
  node.peer = "tcp://127.0.0.1:3";
  node.workers = 3;
  node.http_threads = 2;
  node.huge_pages_mib = 32;
  node.cpus = "0";
  node.providers = {{"cpu", {{"intra_op_threads", "2"}}}};
  node.zone = "b";
  revision.nodes.push_back(node);
  const auto said = Node::OptionsFor(revision, "n", 0);
  ASSERT_TRUE(said.ok()) << said.status();
  Node::Options options = *said;
  std::vector<std::unique_ptr<ServeFlags>> groups = AllServeFlags();
  std::vector<ServeFlags*> all;
  for (const auto& group : groups) all.push_back(group.get());
  ASSERT_EQ(ParseServeFlags(all, {}, &options), absl::OkStatus());
  EXPECT_EQ(options.grpc.address, said->grpc.address);
  EXPECT_EQ(options.http.address, said->http.address);
  EXPECT_EQ(options.http.threads, 2);
  EXPECT_EQ(options.peer, said->peer);
  EXPECT_EQ(options.workers, 3);
  EXPECT_EQ(options.huge_page_bytes, uint64_t{32} << 20);
  EXPECT_EQ(options.cpus, said->cpus);
  EXPECT_EQ(options.providers, said->providers);
  EXPECT_EQ(options.zone, "b");

  ASSERT_EQ(ParseServeFlags(all, {"--table-huge-pages", "4194304"}, &options), absl::OkStatus());
  EXPECT_EQ(options.huge_page_bytes, uint64_t{4} << 20);
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
