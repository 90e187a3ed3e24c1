#include "node/frontend/access.h"

#include "absl/time/clock.h"
#include "base/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "node/frontend/http_server.h"
#include "node/frontend/tenants_file.h"
#include "node/node.h"
#include "tests/node/frontend/raw_http.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string TenantsOf(const std::string& token) {
  return absl::StrCat("tenants:\n  ann:\n    token_sha256: [", Sha256(token).Hex(),
                      "]\n    priority: 3\n    limits: {max_requests: 5, max_bytes: 600, requests_per_second: 70}\n");
}

TEST(AccessTest, WithoutTenantsEverybodyMay) {
  const Access access;
  const auto tenant = access.Check("");
  ASSERT_TRUE(tenant.ok());
  EXPECT_EQ((*tenant)->name, "");
  EXPECT_TRUE(access.Check("Bearer anything").ok());
}

TEST(AccessTest, TokensTellTenantsApart) {
  Access access;
  access.SetTenants({{{"ann", 3, {}}, {"bob", 0, {}}}, {{Sha256("a1"), 0}, {Sha256("a2"), 0}, {Sha256("b"), 1}}});
  for (const auto& [token, name] : {std::pair{"a1", "ann"}, {"a2", "ann"}, {"b", "bob"}}) {
    for (const char* scheme : {"Bearer ", "bearer ", "BEARER   "}) {
      const auto tenant = access.Check(absl::StrCat(scheme, token));
      ASSERT_TRUE(tenant.ok()) << tenant.status();
      EXPECT_EQ((*tenant)->name, name);
    }
  }
  for (const char* header : {"", "a1", "Basic a1", "Bearer", "Bearer ", "Bearer a", "Bearer a1x", "Bearer secret"}) {
    const absl::Status status = access.Check(header).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated) << header;
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("secret")));
  }
}

TEST(TenantsFileTest, HoldsHashesPrioritiesAndLimits) {
  const auto table = ParseTenants(TenantsOf("s") + "  shut: {token_sha256: []}\n", "t.yaml");
  ASSERT_TRUE(table.ok()) << table.status();
  ASSERT_EQ(table->tenants.size(), 2u);
  EXPECT_EQ(table->tenants[0].name, "ann");
  EXPECT_EQ(table->tenants[0].priority, 3);
  EXPECT_EQ(table->tenants[0].limits.max_requests, 5);
  EXPECT_EQ(table->tenants[0].limits.max_bytes, 600);
  EXPECT_EQ(table->tenants[0].limits.requests_per_second, 70);
  ASSERT_EQ(table->tokens.size(), 1u);
  EXPECT_EQ(table->tokens[0].first, Sha256("s"));
}

TEST(TenantsFileTest, WhatIsWrongIsSaidWithItsLineAndWithoutHashes) {
  const std::string hash = Sha256("s").Hex();
  const std::pair<std::string, std::string> cases[] = {
      {"tenants: {a: {token_sha256: [abc]}}", "64 hexadecimal digits"},
      {absl::StrCat("tenants: {a: {token_sha256: [", hash, "0]}}"), "64 hexadecimal digits"},
      {absl::StrCat("tenants:\n  a: {token_sha256: [", hash, "]}\n  b: {token_sha256: [", hash, "]}"), "t.yaml:3"},
      {"tenants: {a: {}}", "token_sha256: got none"},
      {"tenants: {a: {token_sha256: [], tokens: []}}", "tokens"},
      {"tenants: {a: {token_sha256: [], priority: high}}", "priority"},
      {"tenants: {a: {token_sha256: [], limits: {max_requests: -1}}}", "max_requests"},
      {"other: 1", "other"},
      {"{}", "got no 'tenants'"}};
  for (const auto& [text, want] : cases) {
    const absl::Status status = ParseTenants(text, "t.yaml").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr(want));
    EXPECT_THAT(std::string(status.message()), HasSubstr("t.yaml:"));
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr(hash)));
  }
}

