// Commands as clients of a `portico serve` whose listeners have TLS, without clients' certificates, and tenants.

#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/portico_command.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"
#include "tests/testing/test_certificates.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

class TlsCommandsTest : public ::testing::Test {
 protected:
  TlsCommandsTest() {
    ModelBuilder model;
    model.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"}).Node("Neg", {"x"}, {"y"});
    model.WriteTo(folder_.File("m/1/model.onnx"));
    const std::string hash = "$(printf %s ", to = " | sha256sum | cut -c1-64)";
    const std::string tenants = absl::StrCat(
        "printf 'tenants:\n  ann: {token_sha256: [%s]}\n  ops: {token_sha256: "
        "[%s], roles: [admin]}\n' ",
        hash, "ann", to, " ", hash, "ops", to, " > '", folder_.path(), "/tenants'");
    EXPECT_EQ(std::system(tenants.c_str()), 0);
    folder_.Write("ann", "ann\n");
    folder_.Write("ops", "ops\n");
  }

  CommandResult Run(std::vector<std::string> words, const std::string& tenant) const {
    words.insert(words.end(), {"--tls-ca", keys_.File("root.pem"), "--token-file", folder_.path() + "/" + tenant});
    return RunPortico(std::move(words));
  }

  const TempFolder folder_;
  const TestCertificates keys_;
};

TEST_F(TlsCommandsTest, PredictTopAndTraceReachTheNode) {
  PorticoCommand serve({"serve", "--model", absl::StrCat("m=", folder_.path(), "/m"), "--grpc", "127.0.0.1:0", "--http",
                        "127.0.0.1:0", "--tls-key", keys_.File("server.key"), "--tls-cert", keys_.File("server.pem"),
                        "--tenants-file", folder_.path() + "/tenants"});
  const auto at = WaitForServe(&serve);
  ASSERT_TRUE(at.has_value()) << serve.output();
  const std::vector<std::string> predict = {"predict", "m",       "--grpc",  at->grpc, "--http",
                                            at->http,  "--input", "x=[1,2]", "--trace"};
  const CommandResult traced = Run(predict, "ops");
  EXPECT_EQ(traced.end, "exit status 0") << traced.output;
  EXPECT_THAT(traced.output, HasSubstr("batch of 2 rows"));
  // The answer comes, its trace is for admins.
  const CommandResult guarded = Run(predict, "ann");
  EXPECT_EQ(guarded.end, "exit status 1");
  EXPECT_THAT(guarded.output, HasSubstr("\"outputs\""));
  EXPECT_THAT(guarded.output, HasSubstr("--trace: node '"));
  EXPECT_THAT(guarded.output, HasSubstr("got HTTP 403 for /debug/traces?id="));
  EXPECT_THAT(guarded.output, HasSubstr("give an admin's --token-file"));

  const CommandResult trace = Run({"trace", "--http", at->http, "--last"}, "ops");
  EXPECT_EQ(trace.end, "exit status 0") << trace.output;
  EXPECT_THAT(trace.output, HasSubstr("batch of 2 rows"));
  EXPECT_THAT(Run({"trace", "--http", at->http, "--last"}, "ann").output, HasSubstr("give an admin's --token-file"));
  const CommandResult top = Run({"top", "--http", at->http, "--once", "--interval", "100ms"}, "ann");
  EXPECT_EQ(top.end, "exit status 0") << top.output;
  EXPECT_THAT(top.output, HasSubstr("ready"));
  const CommandResult plain = RunPortico({"top", "--http", at->http, "--once", "--interval", "100ms"});
  EXPECT_EQ(plain.end, "exit status 1") << plain.output;
}

}  // namespace
}  // namespace portico
