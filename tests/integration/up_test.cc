// `portico up`, `serve` and `predict` as processes, over real sockets: the digits mesh.

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "cli/tfs_client.h"
#include "deploy/node_status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/portico_command.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

constexpr char kDigits[] = PORTICO_SOURCE_DIR "/examples/digits";

/// Readable when process `pid` has ended, whoever's child it is.
class PidFd {
 public:
  explicit PidFd(int64_t pid) : fd_(static_cast<int>(syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0))) {}
  ~PidFd() { close(fd_); }
  bool WaitForEnd() const {
    pollfd wanted{fd_, POLLIN, 0};
    return poll(&wanted, 1, 60000) == 1;
  }

 private:
  const int fd_;
};

class UpTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    packages_ = new TempFolder();
    for (const char* name : {"digit", "parity"}) {
      const std::string stem = absl::StrCat(kDigits, "/", name);
      const CommandResult split = RunPortico(
          {"split", stem + ".onnx", "--plan", stem + ".plan.yaml", "--out", packages_->path() + "/packages"});
      ASSERT_EQ(split.end, "exit status 0") << split.output;
    }
  }
  static void TearDownTestSuite() { delete packages_; }

  std::string WriteMesh(absl::string_view nodes, const std::string& file = "mesh.yaml") {
    const std::string packages = packages_->path() + "/packages/";
    return folder_.Write(file,
                         absl::StrCat("mesh: digits\nmodels:\n  hub/digit-encoder: {path: ", packages,
                                      "hub/digit-encoder}\n  digit: {path: ", packages, "digit}\nnodes:\n", nodes));
  }
  NodeStatus StatusOf(const std::string& node) {
    const auto status = ReadNodeStatus(folder_.path() + "/run/status/" + node + "-0.json");
    EXPECT_TRUE(status.ok()) << status.status();
    return status.value_or(NodeStatus());
  }
  std::vector<std::string> UpArguments(const std::string& mesh) {
    return {"up", mesh, "--run-folder", folder_.path() + "/run"};
  }

  static absl::Status Predict(const std::string& address) {
    TfsClient client(address);
    const std::vector<float> pixels(2 * 64, 3.0f);
    const auto prediction =
        client.Predict("digit", "", {{"image", Tensor::Of<float>({2, 64}, absl::MakeConstSpan(pixels))}}, {});
    if (!prediction.ok()) return prediction.status();
    EXPECT_EQ(prediction->version, 1);
    EXPECT_EQ(prediction->outputs.size(), 2u);
    return absl::OkStatus();
  }

  static TempFolder* packages_;
  const TempFolder folder_;
};

TempFolder* UpTest::packages_ = nullptr;

constexpr char kTwoNodes[] = "  hub: {serve: [hub/digit-encoder]}\n  apps: {serve: [digit], grpc: 0, http: 0}\n";

TEST_F(UpTest, KilledNodeComesBackAtItsEndpointAndTheMeshAnswersAgain) {
  PorticoCommand up(UpArguments(WriteMesh(kTwoNodes)));
  ASSERT_TRUE(up.WaitForOutput("mesh 'digits' is ready")) << up.output();
  const std::string address = StatusOf("apps").grpc;
  const NodeStatus before = StatusOf("hub");
  EXPECT_TRUE(Predict(address).ok()) << Predict(address);

  kill(static_cast<pid_t>(before.pid), SIGKILL);
  ASSERT_TRUE(up.WaitForOutput("hub/0 ended with signal 9 (Killed); starting it again in 100ms")) << up.output();
  ASSERT_TRUE(up.WaitForOutput("hub/0 is ready after")) << up.output();
  const NodeStatus after = StatusOf("hub");
  EXPECT_NE(after.pid, before.pid);
  EXPECT_EQ(after.peer, before.peer);
  // Connecting again is the caller's own business and takes its time.
  absl::Status status = absl::UnavailableError("");
  for (const absl::Time end = absl::Now() + absl::Seconds(30); absl::IsUnavailable(status) && absl::Now() < end;) {
    status = Predict(address);
  }
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(StatusOf("apps").grpc, address);
}

