#include <optional>

#include "cli/serve_security_flags.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/parse_serve_flags.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

class SecurityFlagsTest : public ::testing::Test {
 protected:
  /// What the flags make of a node that listens on `address`.
  absl::Status Parse(const std::string& address, std::vector<std::string> arguments) {
    options_.emplace();
    options_->http.address = address;
    options_->keys = mesh_keys_;
    return ParseServeFlags({NewSecurityFlags().get()}, std::move(arguments), &*options_);
  }

  const TempFolder folder_;
  const std::string pem_ = folder_.Write("pem", "-----BEGIN PRIVATE KEY-----\n-----BEGIN CERTIFICATE-----\n");
  /// What a mesh says.
  NodeKeys mesh_keys_;
  std::optional<Node::Options> options_;
};

TEST_F(SecurityFlagsTest, KeysOfTheMeshAreReadWhereFlagsSayNothing) {
  mesh_keys_.tls_key = mesh_keys_.tls_cert = pem_;
  mesh_keys_.tenants = "/mesh/tenants";
  ASSERT_TRUE(Parse("0.0.0.0:1", {}).ok());
  EXPECT_TRUE(options_->http.tls.enabled());
  EXPECT_TRUE(options_->grpc.tls.enabled());
  EXPECT_EQ(options_->tenants.path, "/mesh/tenants");
  mesh_keys_.tls_key = "/nowhere";
  ASSERT_TRUE(Parse("0.0.0.0:1", {"--tls-key=" + pem_, "--tls-cert=" + pem_, "--tenants-file=t"}).ok());
  EXPECT_EQ(options_->tenants.path, "t");
  EXPECT_EQ(Parse("", {}).code(), absl::StatusCode::kNotFound);
}

TEST_F(SecurityFlagsTest, ListenersOfOtherMachinesWantTlsAndTokens) {
  for (const char* near : {"127.0.0.1:1", "localhost:1", "[::1]:1", ""}) EXPECT_TRUE(Parse(near, {}).ok()) << near;
  const std::string key = "--tls-key=" + pem_, cert = "--tls-cert=" + pem_;
  for (const char* far : {"0.0.0.0:1", "[::]:1", "10.0.0.1:1", "host:1"}) {
    EXPECT_THAT(std::string(Parse(far, {}).message()), HasSubstr("without TLS"));
    EXPECT_THAT(std::string(Parse(far, {"--tenants-file=t"}).message()), HasSubstr("without TLS"));
    EXPECT_THAT(std::string(Parse(far, {key, cert}).message()), HasSubstr("without tokens"));
    EXPECT_TRUE(Parse(far, {key, cert, "--tenants-file=t"}).ok());
    EXPECT_TRUE(Parse(far, {key, cert, "--tls-client-ca=" + pem_}).ok());
    EXPECT_TRUE(Parse(far, {"--insecure"}).ok());
  }
}

TEST_F(SecurityFlagsTest, KeysGoToBothListeners) {
  ASSERT_TRUE(Parse("127.0.0.1:1", {"--tls-key=" + pem_, "--tls-cert=" + pem_, "--tls-client-ca=" + pem_}).ok());
  EXPECT_TRUE(options_->http.tls.enabled());
  EXPECT_TRUE(options_->grpc.tls.enabled());
  EXPECT_FALSE(options_->grpc.tls.client_roots.empty());
  // Where they are read again.
  EXPECT_EQ(options_->tls_files.files.paths, (std::vector<std::string>{pem_, pem_, pem_}));
  const std::string key = "-----BEGIN EC PRIVATE KEY-----", certificate = "-----BEGIN CERTIFICATE-----";
  EXPECT_EQ(options_->tls_files.read({key, certificate + "2", certificate + "3"})->client_roots, certificate + "3");
  EXPECT_FALSE(options_->tls_files.read({key, "", certificate}).ok());
  EXPECT_FALSE(options_->tls_files.read({certificate, certificate, certificate}).ok());
  EXPECT_THAT(std::string(Parse("", {"--tls-key=" + pem_}).message()), HasSubstr("want both"));
  EXPECT_THAT(std::string(Parse("", {"--tls-client-ca=" + pem_}).message()), HasSubstr("without --tls-key"));
  const std::string text = folder_.Write("text", "no key");
  EXPECT_THAT(std::string(Parse("", {"--tls-key=" + text, "--tls-cert=" + pem_}).message()), HasSubstr("PEM"));
  EXPECT_EQ(Parse("", {"--tls-key=/nowhere", "--tls-cert=" + pem_}).code(), absl::StatusCode::kNotFound);
}

TEST_F(SecurityFlagsTest, FilesThatWereSwappedAreNamed) {
  const std::string key = folder_.Write("key", "-----BEGIN PRIVATE KEY-----\n");
  const std::string cert = folder_.Write("cert", "-----BEGIN CERTIFICATE-----\n");
  const auto message = [this](const std::string& key_file, const std::string& cert_file) {
    return std::string(Parse("", {"--tls-key=" + key_file, "--tls-cert=" + cert_file}).message());
  };
  EXPECT_EQ(message(key, cert), "");
  EXPECT_EQ(message(cert, key), "--tls-key: got file '" + cert +
                                    "', which holds certificates and no private key, want a private key "
                                    "(-----BEGIN PRIVATE KEY-----)");
  EXPECT_EQ(message(key, key), "--tls-cert: got file '" + key +
                                   "', which holds a private key and no certificate, want certificates "
                                   "(-----BEGIN CERTIFICATE-----)");
  const std::string other = folder_.Write("other", "-----BEGIN CERTIFICATE REQUEST-----\n");
  EXPECT_THAT(message(key, other), HasSubstr("neither a private key nor a certificate"));
}

TEST_F(SecurityFlagsTest, LimitsReachTheListeners) {
  ASSERT_TRUE(Parse("", {"--max-body-bytes=1000", "--max-http-connections=7", "--http-idle-timeout-ms=20",
                         "--http-header-timeout-ms=30", "--http-compress-min-bytes=0"})
                  .ok());
  EXPECT_EQ(options_->http.max_body_bytes, 1000u);
  EXPECT_EQ(options_->grpc.max_message_bytes, 1000);
  EXPECT_EQ(options_->http.min_packed_bytes, 0u);
  EXPECT_EQ(options_->http.max_connections, 7u);
  EXPECT_EQ(options_->http.idle_timeout, absl::Milliseconds(20));
  EXPECT_EQ(options_->http.header_timeout, absl::Milliseconds(30));
  EXPECT_FALSE(Parse("", {"--max-body-bytes=0"}).ok());
}

TEST(IsLoopbackAddressTest, OnlyWhatCannotLeaveThisMachine) {
  for (const char* address : {"127.0.0.1:80", "127.1.2.3:0", "[::1]:80", "localhost:80"}) {
    EXPECT_TRUE(IsLoopbackAddress(address)) << address;
  }
  for (const char* address : {"0.0.0.0:80", "[::]:80", "127.example.com:80", "128.0.0.1:80", ":80", "127:80"}) {
    EXPECT_FALSE(IsLoopbackAddress(address)) << address;
  }
}

}  // namespace
}  // namespace portico
