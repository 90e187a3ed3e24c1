// Split, shadowed and ramped traffic of a running mesh: `portico up` and its nodes as processes, over real sockets.

#include <grpcpp/grpcpp.h>
#include <signal.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "deploy/node_status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "router/revision.h"
#include "tensorflow_serving/predict.grpc.pb.h"
#include "tests/integration/node_fixture.h"
#include "tests/integration/portico_command.h"
#include "tests/integration/tf_tensor.h"
#include "tests/node/frontend/raw_http.h"
#include "tests/testing/temp_folder.h"
#include "tests/testing/version_model.h"

namespace portico {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

/// VersionModel() that fails where the first number of a request is 77 and more.
ModelBuilder FailingModel(int64_t version) {
  ModelBuilder model = VersionModel(version);
  model.graph().mutable_output(0)->set_name("y");
  model.graph().mutable_node(1)->set_output(0, "plain");
  model.Initializer("least", Tensor::Of<float>({}, {0})).Initializer("most", Tensor::Of<float>({}, {77}));
  model.Initializer("table", Tensor::Of<float>({77}, std::vector<float>(77, 0)));
  model.Initializer("zero", Tensor::Of<int64_t>({1}, {0})).Initializer("one", Tensor::Of<int64_t>({1}, {1}));
  model.Initializer("columns", Tensor::Of<int64_t>({1}, {1}));
  model.Node("Slice", {"x", "zero", "one", "columns"}, {"first"}).Node("Clip", {"first", "least", "most"}, {"clipped"});
  model.Node("Cast", {"clipped"}, {"index"}, {Int("to", 7)}).Node("Gather", {"table", "index"}, {"nothing"});
  model.Node("Add", {"plain", "nothing"}, {"y"});
  return model;
}

/// VersionModel() behind hundreds of megabytes of weights that are read for each request.
ModelBuilder SlowModel(int64_t version) {
  constexpr int64_t kWide = 2500;
  const auto wide = static_cast<size_t>(kWide);
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", 64}).Output("y", DType::kFloat, {"N", 2});
  model.Initializer("in", Tensor::Of<float>({64, kWide}, std::vector<float>(64 * wide, static_cast<float>(version))));
  model.Initializer("square", Tensor::Of<float>({kWide, kWide}, std::vector<float>(wide * wide, 1e-4f)));
  model.Initializer("out", Tensor::Of<float>({kWide, 2}, std::vector<float>(2 * wide, 1)));
  model.Node("MatMul", {"x", "in"}, {"h0"});
  for (int i = 0; i < 12; ++i) model.Node("MatMul", {absl::StrCat("h", i), "square"}, {absl::StrCat("h", i + 1)});
  model.Node("MatMul", {"h12", "out"}, {"y"});
  return model;
}

/// The first column of two is the larger one, or the second.
ModelBuilder ColumnModel(float first, float second) {
  std::vector<float> weights;
  for (int i = 0; i < 64; ++i) weights.insert(weights.end(), {first, second});
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", 64}).Output("y", DType::kFloat, {"N", 2});
  model.Initializer("w", Tensor::Of<float>({64, 2}, weights)).Node("MatMul", {"x", "w"}, {"y"});
  return model;
}

/// Answers three columns.
ModelBuilder OtherShapeModel() {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", 64}).Output("y", DType::kFloat, {"N", 3});
  model.Initializer("w", Tensor::Of<float>({64, 3}, std::vector<float>(192, 1))).Node("MatMul", {"x", "w"}, {"y"});
  return model;
}

std::string Row(int first) {
  std::string body = absl::StrCat("{\"instances\":[[", first);
  for (int i = 1; i < 64; ++i) absl::StrAppend(&body, ",1");
  return absl::StrCat(body, "]]}");
}

std::string HeaderOf(const RawResponse& response, absl::string_view name) {
  for (const absl::string_view line : absl::StrSplit(response.head, "\r\n")) {
    const std::pair<std::string, std::string> parts = absl::StrSplit(line, absl::MaxSplits(": ", 1));
    if (parts.first == name) return parts.second;
  }
  return "";
}

/// A mesh of model `m`, asked over REST by clients of many keys.
class TrafficMeshTest : public ::testing::Test {
 protected:
  ~TrafficMeshTest() override { StopClients(); }

