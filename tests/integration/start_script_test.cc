// `portico serve` as TensorFlow Serving's start scripts call tensorflow_model_server: the process, over real sockets.

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

using ::testing::HasSubstr;
using ::testing::Not;

class StartScriptTest : public ::testing::Test {
 protected:
  /// Model NAME: y = factor · x, float32[N].
  void WriteModel(const std::string& name, int version, float factor) {
    ModelBuilder model;
    model.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"});
    model.Initializer("factor", {}, {factor}).Node("Mul", {"x", "factor"}, {"y"});
    // Appears whole: the folder is watched.
    const std::string staged = folder_.File(absl::StrCat("staged/", name, "/", version, "/model.onnx"));
    model.WriteTo(staged);
    folder_.Folder(name);
    std::filesystem::rename(std::filesystem::path(staged).parent_path(),
                            absl::StrCat(folder_.path(), "/", name, "/", version));
  }
  std::string WriteConfig(const std::string& models) {
    return folder_.Write("models.config", absl::StrCat("model_config_list {\n", models, "}\n"));
  }
  std::string Entry(const std::string& name, const std::string& more) {
    return absl::StrCat("config { name: '", name, "' base_path: '", folder_.path(), "/", name,
                        "' model_platform: 'tensorflow' ", more, " }\n");
  }
  /// Blocks until it serves.
  void WaitForAddresses(PorticoCommand* serve) {
    const std::optional<ServeAddresses> addresses = WaitForServe(serve);
    ASSERT_TRUE(addresses.has_value()) << serve->output();
    grpc_ = addresses->grpc;
    http_ = addresses->http;
  }
  HttpAnswer Predict(const std::string& model) {
    return Http(http_, absl::StrCat("/v1/models/", model, ":predict"), R"({"instances": [1, 2]})");
  }
  /// Polls, since what is waited for happens in another process; false after 30 s.
  bool Eventually(const std::string& model, const std::string& body) {
    const absl::Time until = absl::Now() + absl::Seconds(30);
    while (absl::Now() < until) {
      if (Predict(model).body == body) return true;
      absl::SleepFor(absl::Milliseconds(20));
    }
    return false;
  }

  const TempFolder folder_;
  std::string grpc_;
  std::string http_;
};

TEST_F(StartScriptTest, ConfigFileWithTwoModelsLabelsAndPolling) {
  WriteModel("double", 1, 2);
  WriteModel("triple", 3, 3);
  WriteModel("triple", 4, 30);
  const std::string config =
      WriteConfig(Entry("double", "") + Entry("triple",
                                              "model_version_policy { specific { versions: 3 versions: 4 } } "
                                              "version_labels { key: 'stable' value: 3 } "
                                              "version_labels { key: 'canary' value: 4 }"));
  // --port wants a number that is free; the addresses of this test are for the system to choose.
  PorticoCommand serve({"serve", "--grpc=127.0.0.1:0", "--http=127.0.0.1:0", "--model_config_file=" + config,
                        "--model_config_file_poll_wait_seconds=1", "--file_system_poll_wait_seconds=1",
                        "--rest_api_timeout_in_ms=10000", "--enable_batching=true", "--rest_api_num_threads=4",
                        "--tensorflow_session_parallelism=2"});
  ASSERT_NO_FATAL_FAILURE(WaitForAddresses(&serve));
  EXPECT_THAT(serve.output(), HasSubstr("--tensorflow_session_parallelism: has no effect"));

  // Both protocols, versions and labels.
  EXPECT_EQ(Predict("double").body, R"({"predictions": [2.0,4.0]})");
  EXPECT_EQ(Predict("triple").body, R"({"predictions": [30.0,60.0]})");
  EXPECT_EQ(Predict("triple/versions/3").body, R"({"predictions": [3.0,6.0]})");
  EXPECT_EQ(Predict("triple/labels/stable").body, R"({"predictions": [3.0,6.0]})");
  EXPECT_EQ(Predict("triple/labels/canary").body, R"({"predictions": [30.0,60.0]})");
  EXPECT_EQ(Predict("triple/labels/other").code, 400);
  EXPECT_THAT(Http(http_, "/v1/models/triple").body, HasSubstr(R"("version":"3","state":"AVAILABLE")"));
  EXPECT_THAT(Http(http_, "/v1/models/triple/labels/canary/metadata").body, HasSubstr(R"("version":"4")"));
  TfsClient client(grpc_);
  const auto prediction = client.Predict("double", "", {{"x", Tensor::Of<float>({1}, {21})}}, {});
  ASSERT_TRUE(prediction.ok()) << prediction.status();
  EXPECT_EQ(prediction->version, 1);
  // What readiness scripts look for.
  EXPECT_THAT(Predict("wait_for_me").body, HasSubstr("Servable"));

  // A new version folder is served without a restart.
  WriteModel("double", 2, 20);
  EXPECT_TRUE(Eventually("double", R"({"predictions": [20.0,40.0]})"));

  // A bad file changes nothing, and says so; a good one is followed.
  WriteConfig("config { nam: 'double' }");
  ASSERT_TRUE(serve.WaitForOutput("the models stay as they are")) << serve.output();
  EXPECT_EQ(Predict("double").code, 200);
  EXPECT_EQ(Predict("triple").code, 200);
  WriteConfig(Entry("triple", "model_version_policy { specific { versions: 3 } }"));
  EXPECT_TRUE(Eventually("triple", R"({"predictions": [3.0,6.0]})"));
  EXPECT_EQ(Predict("double").code, 404);
}

TEST_F(StartScriptTest, OneModelWithoutAMesh) {
  WriteModel("m", 7, 5);
  PorticoCommand serve({"serve", "--grpc=127.0.0.1:0", "--http=127.0.0.1:0", "--model_name=m",
                        "--model_base_path=" + folder_.path() + "/m"});
  ASSERT_NO_FATAL_FAILURE(WaitForAddresses(&serve));
  EXPECT_EQ(Predict("m").body, R"({"predictions": [5.0,10.0]})");
  WriteModel("m", 8, 6);
  EXPECT_TRUE(Eventually("m", R"({"predictions": [6.0,12.0]})"));
  EXPECT_THAT(serve.output(), Not(HasSubstr("was written to")));
  // A version that serves stays what it is, and whoever writes there is told.
  std::filesystem::copy_file(folder_.path() + "/m/7/model.onnx", folder_.path() + "/m/8/model.onnx",
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_TRUE(serve.WaitForOutput("model 'm' version 8: its model.onnx was written to")) << serve.output();
  EXPECT_EQ(Predict("m").body, R"({"predictions": [6.0,12.0]})");
}

TEST_F(StartScriptTest, WhatCannotStartSaysWhy) {
  CommandResult result = RunPortico({"serve", "--model_config_file=" + WriteConfig("config {")});
  EXPECT_EQ(result.end, "exit status 1");
  EXPECT_THAT(result.output, HasSubstr("models.config': line"));
  result = RunPortico({"serve", "--port=8500"});
  EXPECT_THAT(result.output, HasSubstr("got nothing to serve"));
  result = RunPortico({"serve", "--model_base_path=/m", "--platform_config_file=/p"});
  EXPECT_THAT(result.output, HasSubstr("--platform_config_file"));
  result = RunPortico({"serve", "--revision=/r", "--node=n", "--model_base_path=/m"});
  EXPECT_THAT(result.output, HasSubstr("--model_base_path"));
}

}  // namespace
}  // namespace portico
