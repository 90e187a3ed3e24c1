#include "cli/serve_peer_flags.h"

#include <sys/stat.h>

#include <algorithm>
#include <optional>

#include "CLI/CLI.hpp"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kPem[] = "-----BEGIN PRIVATE KEY-----\n-----BEGIN CERTIFICATE-----\n";

class PeerFlagsTest : public ::testing::Test {
 protected:
  PeerFlagsTest() { chmod(key_.c_str(), 0600); }
  absl::Status Parse(std::vector<std::string> arguments) {
    options_.emplace();
    options_->listen_security.own_secret_key = curve_key_;
    options_->keys = mesh_keys_;
    const auto flags = NewPeerFlags();
    CLI::App app;
    flags->AddTo(app);
    std::reverse(arguments.begin(), arguments.end());
    try {
      app.parse(arguments);
    } catch (const CLI::Error& error) {
      return absl::UnknownError(error.what());
    }
    return flags->Apply(&*options_);
  }
  std::vector<std::string> Tls() const {
    return {"--peer-tls-key=" + key_, "--peer-tls-cert=" + cert_, "--peer-tls-allow=" + allow_};
  }

  const TempFolder folder_;
  const std::string key_ = folder_.Write("key", std::string(kPem) + "key");
  const std::string cert_ = folder_.Write("cert", std::string(kPem) + "cert");
  const std::string allow_ = folder_.Write("allow", std::string(kPem) + "allow");
  std::string curve_key_;
  /// What a mesh says.
  NodeKeys mesh_keys_;
  std::optional<Node::Options> options_;
};

TEST_F(PeerFlagsTest, WithoutThemOneThreadWithoutSpinningAndPlain) {
  ASSERT_TRUE(Parse({}).ok());
  EXPECT_EQ(options_->transports.stream.loops, 1);
  EXPECT_EQ(options_->transports.stream.spin, absl::ZeroDuration());
  EXPECT_EQ(options_->peer_dead_after, absl::Milliseconds(1500));
  EXPECT_EQ(options_->listen_security.own_secret_key, "");
}

TEST_F(PeerFlagsTest, TheyReachTheNode) {
  std::vector<std::string> arguments = Tls();
  arguments.insert(arguments.end(), {"--peer-loops=3", "--peer-spin-us=50", "--peer-dead-after-ms=700"});
  ASSERT_TRUE(Parse(arguments).ok());
  EXPECT_EQ(options_->transports.stream.loops, 3);
  EXPECT_EQ(options_->transports.stream.spin, absl::Microseconds(50));
  EXPECT_EQ(options_->peer_dead_after, absl::Milliseconds(700));
  EXPECT_THAT(options_->listen_security.own_secret_key, HasSubstr("key"));
  EXPECT_THAT(options_->listen_security.own_public_key, HasSubstr("cert"));
  EXPECT_THAT(options_->listen_security.allowed_keys, ElementsAre(HasSubstr("allow")));
  EXPECT_THAT(options_->call_security.own_secret_key, HasSubstr("key"));
  EXPECT_THAT(options_->call_security.peer_public_key, HasSubstr("allow"));
  arguments.push_back("--peer-tls-roots=" + folder_.Write("roots", std::string(kPem) + "roots"));
  ASSERT_TRUE(Parse(arguments).ok());
  EXPECT_THAT(options_->call_security.peer_public_key, HasSubstr("roots"));
}

TEST_F(PeerFlagsTest, KeysOfTheMeshAreReadWhereFlagsSayNothing) {
  mesh_keys_.peer_tls_key = key_;
  mesh_keys_.peer_tls_cert = cert_;
  mesh_keys_.peer_tls_allow = allow_;
  mesh_keys_.peer_tls_roots = folder_.Write("roots", std::string(kPem) + "roots");
  ASSERT_TRUE(Parse({}).ok());
  EXPECT_THAT(options_->listen_security.own_secret_key, HasSubstr("key"));
  EXPECT_THAT(options_->call_security.peer_public_key, HasSubstr("roots"));
  mesh_keys_.peer_tls_key = "/nowhere";
  ASSERT_TRUE(Parse(Tls()).ok());
  EXPECT_THAT(options_->call_security.peer_public_key, HasSubstr("allow")) << "all of them are the flags'";
  EXPECT_EQ(Parse({}).code(), absl::StatusCode::kNotFound);
}

TEST_F(PeerFlagsTest, TheZoneStandsInPlaceOfTheMeshs) {
  ASSERT_TRUE(Parse({"--zone=eu-2"}).ok());
  EXPECT_EQ(options_->zone, "eu-2");
}

TEST_F(PeerFlagsTest, WhatMakesNoSenseIsRefused) {
  const auto message = [this](const std::vector<std::string>& flags) { return std::string(Parse(flags).message()); };
  EXPECT_THAT(message({"--peer-loops=0"}), HasSubstr("--peer-loops"));
  EXPECT_THAT(message({"--peer-spin-us=-1"}), HasSubstr("--peer-spin-us"));
  EXPECT_THAT(message({"--peer-dead-after-ms=-1"}), HasSubstr("--peer-dead-after-ms"));
  EXPECT_THAT(message({"--peer-tls-key=" + key_}), HasSubstr("got some of them, want all"));
  chmod(key_.c_str(), 0640);
  EXPECT_THAT(message(Tls()), HasSubstr("that others may read, want it private"));
  chmod(key_.c_str(), 0600);
  folder_.Write("cert", "not PEM");
  EXPECT_THAT(message(Tls()), HasSubstr("without PEM text"));
  folder_.Write("cert", "-----BEGIN PRIVATE KEY-----\n");
  EXPECT_THAT(message(Tls()), HasSubstr("/cert', which holds a private key and no certificate, want certificates"));
  folder_.Write("cert", kPem);
  curve_key_ = "curve";
  EXPECT_THAT(message(Tls()), HasSubstr("--peer-tls-key, --curve-key: got both"));
}

}  // namespace
}  // namespace portico
