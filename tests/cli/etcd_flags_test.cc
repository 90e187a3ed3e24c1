#include "cli/etcd_flags.h"

#include <algorithm>

#include "CLI/CLI.hpp"
#include "cli/serve_etcd_flags.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class EtcdFlagsTest : public ::testing::Test {
 protected:
  absl::Status Parse(std::vector<std::string> arguments) {
    ServeEtcdFlags flags;
    CLI::App app;
    flags.AddTo(app);
    std::reverse(arguments.begin(), arguments.end());
    try {
      app.parse(arguments);
    } catch (const CLI::Error& error) {
      return absl::UnknownError(error.what());
    }
    options_ = Node::Options();
    return flags.Apply(&options_);
  }
  std::string Message(std::vector<std::string> arguments) { return std::string(Parse(std::move(arguments)).message()); }

  const TempFolder folder_;
  Node::Options options_;
};

TEST_F(EtcdFlagsTest, WithoutThemThereIsNoEtcd) {
  EXPECT_TRUE(Parse({}).ok());
  EXPECT_TRUE(options_.etcd.etcd.endpoints.empty());
}

TEST_F(EtcdFlagsTest, SayWhereEtcdIsAndWhoWeAre) {
  const std::string ca = folder_.Write("ca", "authorities"), cert = folder_.Write("cert", "certificate");
  const std::string key = folder_.Write("key", "key"), password = folder_.Write("password", "secret\n");
  const absl::Status status =
      Parse({"--etcd=a:1,b:2", "--etcd-prefix=/mesh/", "--etcd-ttl=9", "--advertise=tcp://me:7", "--etcd-ca=" + ca,
             "--etcd-cert=" + cert, "--etcd-key=" + key, "--etcd-user=root", "--etcd-password=" + password});
  ASSERT_TRUE(status.ok()) << status;
  const EtcdMembership::Options& etcd = options_.etcd;
  EXPECT_THAT(etcd.etcd.endpoints, ElementsAre("a:1", "b:2"));
  EXPECT_EQ(etcd.prefix, "/mesh");
  EXPECT_EQ(etcd.ttl, absl::Seconds(9));
  EXPECT_EQ(etcd.advertise, "tcp://me:7");
  EXPECT_EQ(etcd.etcd.roots, "authorities");
  EXPECT_EQ(etcd.etcd.certificate, "certificate");
  EXPECT_EQ(etcd.etcd.key, "key");
  EXPECT_EQ(etcd.etcd.password, "secret");
}

TEST_F(EtcdFlagsTest, WhatMakesNoSenseIsRefused) {
  EXPECT_THAT(Message({"--advertise=tcp://me:7"}), HasSubstr("got no --etcd"));
  EXPECT_THAT(Message({"--etcd=a:1", "--etcd-user=root"}), HasSubstr("got one, want both or none"));
  EXPECT_THAT(Message({"--etcd=a:1", "--etcd-prefix=mesh"}), HasSubstr("--etcd-prefix: got 'mesh'"));
  EXPECT_THAT(Message({"--etcd=a:1", "--etcd-prefix=/"}), HasSubstr("want a path"));
  EXPECT_THAT(Message({"--etcd=a:1", "--etcd-ca=" + folder_.path() + "/none"}), HasSubstr("No such file"));
  EXPECT_THAT(Message({"--etcd=a:1", "--etcd-ca=" + folder_.Write("empty", "")}), HasSubstr("--etcd-ca: got file"));
  EXPECT_FALSE(Parse({"--etcd=a:1", "--etcd-ttl=1"}).ok());
}

}  // namespace
}  // namespace portico