  void Publish(int64_t version, const ModelBuilder& model, const std::string& name = "m") const {
    PublishVersion(model, folder_.Folder(name), version);
  }
  std::string WriteMesh(const std::string& traffic, const std::string& models = "  m: {path: m, versions: all}\n",
                        const std::string& nodes = "  front: {serve: [m], grpc: 0, http: 0}\n") const {
    const std::string path = folder_.Write("mesh.yaml.new", absl::StrCat("mesh: split\nmodels:\n", models, "nodes:\n",
                                                                         nodes, "traffic:\n  m: ", traffic, "\n"));
    std::filesystem::rename(path, folder_.path() + "/mesh.yaml");
    return folder_.path() + "/mesh.yaml";
  }
  std::string run_folder() const { return folder_.path() + "/run"; }
  void Up(const std::string& mesh) {
    up_ = std::make_unique<PorticoCommand>(std::vector<std::string>{"up", mesh, "--run-folder", run_folder()});
    ASSERT_TRUE(up_->WaitForOutput("mesh 'split' is ready")) << up_->output();
  }
  NodeStatus StatusOf(const std::string& node) const {
    const auto status = ReadNodeStatus(absl::StrCat(run_folder(), "/status/", node, ".json"));
    EXPECT_TRUE(status.ok()) << status.status();
    return status.value_or(NodeStatus());
  }
  /// Until the node stamps requests with it.
  void WaitForRevision(uint64_t number) {
    ASSERT_TRUE(up_->WaitForOutput(absl::StrCat("revision ", number, " is current"))) << up_->output();
    for (const absl::Time end = absl::Now() + absl::Seconds(30); absl::Now() < end;) {
      if (StatusOf("front-0").revisions.current == number) return;
      absl::SleepFor(absl::Milliseconds(5));
    }
    FAIL() << "the node does not get to revision " << number;
  }
  std::string front() const { return StatusOf("front-0").http; }

  /// Asks with a key; the arm, or the code where that is not 200.
  static std::string ArmOf(RawHttp& http, const std::string& key, const std::string& model = "m") {
    const RawResponse response =
        http.Post(absl::StrCat("/v1/models/", model, ":predict"), Row(1), absl::StrCat("X-Portico-Key: ", key, "\r\n"));
    return response.code == 200 ? HeaderOf(response, "X-Portico-Arm") : absl::StrCat(response.code, response.body);
  }

  /// Of every 20 requests one has a number that FailingModel() does not take.
  void StartClients(int count) {
    const std::string address = front();
    for (int i = 0; i < count; ++i) {
      clients_.emplace_back([this, address, i] {
        RawHttp http(address);
        for (int n = 0; !stop_; ++n) {
          const RawResponse response = http.Post("/v1/models/m:predict", Row(n % 20 == 0 ? 80 : 1),
                                                 absl::StrCat("X-Portico-Key: user-", i, "-", n % 500, "\r\n"));
          const bool second = HeaderOf(response, "X-Portico-Arm") == "2";
          (response.code == 200 ? answers_ : second ? second_failed_ : failed_) += 1;
          if (response.code == 0) return;
        }
      });
    }
  }
  void StopClients() {
    stop_ = true;
    for (std::thread& client : clients_) client.join();
    clients_.clear();
  }
  /// Where revisions stand, for people.
  std::string List() const { return RunPortico({"revision", "--run-folder", run_folder()}).output; }
  /// Of /metrics: the value of the first series that has all of `parts`; -1: none has.
  double Metric(const std::vector<std::string>& parts) const {
    const std::string page = Http(front(), "/metrics").body;
    for (const absl::string_view line : absl::StrSplit(page, '\n')) {
      bool all = !absl::StartsWith(line, "#");
      for (const std::string& part : parts) all &= absl::StrContains(line, part);
      double value = -1;
      if (all && absl::SimpleAtod(line.substr(line.rfind(' ') + 1), &value)) return value;
    }
    return -1;
  }
  bool WaitForMetric(const std::vector<std::string>& parts, double least) const {
    for (const absl::Time end = absl::Now() + absl::Seconds(30); absl::Now() < end;) {
      if (Metric(parts) >= least) return true;
      absl::SleepFor(absl::Milliseconds(20));
    }
    return false;
  }

