#include "node/frontend/access.h"

#include "absl/time/clock.h"
#include "base/file.h"
#include "gmock/gmock.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"
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

/// Of ann, who has `token`, and of root, an admin, whose token is "root".
std::string TenantsOf(const std::string& token) {
  return absl::StrCat("tenants:\n  root: {roles: [admin], token_sha256: [", Sha256("root").Hex(),
                      "]}\n  ann:\n    token_sha256: [", Sha256(token).Hex(),
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

TEST(AccessTest, AdminsAreTold) {
  Access access;
  EXPECT_TRUE(access.CheckAdmin("").ok()) << "without tenants nobody is told apart";
  access.SetTenants({{{"ann", 0, {}}, {.name = "root", .admin = true}}, {{Sha256("a"), 0}, {Sha256("r"), 1}}});
  EXPECT_TRUE(access.CheckAdmin("Bearer r").ok());
  EXPECT_EQ(access.CheckAdmin("").code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(access.CheckAdmin("Bearer a").code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(CheckAdmin(nullptr).code(), absl::StatusCode::kUnauthenticated);
}

TEST(AccessTest, ReplacedTableLivesAsLongAsItsTenantsAreHeld) {
  Access access;
  access.SetTenants({{{"ann", 0, {}}}, {{Sha256("a"), 0}}});
  auto before = access.Check("Bearer a");
  ASSERT_TRUE(before.ok());
  const std::weak_ptr<const Tenant> held = *before;
  access.SetTenants({{{"bob", 0, {}}}, {{Sha256("a"), 0}}});
  EXPECT_EQ((*before)->name, "ann");
  EXPECT_EQ((*access.Check("Bearer a"))->name, "bob");
  before = absl::CancelledError();
  EXPECT_TRUE(held.expired());
}

TEST(TenantsFileTest, HoldsHashesPrioritiesAndLimits) {
  const auto table = ParseTenants(TenantsOf("s") + "  shut: {token_sha256: []}\n", "t.yaml");
  ASSERT_TRUE(table.ok()) << table.status();
  ASSERT_EQ(table->tenants.size(), 3u);
  EXPECT_TRUE(table->tenants[0].admin);
  const Tenant& ann = table->tenants[1];
  EXPECT_EQ(ann.name, "ann");
  EXPECT_EQ(ann.priority, 3);
  EXPECT_EQ(ann.limits.max_requests, 5);
  EXPECT_EQ(ann.limits.max_bytes, 600);
  EXPECT_EQ(ann.limits.requests_per_second, 70);
  EXPECT_FALSE(ann.admin);
  ASSERT_EQ(table->tokens.size(), 2u);
  EXPECT_EQ(table->tokens[1].first, Sha256("s"));
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
      {"tenants: {a: {token_sha256: [], roles: [king]}}", "roles: got 'king', want admin"},
      {"tenants: {a: {token_sha256: [], roles: admin}}", "roles"},
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
  TenantsFile file({.path = path}, [&](const TenantTable& table) { tables.push_back(table); });
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
  EXPECT_EQ(tables[1].tokens[1].first, Sha256("two"));
}

class GuardedNodeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ModelBuilder model;
    model.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"}).Node("Identity", {"x"}, {"y"});
    model.WriteTo(folder_.File("m/1/model.onnx"));
    Node::Options options;
    options.http.address = "127.0.0.1:0";
    options.grpc.address = "127.0.0.1:0";
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
      {"GET", "/v2", ""},
      {"GET", "/metrics", ""}};
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

TEST_F(GuardedNodeTest, WhatChangesOrOpensTheNodeWantsAnAdmin) {
  const std::tuple<const char*, const char*, const char*> guarded[] = {{"GET", "/debug/traces", ""},
                                                                       {"GET", "/hub", ""},
                                                                       {"GET", "/debug/memory", ""},
                                                                       {"POST", "/v2/repository/models/m/unload", "{}"},
                                                                       {"POST", "/v2/repository/models/m/load", "{}"}};
  for (const auto& [method, path, body] : guarded) {
    EXPECT_EQ(Ask(method, path, "", body).code, 401) << path;
    const RawResponse refused = Ask(method, path, "open sesame", body);
    EXPECT_EQ(refused.code, 403) << path;
    EXPECT_THAT(refused.body, HasSubstr("tenant 'ann': got a request for admins"));
    EXPECT_EQ(Ask(method, path, "root", body).code, 200) << path;
  }
}

TEST_F(GuardedNodeTest, GrpcTellsTenantsAndAdminsApart) {
  const auto channel = grpc::CreateChannel(node_->grpc_address(), grpc::InsecureChannelCredentials());
  // An empty message is a valid request of all of these; what they answer without a model's name shows that they ran.
  const auto ask = [&](const std::string& method, const std::string& token) {
    grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer> stub(channel);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    if (!token.empty()) context.AddMetadata("authorization", "Bearer " + token);
    grpc::CompletionQueue queue;
    const grpc::Slice nothing;
    const grpc::ByteBuffer request(&nothing, 1);
    grpc::ByteBuffer response;
    grpc::Status status;
    const auto call = stub.PrepareUnaryCall(&context, method, request, &queue);
    call->StartCall();
    call->Finish(&response, &status, nullptr);
    void* tag;
    bool ok;
    queue.Next(&tag, &ok);
    return status.error_code();
  };
  const std::string v2 = "/inference.GRPCInferenceService/", models = "/tensorflow.serving.ModelService/";
  const auto kNo = grpc::StatusCode::UNAUTHENTICATED;
  for (const std::string& method :
       {v2 + "ModelInfer", v2 + "ModelMetadata", v2 + "ModelConfig", v2 + "ModelStatistics", v2 + "RepositoryIndex",
        v2 + "ServerMetadata", models + "GetModelStatus", std::string("/tensorflow.serving.PredictionService/Predict"),
        std::string("/tensorflow.serving.PredictionService/GetModelMetadata")}) {
    EXPECT_EQ(ask(method, ""), kNo) << method;
    EXPECT_EQ(ask(method, "open"), kNo) << method;
    EXPECT_NE(ask(method, "open sesame"), kNo) << method;
  }
  for (const std::string& method :
       {v2 + "RepositoryModelLoad", v2 + "RepositoryModelUnload", models + "HandleReloadConfigRequest"}) {
    EXPECT_EQ(ask(method, ""), kNo) << method;
    EXPECT_EQ(ask(method, "open sesame"), grpc::StatusCode::PERMISSION_DENIED) << method;
    EXPECT_NE(ask(method, "root"), grpc::StatusCode::PERMISSION_DENIED) << method;
  }
  for (const std::string& method :
       {v2 + "ServerLive", v2 + "ServerReady", std::string("/grpc.health.v1.Health/Check")}) {
    EXPECT_EQ(ask(method, ""), grpc::StatusCode::OK) << method;
  }
  for (const char* version : {"v1", "v1alpha"}) {
    const std::string method = absl::StrCat("/grpc.reflection.", version, ".ServerReflection/ServerReflectionInfo");
    EXPECT_EQ(ask(method, ""), kNo) << method;
    EXPECT_EQ(ask(method, "open sesame"), grpc::StatusCode::OK) << method;
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
