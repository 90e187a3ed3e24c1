// A replica that is stopped, over every transport: what it had in hand goes to the other one long before a heartbeat of
// idle connections would say so, and one that merely computes for long is left alone.

#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "models/package/package.h"
#include "tests/integration/chaos_mesh.h"
#include "tests/integration/node_fixture.h"
#include "tests/integration/serving_process.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

/// 2 s is what is wanted; the rest is for a machine that does other things, too.
constexpr absl::Duration kRecovery = absl::Seconds(10);

class ChaosSilenceTest : public ::testing::TestWithParam<std::string> {};

TEST_P(ChaosSilenceTest, WhatAStoppedReplicaHadIsAnsweredByTheOther) {
  ChaosMesh::Options options;
  options.scheme = GetParam();
  options.proxied = false;
  ChaosMesh mesh(options);
  ChaosLoad load(mesh.grpc());
  absl::SleepFor(absl::Milliseconds(500));  // Connections are made.
  const absl::Time healthy_since = absl::Now();
  absl::SleepFor(absl::Seconds(1));
  const absl::Time fault_at = absl::Now();
  mesh.replica(0).Signal(SIGSTOP);
  const absl::Duration noticed = mesh.WaitForState(0, "away");
  const absl::Duration recovered = load.WaitForAll();
  absl::SleepFor(absl::Seconds(1));
  mesh.replica(0).Signal(SIGCONT);
  const absl::Duration back = mesh.WaitForState(0, "here");
  absl::SleepFor(absl::Milliseconds(500));
  load.Stop();
  const ChaosLoad::Summary seen = load.Between(fault_at, absl::Now(), load.LateAfter(healthy_since, fault_at));
  std::printf("[SIGSTOP, %s] noticed after %s, here again %s after SIGCONT; %zu late; %s\n", GetParam().c_str(),
              absl::FormatDuration(noticed).c_str(), absl::FormatDuration(back).c_str(), seen.late,
              seen.Text().c_str());
  EXPECT_EQ(seen.failed, 0u) << seen.first_error;
  EXPECT_LT(noticed, kRecovery);
  EXPECT_LT(recovered, kRecovery) << "what it had in hand, too, while it is stopped";
  EXPECT_LT(back, kRecovery);
}

INSTANTIATE_TEST_SUITE_P(Schemes, ChaosSilenceTest,
                         ::testing::Values("tcp", "unix", "shm", "zmq+tcp", "zmq+ipc", "grpc"), [](const auto& info) {
                           return absl::StrReplaceAll(info.param, {{"+", "_"}});
                         });

/// Products of a model that only computes: rows of `kWidth` times a matrix, `products` times.
constexpr int64_t kWidth = 1024;

void WriteBusyModel(int products, const std::string& path) {
  ModelBuilder busy;
  busy.Input("x", DType::kFloat, {"N", 1}).Output("y", DType::kFloat, {"N", 1});
  busy.Initializer("row", Tensor::Of<float>({1, kWidth}, std::vector<float>(kWidth, 1)));
  busy.Initializer("column", Tensor::Of<float>({kWidth, 1}, std::vector<float>(kWidth, 0)));
  busy.Initializer("w", Tensor::Of<float>({kWidth, kWidth}, std::vector<float>(kWidth * kWidth, 0.001F)));
  busy.Node("MatMul", {"x", "row"}, {"h0"});
  for (int i = 0; i < products; ++i) busy.Node("MatMul", {absl::StrCat("h", i), "w"}, {absl::StrCat("h", i + 1)});
  busy.Node("MatMul", {absl::StrCat("h", products), "column"}, {"y"}).WriteTo(path);
}

absl::Status CallWithRows(const ServingProcess& node, const std::string& model, int64_t rows) {
  PredictClient client(node.Address("grpc"));
  const std::vector<NamedTensor> inputs = {
      {"x", Tensor::Of<float>({rows, 1}, std::vector<float>(static_cast<size_t>(rows), 1))}};
  return client.Predict(model, inputs, absl::Minutes(2)).status();
}

/// How many products of `rows` rows one core of this machine does in `time`.
int ProductsIn(absl::Duration time, int64_t rows) {
  constexpr int kProducts = 4;
  const TempFolder folder;
  WriteBusyModel(kProducts, folder.File("probe/1/model.onnx"));
  const ServingProcess node({"--model=probe=" + folder.path() + "/probe", "--grpc=127.0.0.1:0"});
  absl::Duration fastest = absl::InfiniteDuration();
  for (int i = 0; i < 5; ++i) {
    const absl::Time start = absl::Now();
    EXPECT_TRUE(CallWithRows(node, "probe", rows).ok());
    fastest = std::min(fastest, absl::Now() - start);
  }
  return static_cast<int>(kProducts * absl::FDivDuration(time, fastest)) + 1;
}

TEST(ChaosBusyTest, AReplicaThatComputesForLongOnAllItsCoresIsLeftAlone) {
  // Far more than the cores can do at once; each is longer than a silent peer would be waited for. All of them fit into
  // the replica's queue.
  const int calls = 2 * static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 2U, 64U));
  const int64_t rows = BatchingOptions().max_queue_rows / calls;
  const int products = ProductsIn(absl::Seconds(2.5), rows);
  const TempFolder folder;
  WriteBusyModel(products, folder.File("slow/1/model.onnx"));
  ModelBuilder through;
  through.Input("x", DType::kFloat, {"N", 1}).Output("y", DType::kFloat, {"N", 1});
  through.Portal("Remote", "slow", {"x"}, {"y"}, {DType::kFloat}, {"N,1"}, {Strings("output_names", {"y"})});
  through.WriteTo(folder.File("through/1/model.onnx"));
  ServingProcess replica({"--model=slow=" + folder.path() + "/slow", "--peer=tcp://127.0.0.1:0"});
  ServingProcess front({"--model=through=" + folder.path() + "/through", "--grpc=127.0.0.1:0",
                        "--remote=slow=" + replica.Address("peer")});
  std::vector<std::thread> callers;
  std::vector<absl::Status> statuses(static_cast<size_t>(calls));
  const absl::Time start = absl::Now();
  for (absl::Status& status : statuses) {
    callers.emplace_back([&status, &front, rows] { status = CallWithRows(front, "through", rows); });
  }
  for (std::thread& caller : callers) caller.join();
  std::printf("[busy] %d calls of %d products took %s\n", calls, products,
              absl::FormatDuration(absl::Now() - start).c_str());
  EXPECT_GT(absl::Now() - start, absl::Seconds(3)) << "else the test shows nothing";
  for (const absl::Status& status : statuses) EXPECT_TRUE(status.ok()) << status;
}

}  // namespace
}  // namespace portico