TEST_F(UpTest, OneOfTwoReplicasKilledUnderLoadFailsNoRequest) {
  PorticoCommand up(
      UpArguments(WriteMesh("  hub: {serve: [hub/digit-encoder], replicas: 2}\n  apps: {serve: [digit], grpc: 0}\n")));
  ASSERT_TRUE(up.WaitForOutput("mesh 'digits' is ready")) << up.output();
  const std::string address = StatusOf("apps").grpc;
  const NodeStatus victim = StatusOf("hub");
  std::atomic<bool> over{false};
  std::atomic<int> answered{0};
  std::vector<absl::Status> failed(8, absl::OkStatus());
  std::vector<std::thread> clients;
  for (absl::Status& status : failed) {
    clients.emplace_back([&] {
      while (!over && status.ok()) {
        status = Predict(address);
        ++answered;
      }
    });
  }
  const auto wait_for = [&](int more) {
    const int until = answered + more;
    for (const absl::Time end = absl::Now() + absl::Seconds(30); answered < until && absl::Now() < end;) {
      absl::SleepFor(absl::Milliseconds(1));
    }
    EXPECT_GE(answered, until);
  };
  wait_for(200);
  kill(static_cast<pid_t>(victim.pid), SIGKILL);
  wait_for(1000);
  over = true;
  for (std::thread& client : clients) client.join();
  for (const absl::Status& status : failed) EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(up.WaitForOutput("hub/0 ended with signal 9")) << up.output();
}

TEST_F(UpTest, CtrlCStopsEveryNodeAndExitsWithZero) {
  PorticoCommand up(UpArguments(WriteMesh(kTwoNodes)));
  ASSERT_TRUE(up.WaitForOutput("mesh 'digits' is ready")) << up.output();
  const PidFd hub(StatusOf("hub").pid), apps(StatusOf("apps").pid);
  up.process().Signal(SIGINT);
  EXPECT_EQ(up.WaitForEnd(), "exit status 0") << up.output();
  EXPECT_TRUE(hub.WaitForEnd());
  EXPECT_TRUE(apps.WaitForEnd());
  EXPECT_THAT(up.output(), HasSubstr("hub/0 stopped\n"));
  EXPECT_THAT(up.output(), HasSubstr("apps/0 stopped\n"));
  EXPECT_FALSE(StatusOf("hub").ready);
}

TEST_F(UpTest, NodesDieWithTheirSupervisor) {
  PorticoCommand up(UpArguments(WriteMesh(kTwoNodes)));
  ASSERT_TRUE(up.WaitForOutput("mesh 'digits' is ready")) << up.output();
  const PidFd hub(StatusOf("hub").pid), apps(StatusOf("apps").pid);
  up.process().Signal(SIGKILL);
  EXPECT_TRUE(hub.WaitForEnd());
  EXPECT_TRUE(apps.WaitForEnd());
}

TEST_F(UpTest, PortThatIsTakenFailsTheMeshWithTheNodesLastLines) {
  PorticoCommand first(UpArguments(WriteMesh(kTwoNodes)));
  ASSERT_TRUE(first.WaitForOutput("mesh 'digits' is ready")) << first.output();
  const std::string taken = StatusOf("apps").http;
  // A file of its own: a mesh follows the one it was started with.
  const std::string mesh =
      WriteMesh(absl::StrCat("  hub: {serve: [hub/digit-encoder], http: '", taken, "'}\n"), "second.yaml");
  const CommandResult second = RunPortico({"up", mesh, "--run-folder", folder_.path() + "/second"});
  EXPECT_EQ(second.end, "exit status 1");
  EXPECT_THAT(second.output, HasSubstr("portico up: node 'hub/0': got exit status 1 at each of 5 starts"));
  EXPECT_THAT(second.output, HasSubstr(taken));
}

TEST_F(UpTest, MeshFileThatIsWrongIsRefusedBeforeAnythingStarts) {
  const std::string mesh = WriteMesh("  apps: {serve: [digit]}\n");
  const CommandResult up = RunPortico(UpArguments(mesh));
  EXPECT_EQ(up.end, "exit status 1");
  EXPECT_THAT(up.output, HasSubstr(absl::StrCat("portico up: ", mesh, ":4: model 'digit': portal '")));
  EXPECT_THAT(up.output, HasSubstr("got target 'hub/digit-encoder', which no node serves"));
  EXPECT_FALSE(std::filesystem::exists(folder_.path() + "/run"));
}

