// What a node records, sent again by `portico replay`: processes, over real sockets.

#include <csignal>
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "cli/tfs_client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/node_fixture.h"
#include "tests/integration/portico_command.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

class ReplayTest : public ::testing::Test {
 protected:
  /// y = factor · x, float32[N].
  void WriteModel(int version, float factor) {
    ModelBuilder model;
    model.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"});
    model.Initializer("factor", {}, {factor}).Node("Mul", {"x", "factor"}, {"y"});
    const std::string staged = folder_.File(absl::StrCat("staged/", version, "/model.onnx"));
    model.WriteTo(staged);
    folder_.Folder("m");
    std::filesystem::rename(std::filesystem::path(staged).parent_path(), absl::StrCat(folder_.path(), "/m/", version));
  }
  std::vector<std::string> ServeArguments() const {
    return {"serve", "--grpc=127.0.0.1:0", "--http=127.0.0.1:0", "--model_name=m",
            "--model_base_path=" + folder_.path() + "/m"};
  }
  /// Blocks until it serves.
  void WaitForAddresses(PorticoCommand* serve) {
    const std::optional<ServeAddresses> addresses = WaitForServe(serve);
    ASSERT_TRUE(addresses.has_value()) << serve->output();
    grpc_ = addresses->grpc;
    http_ = addresses->http;
  }
  /// Serves and records `count` gRPC requests and two of other APIs. The node has stopped when it returns.
  void RecordRequests(int count) {
    std::vector<std::string> arguments = ServeArguments();
    arguments.insert(arguments.end(), {"--request-log=" + log_, "--request-log-sample=1"});
    PorticoCommand serve(arguments);
    ASSERT_NO_FATAL_FAILURE(WaitForAddresses(&serve));
    TfsClient client(grpc_);
    for (int i = 0; i < count; ++i) {
      const auto prediction = client.Predict("m", "", {{"x", Tensor::Of<float>({2}, {1.0f + i, -2})}}, {});
      ASSERT_TRUE(prediction.ok()) << prediction.status();
    }
    EXPECT_EQ(Http(http_, "/v1/models/m:predict", R"({"instances": [1, 2, 3]})").code, 200);
    EXPECT_EQ(Http(http_, "/v2/models/m/infer",
                   R"({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [7]}]})")
                  .code,
              200);
    EXPECT_EQ(Http(http_, "/v1/models/m:predict", R"({"instances": [[1], [2]]})").code, 400);
    serve.process().Signal(SIGTERM);
    EXPECT_EQ(serve.WaitForEnd(), "exit status 0") << serve.output();
  }
  CommandResult Replay(std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments = {"replay", log_, "--target=" + grpc_};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return RunPortico(arguments);
  }
  /// Exit status of a command in the folder.
  int Shell(const std::string& command) const {
    return std::system(absl::StrCat("cd '", folder_.path(), "' && { ", command, "; } >/dev/null 2>&1").c_str());
  }
  /// Waits until `version` answers.
  void WaitForVersion(int64_t version) {
    TfsClient client(grpc_);
    const absl::Time until = absl::Now() + absl::Seconds(30);
    while (absl::Now() < until) {
      const auto prediction = client.Predict("m", "", {{"x", Tensor::Of<float>({1}, {1})}}, {});
      if (prediction.ok() && prediction->version == version) return;
      absl::SleepFor(absl::Milliseconds(10));
    }
    FAIL() << "version " << version << " does not come";
  }

  const TempFolder folder_;
  const std::string log_ = folder_.path() + "/log";
  std::string grpc_;
  std::string http_;
};

TEST_F(ReplayTest, ANodeThatWantsTlsCertificatesAndTokensIsReached) {
  WriteModel(1, 2);
  ASSERT_NO_FATAL_FAILURE(RecordRequests(3));
  ASSERT_EQ(Shell("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=node -addext subjectAltName=DNS:node "
                  "-keyout key -out pem"),
            0);
  folder_.Write("token", "open sesame\n");
  ASSERT_EQ(Shell("printf 'tenants:\n  ann:\n    token_sha256: [%s]\n' $(printf %s 'open sesame' | sha256sum | cut "
                  "-c1-64) > tenants.yaml"),
            0);
  const auto file = [this](const std::string& flag, const std::string& name) {
    return absl::StrCat(flag, "=", folder_.path(), "/", name);
  };
  std::vector<std::string> arguments = ServeArguments();
  arguments.insert(arguments.end(), {file("--tls-key", "key"), file("--tls-cert", "pem"),
                                     file("--tls-client-ca", "pem"), file("--tenants-file", "tenants.yaml")});
  PorticoCommand serve(arguments);
  ASSERT_NO_FATAL_FAILURE(WaitForAddresses(&serve));

  std::vector<std::string> flags = {file("--tls-ca", "pem"), file("--tls-key", "key"), file("--tls-cert", "pem"),
                                    "--tls-server-name=node", file("--token-file", "token")};
  const CommandResult known = Replay(flags);
  EXPECT_EQ(known.end, "exit status 0") << known.output;
  EXPECT_THAT(known.output, HasSubstr("equal 5, within tolerance 0, different 0, failed 0"));
  // `portico predict` has the same flags, for either API.
  const auto predict = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"predict", "m", "--grpc=" + grpc_, "--http=" + http_, "--input=x=[1,2]"});
    more.insert(more.end(), flags.begin(), flags.end());
    return RunPortico(std::move(more));
  };
  for (const CommandResult& answer : {predict({}), predict({"--rest"})}) {
    EXPECT_EQ(answer.end, "exit status 0") << answer.output;
    EXPECT_THAT(answer.output, HasSubstr("\"outputs\""));
  }

  flags.pop_back();
  EXPECT_EQ(predict({}).end, "exit status 1");
  EXPECT_THAT(predict({"--rest"}).output, HasSubstr("HTTP 401"));
  const CommandResult nobody = Replay(flags);
  EXPECT_EQ(nobody.end, "exit status 1") << nobody.output;
  EXPECT_THAT(nobody.output, HasSubstr("failed 5"));
  EXPECT_THAT(nobody.output, HasSubstr("UNAUTHENTICATED"));
  EXPECT_THAT(Replay({"--timeout=5"}).output, HasSubstr("failed 5"));
}

