#include "cli/http_client.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "gtest/gtest.h"
#include "node/frontend/http_server.h"
#include "tests/testing/test_certificates.h"

namespace portico {
namespace {

std::unique_ptr<HttpServer> Serve(HttpServer::Handler handler) {
  auto server = HttpServer::Start({}, std::move(handler));
  EXPECT_TRUE(server.ok()) << server.status();
  return *std::move(server);
}

TEST(HttpClientTest, BodyHeadersAndCodeArrive) {
  const auto server = Serve([](const HttpRequest& request, HttpServer::Respond respond) {
    respond({.code = 418,
             .body = absl::StrCat(request.method, " ", request.path, "?", request.query, " ", request.header("X-Hop"),
                                  " ", request.body)});
  });
  HttpCall call;
  call.target = "/a/b?c=d";
  call.headers = {{"x-hop", "1"}};
  EXPECT_EQ(CallHttp(server->address(), call)->body, "GET /a/b?c=d 1 ");
  call.body = "{}";
  const auto answer = CallHttp(server->address(), call);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->code, 418);
  EXPECT_EQ(answer->body, "POST /a/b?c=d 1 {}");
}

TEST(HttpClientTest, NobodyThereIsUnavailableAndNoAnswerIsDeadlineExceeded) {
  HttpServer::Respond kept;
  auto server = Serve([&kept](const HttpRequest&, HttpServer::Respond respond) { kept = std::move(respond); });
  const std::string address = server->address();
  HttpCall call;
  call.timeout = absl::Milliseconds(50);
  EXPECT_TRUE(absl::IsDeadlineExceeded(CallHttp(address, call).status()));
  kept({});
  server.reset();
  EXPECT_TRUE(absl::IsUnavailable(CallHttp(address, {}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(CallHttp("no address", {}).status()));
}

TEST(HttpClientTest, SpeaksTlsAndSendsTheToken) {
  const TestCertificates keys;
  HttpServer::Options options;
  options.tls.private_key = *ReadFile(keys.File("server.key"), 1 << 20);
  options.tls.certificates = *ReadFile(keys.File("server.pem"), 1 << 20);
  auto server = HttpServer::Start(std::move(options), [](const HttpRequest& request, HttpServer::Respond respond) {
    respond({.body = absl::StrCat(request.header("authorization"), " ", request.body)});
  });
  ASSERT_TRUE(server.ok()) << server.status();
  HttpCall call;
  call.body = std::string(100'000, 'x');
  call.security.tls = true;
  call.security.token = "s3cret";
  // Nobody vouches for it.
  EXPECT_TRUE(absl::IsUnavailable(CallHttp((*server)->address(), call).status()));
  call.security.roots = *ReadFile(keys.File("root.pem"), 1 << 20);
  const auto answer = CallHttp((*server)->address(), call);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->body, "Bearer s3cret " + call.body);
  call.security.server_name = "elsewhere";
  EXPECT_TRUE(absl::IsUnavailable(CallHttp((*server)->address(), call).status()));
  call.security.roots = "no roots";
  EXPECT_TRUE(absl::IsInvalidArgument(CallHttp((*server)->address(), call).status()));
}

}  // namespace
}  // namespace portico