TEST(TenantsFileTest, NewContentIsHandedOnAndBadContentIsNot) {
  const TempFolder folder;
  const std::string path = folder.Write("t.yaml", TenantsOf("one"));
  std::vector<TenantTable> tables;
  TenantsFile file({.path = path}, [&](TenantTable table) { tables.push_back(std::move(table)); });
  ASSERT_TRUE(file.Poll().ok());
  ASSERT_TRUE(file.Poll().ok());
  ASSERT_EQ(tables.size(), 1u);
  folder.Write("t.yaml", "tenants: [");
  EXPECT_FALSE(file.Poll().ok());
  EXPECT_TRUE(file.Poll().ok()) << "told once";
  EXPECT_EQ(tables.size(), 1u);
  folder.Write("t.yaml", TenantsOf("two"));
  ASSERT_TRUE(file.Poll().ok());
  ASSERT_EQ(tables.size(), 2u);
  EXPECT_EQ(tables[1].tokens[0].first, Sha256("two"));
}

class GuardedNodeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ModelBuilder model;
    model.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"}).Node("Identity", {"x"}, {"y"});
    model.WriteTo(folder_.File("m/1/model.onnx"));
    Node::Options options;
    options.http.address = "127.0.0.1:0";
    options.models = {{"m", folder_.Folder("m")}};
    options.tenants = {folder_.Write("t.yaml", TenantsOf("open sesame")), absl::Milliseconds(10)};
    auto node = Node::Start(std::move(options));
    ASSERT_TRUE(node.ok()) << node.status();
    node_ = *std::move(node);
  }
  RawResponse Ask(const std::string& method, const std::string& path, const std::string& token,
                  const std::string& body = "") {
    RawHttp client(node_->http_address());
    client.Send(absl::StrCat(method, " ", path, " HTTP/1.1\r\nHost: x\r\n",
                             token.empty() ? "" : absl::StrCat("Authorization: Bearer ", token, "\r\n"),
                             "Content-Length: ", body.size(), "\r\n\r\n", body));
    return client.Receive();
  }

  const TempFolder folder_;
  std::unique_ptr<Node> node_;
};

TEST_F(GuardedNodeTest, EveryPathButHealthWantsAToken) {
  const std::tuple<const char*, const char*, const char*> guarded[] = {
      {"POST", "/v1/models/m:predict", R"({"instances": [1]})"},
      {"GET", "/v1/models/m", ""},
      {"GET", "/v1/models/m/metadata", ""},
      {"GET", "/v2/models/m", ""},
      {"POST", "/v2/repository/index", "{}"},
      {"GET", "/metrics", ""},
      {"GET", "/debug/traces", ""},
      {"GET", "/debug/memory", ""}};
  for (const auto& [method, path, body] : guarded) {
    for (const char* token : {"", "open"}) {
      const RawResponse refused = Ask(method, path, token, body);
      EXPECT_EQ(refused.code, 401) << path;
      EXPECT_THAT(refused.head, HasSubstr("WWW-Authenticate: Bearer"));
    }
    EXPECT_EQ(Ask(method, path, "open sesame", body).code, 200) << path;
  }
  EXPECT_EQ(Ask("POST", "/v2/repository/models/m/unload", "", "{}").code, 401);
  for (const char* path : {"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/v2/models/m/ready"}) {
    EXPECT_EQ(Ask("GET", path, "").code, 200) << path;
  }
}

TEST_F(GuardedNodeTest, ChangedFileChangesWhoMay) {
  ASSERT_EQ(Ask("GET", "/v1/models/m", "open sesame").code, 200);
  ASSERT_TRUE(WriteFileAtomically(folder_.File("t.yaml"), TenantsOf("new")).ok());
  const absl::Time limit = absl::Now() + absl::Seconds(20);
  while (Ask("GET", "/v1/models/m", "new").code != 200 && absl::Now() < limit) {
  }
  EXPECT_EQ(Ask("GET", "/v1/models/m", "new").code, 200);
  EXPECT_EQ(Ask("GET", "/v1/models/m", "open sesame").code, 401);
}

TEST(TenantsOptionTest, NodeDoesNotStartWithABadFile) {
  const TempFolder folder;
  Node::Options options;
  options.http.address = "127.0.0.1:0";
  options.tenants.path = folder.Write("t.yaml", "tenants: 3");
  EXPECT_EQ(Node::Start(std::move(options)).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace portico
