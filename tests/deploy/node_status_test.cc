#include "deploy/node_status.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::ElementsAre;

TEST(NodeStatusTest, WhatIsWrittenIsReadBack) {
  NodeStatus written;
  written.node = "hub \"quoted\"";
  written.replica = 3;
  written.pid = 4711;
  written.ready = true;
  written.grpc = "127.0.0.1:8500";
  written.peer = "zmq+ipc:///run/hub-3.sock";
  written.models = {{"a", 2, "AVAILABLE", ""}, {"b", 0, "END", "no\nluck"}};
  written.degraded = {"a: hub/enc: away"};
  written.traffic = {{.model = "a",
                      .arm = "canary",
                      .requests = 9,
                      .errors = 2,
                      .latencies = {{17, 3}, {200, 4}},
                      .compared = 5,
                      .disagreed = 1}};
  const TempFolder folder;
  const auto read = ReadNodeStatus(folder.Write("s.json", FormatNodeStatus(written)));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->node, written.node);
  EXPECT_EQ(read->replica, 3);
  EXPECT_EQ(read->pid, 4711);
  EXPECT_TRUE(read->ready);
  EXPECT_EQ(read->grpc, "127.0.0.1:8500");
  EXPECT_EQ(read->http, "");
  EXPECT_EQ(read->peer, written.peer);
  ASSERT_EQ(read->models.size(), 2u);
  EXPECT_EQ(read->models[0].version, 2);
  EXPECT_EQ(read->models[1].error, "no\nluck");
  EXPECT_THAT(read->degraded, ElementsAre("a: hub/enc: away"));
  EXPECT_EQ(read->traffic, written.traffic);
}

TEST(NodeStatusTest, OtherFilesAreRefused) {
  const TempFolder folder;
  EXPECT_TRUE(absl::IsNotFound(ReadNodeStatus(folder.path() + "/none.json").status()));
  for (const char* text : {"", "{", "[]", "{}", "{\"node\":1}", "{\"node\":\"n\",\"replica\":\"x\"}"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ReadNodeStatus(folder.Write("s.json", text)).status())) << text;
  }
}

}  // namespace
}  // namespace portico