TEST_F(UpTest, PredictAnswersTheSameOverGrpcAndRestAndShowsTheHops) {
  PorticoCommand up(UpArguments(WriteMesh(kTwoNodes)));
  ASSERT_TRUE(up.WaitForOutput("mesh 'digits' is ready")) << up.output();
  const NodeStatus apps = StatusOf("apps");
  std::string image = "image=[[0";
  for (int i = 1; i < 64; ++i) absl::StrAppend(&image, ",", i % 17);
  image += "]]";
  const std::vector<std::string> base = {"predict", "digit", "--grpc", apps.grpc, "--http", apps.http};
  const auto predict = [&base](std::vector<std::string> more) {
    more.insert(more.begin(), base.begin(), base.end());
    return RunPortico(std::move(more));
  };
  const CommandResult grpc = predict({"--input", image});
  EXPECT_EQ(grpc.end, "exit status 0") << grpc.output;
  const CommandResult rest = predict({"--input", image, "--rest"});
  EXPECT_EQ(rest.end, "exit status 0") << rest.output;
  // Over gRPC outputs come without an order.
  const size_t begin = grpc.output.find("\"probabilities\":[[");
  ASSERT_NE(begin, std::string::npos) << grpc.output;
  EXPECT_THAT(rest.output, HasSubstr(grpc.output.substr(begin, grpc.output.find("]]", begin) - begin)));
  for (const CommandResult* result : {&grpc, &rest})
    EXPECT_THAT(result->output, ContainsRegex("\"label\":\\[[0-9]\\]"));

  const CommandResult traced = predict({"--input", image, "--trace"});
  EXPECT_EQ(traced.end, "exit status 0") << traced.output;
  EXPECT_THAT(traced.output, ContainsRegex("apps/0 +request"));
  EXPECT_THAT(traced.output, ContainsRegex("hub/0 +"));

  const CommandResult wrong = predict({"--input", "picture=[[1]]"});
  EXPECT_EQ(wrong.end, "exit status 1");
  EXPECT_THAT(wrong.output, HasSubstr("portico predict: model 'digit': got input 'picture', want 'image' float32["));
  EXPECT_EQ(predict({"--input", "image=[[1,2]]"}).end, "exit status 1");
  EXPECT_EQ(predict({"--input", "image=[[1,2]]", "--rest"}).end, "exit status 1");
  EXPECT_EQ(predict({"--input", "image"}).end, "exit status 1");
}

TEST_F(UpTest, ServeAloneDrainsAtSigtermAndExitsWithZero) {
  const std::string status_file = folder_.path() + "/status.json";
  PorticoCommand serve({"serve", "--model", "enc=" + packages_->path() + "/packages/hub/digit-encoder", "--grpc",
                        "127.0.0.1:0", "--http", "127.0.0.1:0", "--status-file", status_file});
  ASSERT_TRUE(serve.WaitForOutput("serving on grpc 127.0.0.1:")) << serve.output();
  const auto status = ReadNodeStatus(status_file);
  serve.process().Signal(SIGTERM);
  EXPECT_EQ(serve.WaitForEnd(), "exit status 0") << serve.output();
  EXPECT_FALSE(ReadNodeStatus(status_file)->ready);
}

TEST_F(UpTest, EveryCommandShowsAnExampleAndErrorsSayWhatToDo) {
  for (const char* command : {"split", "inspect", "serve", "up", "predict"}) {
    const CommandResult help = RunPortico({command, "--help"});
    EXPECT_EQ(help.end, "exit status 0");
    EXPECT_THAT(help.output, HasSubstr("Example")) << command;
  }
  EXPECT_THAT(RunPortico({"--version"}).output, ContainsRegex("^portico .* \\(commit [0-9a-f]+"));
  const CommandResult serve = RunPortico({"serve"});
  EXPECT_EQ(serve.end, "exit status 1");
  EXPECT_THAT(serve.output, HasSubstr("want --model NAME=BASE"));
  EXPECT_THAT(RunPortico({"serve", "--model", "x"}).output, HasSubstr("--model: got 'x', want NAME=BASE"));
  EXPECT_THAT(RunPortico({"up", "none.yaml"}).output, HasSubstr("portico up: open 'none.yaml': No such file"));
}

}  // namespace
}  // namespace portico