TEST_F(ReplayTest, AnswersAreComparedWithTheRecordedOnes) {
  WriteModel(1, 2);
  ASSERT_NO_FATAL_FAILURE(RecordRequests(20));
  PorticoCommand serve(ServeArguments());
  ASSERT_NO_FATAL_FAILURE(WaitForAddresses(&serve));

  CommandResult same = Replay();
  EXPECT_EQ(same.end, "exit status 0") << same.output;
  EXPECT_THAT(same.output, HasSubstr("22 requests of 1 files"));
  EXPECT_THAT(same.output, HasSubstr("equal 22, within tolerance 0, different 0, failed 0"));

  // Weights that differ less than the tolerance.
  WriteModel(2, 2.00001f);
  ASSERT_NO_FATAL_FAILURE(WaitForVersion(2));
  CommandResult close = Replay();
  EXPECT_EQ(close.end, "exit status 0") << close.output;
  EXPECT_THAT(close.output, HasSubstr("equal 0, within tolerance 22, different 0, failed 0"));
  EXPECT_EQ(Replay({"--rtol=0", "--atol=0"}).end, "exit status 1");

  // And others.
  WriteModel(3, 3);
  ASSERT_NO_FATAL_FAILURE(WaitForVersion(3));
  CommandResult other = Replay({"--concurrency=1", "--show=2"});
  EXPECT_EQ(other.end, "exit status 1") << other.output;
  EXPECT_THAT(other.output, HasSubstr("different 22, failed 0"));
  EXPECT_THAT(other.output, HasSubstr("output 'y': largest difference 20, relative 0.5; beyond tolerance in 22"));
  EXPECT_THAT(other.output, HasSubstr("record 0 (requests-"));
  // Two that were answered at once may be recorded in either order.
  EXPECT_THAT(other.output, ContainsRegex("number [01]\\): output 'y': element 0: got 3, want 2 \\(and 1 more\\)"));
  EXPECT_THAT(other.output, HasSubstr("and 20 more that differ or fail"));
  EXPECT_THAT(other.output, HasSubstr("portico replay: 22 of 22 answers are not as recorded"));

  // A model that is not there.
  CommandResult failed = Replay({"--model=nobody", "--limit=3"});
  EXPECT_EQ(failed.end, "exit status 1");
  EXPECT_THAT(failed.output, HasSubstr("failed 3"));
  EXPECT_THAT(failed.output, HasSubstr("got NOT_FOUND, want an answer"));
}

TEST_F(ReplayTest, PaceOfTheRecordOrAGivenOne) {
  WriteModel(1, 2);
  ASSERT_NO_FATAL_FAILURE(RecordRequests(8));
  PorticoCommand serve(ServeArguments());
  ASSERT_NO_FATAL_FAILURE(WaitForAddresses(&serve));
  const absl::Time start = absl::Now();
  const CommandResult paced = Replay({"--rate=20"});
  EXPECT_EQ(paced.end, "exit status 0") << paced.output;
  // The last of 10 is due after 9 of 20 parts of a second.
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(450));
  const CommandResult recorded = Replay({"--speed=10"});
  EXPECT_EQ(recorded.end, "exit status 0") << recorded.output;
  EXPECT_THAT(Replay({"--rate=1", "--speed=1"}).output, HasSubstr("--rate, --speed: got both"));
}

TEST_F(ReplayTest, WhatCannotBeReplayedSaysWhy) {
  grpc_ = "127.0.0.1:1";
  CommandResult result = Replay();
  EXPECT_EQ(result.end, "exit status 1");
  EXPECT_THAT(result.output, HasSubstr("No such file"));
  folder_.Write("log/a.tfrecord", "no records");
  result = Replay();
  EXPECT_EQ(result.end, "exit status 1");
  EXPECT_THAT(result.output, HasSubstr("a.tfrecord': record at byte 0"));
}

}  // namespace
}  // namespace portico
