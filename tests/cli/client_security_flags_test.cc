#include "cli/client_security_flags.h"

#include <algorithm>
#include <vector>

#include "CLI/CLI.hpp"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

class ClientSecurityFlagsTest : public ::testing::Test {
 protected:
  absl::StatusOr<ClientSecurity> Read(std::vector<std::string> arguments, const std::string& address = "h:1") {
    ClientSecurityFlags flags;
    CLI::App app;
    flags.AddTo(app);
    std::reverse(arguments.begin(), arguments.end());
    app.parse(arguments);
    return flags.Read(address);
  }
  void ExpectError(std::vector<std::string> arguments, const std::string& message) {
    EXPECT_THAT(std::string(Read(std::move(arguments)).status().message()), HasSubstr(message));
  }

  const TempFolder folder_;
  const std::string pem_ = folder_.Write("pem", "-----BEGIN PRIVATE KEY-----\n-----BEGIN CERTIFICATE-----\n");
  const std::string token_ = folder_.Write("token", "open sesame\n");
};

TEST_F(ClientSecurityFlagsTest, WithoutThemItIsPlainAndNobody) {
  const ClientSecurity security = *Read({});
  EXPECT_FALSE(security.tls);
  EXPECT_EQ(security.token, "");
}

TEST_F(ClientSecurityFlagsTest, FilesAreRead) {
  const auto security = Read({"--tls-ca=" + pem_, "--tls-key=" + pem_, "--tls-cert=" + pem_, "--tls-server-name=node",
                              "--token-file=" + token_});
  ASSERT_TRUE(security.ok()) << security.status();
  EXPECT_TRUE(security->tls);
  EXPECT_THAT(security->roots, HasSubstr("BEGIN"));
  EXPECT_THAT(security->private_key, HasSubstr("BEGIN"));
  EXPECT_THAT(security->certificates, HasSubstr("BEGIN"));
  EXPECT_EQ(security->server_name, "node");
  EXPECT_EQ(security->token, "open sesame");
  EXPECT_TRUE(Read({"--tls"})->tls);
}

TEST_F(ClientSecurityFlagsTest, ATokenIsNotSentInTheClear) {
  const std::string token = "--token-file=" + token_;
  ExpectError({token}, "--token-file: got a token for 'h:1'");
  EXPECT_TRUE(Read({token, "--insecure"}).ok());
  EXPECT_TRUE(Read({token, "--tls"}).ok());
  EXPECT_EQ(Read({token}, "127.0.0.1:8500")->token, "open sesame");
}

TEST_F(ClientSecurityFlagsTest, WhatMakesNoSenseIsRefusedByName) {
  ExpectError({"--tls-key=" + pem_}, "--tls-key, --tls-cert: got one of them");
  ExpectError({"--tls-ca=" + token_}, "--tls-ca: got file");
  ExpectError({"--tls-ca=/nowhere"}, "--tls-ca");
  ExpectError({"--token-file=" + folder_.Write("empty", "\n")}, "--token-file: got file");
  ExpectError({"--token-file=" + folder_.Write("lines", "a\nb\n")}, "want one line");
}

}  // namespace
}  // namespace portico