  const TempFolder folder_;
  std::unique_ptr<PorticoCommand> up_;
  std::atomic<bool> stop_{false};
  std::atomic<int64_t> answers_{0}, failed_{0}, second_failed_{0};
  std::vector<std::thread> clients_;
};

TEST_F(TrafficMeshTest, KeysStickToTheirArmsOverEveryApiAndGrowingMovesThemOneWay) {
  Publish(1, VersionModel(1));
  Publish(2, VersionModel(2));
  Up(WriteMesh("{split: {1: 70, 2: 30}}"));
  constexpr int kKeys = 200;
  std::map<int, std::string> arms;
  int second = 0;
  {
    RawHttp http(front());
    for (int key = 0; key < kKeys; ++key) {
      arms[key] = ArmOf(http, absl::StrCat("user-", key));
      ASSERT_THAT(arms[key], ::testing::AnyOf("1", "2"));
      ASSERT_EQ(ArmOf(http, absl::StrCat("user-", key)), arms[key]);
      second += arms[key] == "2";
    }
    EXPECT_NEAR(second, 0.3 * kKeys, 25);
    // Who asks for a version gets that, of no arm.
    const RawResponse exact = http.Post("/v1/models/m/versions/2:predict", Row(1), "X-Portico-Key: user-1\r\n");
    EXPECT_EQ(exact.code, 200);
    EXPECT_EQ(HeaderOf(exact, "X-Portico-Arm"), "");
    EXPECT_EQ(
        http.Post("/v1/models/m:predict", Row(1), absl::StrCat("X-Portico-Key: ", std::string(257, 'x'), "\r\n")).code,
        400);
  }
  // gRPC says the version besides.
  auto stub = tensorflow::serving::PredictionService::NewStub(
      grpc::CreateChannel(StatusOf("front-0").grpc, grpc::InsecureChannelCredentials()));
  for (int key = 0; key < 20; ++key) {
    tensorflow::serving::PredictRequest request;
    request.mutable_model_spec()->set_name("m");
    (*request.mutable_inputs())["x"] = ToTensorFlow(Tensor::Of<float>({1, 64}, std::vector<float>(64, 1)));
    tensorflow::serving::PredictResponse response;
    grpc::ClientContext context;
    context.AddMetadata("x-portico-key", absl::StrCat("user-", key));
    ASSERT_TRUE(stub->Predict(&context, request, &response).ok());
    EXPECT_EQ(absl::StrCat(response.model_spec().version().value()), arms[key]);
    const auto& metadata = context.GetServerTrailingMetadata();
    const auto arm = metadata.find("x-portico-arm");
    ASSERT_NE(arm, metadata.end());
    EXPECT_EQ(std::string(arm->second.data(), arm->second.size()), arms[key]);
  }
  EXPECT_GE(Metric({"portico_traffic_requests_total{", "arm=\"1\"", "code=\"OK\""}), kKeys);
  EXPECT_THAT(Http(front(), "/debug/traffic").body, HasSubstr("{\"model\":\"m\",\"arm\":\"1\",\"requests\":"));

  WriteMesh("{split: {1: 50, 2: 50}}");
  WaitForRevision(2);
  RawHttp http(front());
  int moved = 0;
  for (int key = 0; key < kKeys; ++key) {
    const std::string arm = ArmOf(http, absl::StrCat("user-", key));
    if (arm == arms[key]) continue;
    ++moved;
    EXPECT_EQ(arm, "2") << "key " << key;
  }
  EXPECT_NEAR(moved, 0.2 * kKeys, 22);
}

TEST_F(TrafficMeshTest, ArmOfARequestIsTheSameBehindPortals) {
  Publish(1, VersionModel(1));
  Publish(2, VersionModel(2));
  ModelBuilder head;
  head.Input("x", DType::kFloat, {"N", 64}).Output("y", DType::kFloat, {"N", 2});
  head.Portal("Remote", "m", {"x"}, {"y"}, {DType::kFloat}, {"N,2"});
  Publish(1, head, "head");
  Up(WriteMesh("{split: {1: 50, 2: 50}}", "  m: {path: m, versions: all}\n  head: {path: head}\n",
               "  front: {serve: [head], http: 0}\n  back: {serve: [m], replicas: 2, http: 0}\n"));
  RawHttp front_http(front()), first(StatusOf("back-0").http), second(StatusOf("back-1").http);
  int of_second = 0;
  for (int key = 0; key < 60; ++key) {
    const std::string user = absl::StrCat("user-", key);
    const std::string arm = ArmOf(first, user);
    EXPECT_EQ(ArmOf(second, user), arm);
    of_second += arm == "2";
    const RawResponse through =
        front_http.Post("/v1/models/head:predict", Row(1), absl::StrCat("X-Portico-Key: ", user, "\r\n"));
    EXPECT_THAT(through.body, HasSubstr(arm == "1" ? "64.0" : "128.0")) << user;
  }
  EXPECT_GT(of_second, 10);
  EXPECT_LT(of_second, 50);
}

TEST_F(TrafficMeshTest, ShadowIsComparedAndItsAnswersAreNeverReturned) {
  Publish(1, ColumnModel(2, 1));
  Publish(1, ColumnModel(1, 2), "other");
  Up(WriteMesh("{shadow: {to: other, max_in_flight: 1000}}", "  m: {path: m}\n  other: {path: other}\n",
               "  front: {serve: [m], http: 0}\n  far: {serve: [other]}\n"));
  RawHttp http(front());
  for (int i = 0; i < 50; ++i) {
    const RawResponse response = http.Post("/v1/models/m:predict", Row(1));
    ASSERT_EQ(response.code, 200) << response.body;
    EXPECT_THAT(response.body, HasSubstr("128.0,64.0"));
  }
  EXPECT_TRUE(WaitForMetric({"portico_shadow_requests_total{", "shadow=\"other\"", "result=\"disagreed\""}, 50));
  EXPECT_EQ(Metric({"portico_shadow_latency_seconds_count{", "side=\"shadow\""}), 50);
  const std::string page = Http(front(), "/debug/traffic").body;
  EXPECT_THAT(page, HasSubstr("output 'y': row 0: got class 1, want 0"));
  EXPECT_THAT(page, HasSubstr("\"compared\":50,\"disagreed\":50"));
}

TEST_F(TrafficMeshTest, ShadowOfOtherShapesOrThatHangsOrIsGoneHarmsNobody) {
  Publish(1, VersionModel(1));
  Publish(1, OtherShapeModel(), "other");
  Up(WriteMesh("{shadow: {to: other, max_in_flight: 4, timeout: 200ms}}", "  m: {path: m}\n  other: {path: other}\n",
               "  front: {serve: [m], http: 0}\n  far: {serve: [other]}\n"));
  const pid_t far = static_cast<pid_t>(StatusOf("far-0").pid);
  RawHttp http(front());
  absl::Duration longest;
  const auto ask = [&](int times) {
    for (int i = 0; i < times; ++i) {
      const absl::Time start = absl::Now();
      const RawResponse response = http.Post("/v1/models/m:predict", Row(1));
      longest = std::max(longest, absl::Now() - start);
      ASSERT_EQ(response.code, 200) << response.body;
      ASSERT_THAT(response.body, HasSubstr("64.0,64.0"));
    }
  };
  ask(30);
  EXPECT_TRUE(WaitForMetric({"portico_shadow_requests_total{", "result=\"disagreed\""}, 1));
  EXPECT_THAT(Http(front(), "/debug/traffic").body, HasSubstr("got float32[1,3], want float32[1,2]"));
  ASSERT_EQ(kill(far, SIGSTOP), 0);
  ask(200);
  EXPECT_TRUE(WaitForMetric({"portico_shadow_requests_total{", "result=\"failed\""}, 4));
  EXPECT_GE(Metric({"portico_shadow_requests_total{", "result=\"dropped\""}), 100);
  // Room comes back.
  ask(10);
  EXPECT_TRUE(WaitForMetric({"portico_shadow_requests_total{", "result=\"failed\""}, 8));
  ASSERT_EQ(kill(far, SIGKILL), 0);
  ask(200);
  EXPECT_LT(longest, absl::Seconds(10));
  EXPECT_EQ(Metric({"portico_requests_total{", "model=\"m\"", "code=\"INTERNAL\""}), -1);
}

TEST_F(TrafficMeshTest, GoodArmIsRampedUpAndNoRequestFails) {
  Publish(1, VersionModel(1));
  Publish(2, VersionModel(2));
  Up(
      WriteMesh("{split: {1: 100}, ramp: {to: 2, steps: [10, 50, 100], every: 1s, min_requests: 30, "
                "rollback: {p99_times: 0}}}"));
  StartClients(2);
  ASSERT_TRUE(up_->WaitForOutput("goes from 10 % to 50 %: ")) << up_->output();
  ASSERT_TRUE(up_->WaitForOutput("goes from 50 % to 100 %: ")) << up_->output();
  ASSERT_TRUE(up_->WaitForOutput("ramp of 'm' to '2' is done at 100 %: ")) << up_->output();
  WaitForRevision(4);
  StopClients();
  EXPECT_EQ(failed_ + second_failed_, 0);
  EXPECT_GT(answers_, 100);
  RawHttp http(front());
  for (int key = 0; key < 20; ++key) EXPECT_EQ(ArmOf(http, absl::StrCat("user-", key)), "2");
  const std::string list = List();
  EXPECT_THAT(list, ContainsRegex("4 +current .*is done at 100 %"));
  std::printf("%s", list.c_str());
  // The file as it was: the ramp does not begin anew, neither now nor with another process.
  WriteMesh(
      "{split: {1: 100}, by: random, ramp: {to: 2, steps: [10, 50, 100], every: 1s, min_requests: 30, "
      "rollback: {p99_times: 0}}}");
  WaitForRevision(5);
  EXPECT_EQ(ArmOf(http, "a"), "2");
  up_->process().Signal(SIGTERM);
  EXPECT_EQ(up_->WaitForEnd(), "exit status 0");
  Up(folder_.path() + "/mesh.yaml");
  RawHttp again(front());
  for (int key = 0; key < 20; ++key) EXPECT_EQ(ArmOf(again, absl::StrCat("user-", key)), "2");
}

TEST_F(TrafficMeshTest, ArmThatFailsIsTakenBack) {
  Publish(1, VersionModel(1));
  Publish(2, FailingModel(2));
  Up(
      WriteMesh("{split: {1: 100}, ramp: {to: 2, steps: [20, 100], every: 1m, min_requests: 100, "
                "rollback: {error_percent: 2, p99_times: 0}}}"));
  StartClients(2);
  ASSERT_TRUE(up_->WaitForOutput("ramp of 'm' to '2' is rolled back at 20 %: got ")) << up_->output();
  WaitForRevision(2);
  StopClients();
  EXPECT_EQ(failed_, 0) << "of the arm that serves";
  EXPECT_GT(second_failed_, 0);
  RawHttp http(front());
  for (int key = 0; key < 50; ++key) EXPECT_EQ(ArmOf(http, absl::StrCat("user-", key)), "1");
  const std::string list = List();
  EXPECT_THAT(list, ContainsRegex("2 +current .*rolled back at 20 %: got .* errors in"));
  std::printf("%s", list.c_str());
}

TEST_F(TrafficMeshTest, ArmThatIsSlowIsTakenBack) {
  Publish(1, VersionModel(1));
  Publish(2, SlowModel(2));
  Up(
      WriteMesh("{split: {1: 100}, ramp: {to: 2, steps: [20, 100], every: 1m, min_requests: 100, "
                "rollback: {p99_times: 3}}}"));
  StartClients(1);
  ASSERT_TRUE(up_->WaitForOutput("ramp of 'm' to '2' is rolled back at 20 %: got a p99 of ")) << up_->output();
  WaitForRevision(2);
  StopClients();
  EXPECT_EQ(failed_ + second_failed_, 0);
}

TEST_F(TrafficMeshTest, ArmThatDisagreesIsTakenBack) {
  Publish(1, ColumnModel(2, 1));
  Publish(2, ColumnModel(1, 2));
  Up(
      WriteMesh("{split: {1: 100}, shadow: {to: 2, percent: 50}, ramp: {to: 2, steps: [5, 100], every: 1m, "
                "min_requests: 50, rollback: {p99_times: 0, disagreement_percent: 5}}}"));
  StartClients(1);
  ASSERT_TRUE(up_->WaitForOutput("copies that disagree, want at most 5 %")) << up_->output();
  WaitForRevision(2);
  StopClients();
  EXPECT_EQ(failed_ + second_failed_, 0);
}

}  // namespace
}  // namespace portico
