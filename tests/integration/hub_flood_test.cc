// Products in front of one hub module, real processes throughout: one sends far more than the module can do, and what
// others feel of it. Nothing here assumes how fast the machine is: the module is made to take a while on it, and what
// one product feels is put beside what another feels at the same time.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/mutex.h"
#include "cli/metrics_text.h"
#include "cli/tfs_client.h"
#include "deploy/node_status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/node_fixture.h"
#include "tests/integration/portico_command.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int64_t kWidth = 512;
/// Rows of a run.
constexpr int64_t kRows = 4;
/// Rows that may wait.
constexpr int kQueue = 64;
/// What a run is meant to take: much more than all that is around it.
constexpr absl::Duration kRun = absl::Milliseconds(10);

/// y = x times one matrix, `layers` times.
ModelBuilder Layers(int layers) {
  const std::vector<float> weights(static_cast<size_t>(kWidth * kWidth), 1.0f / kWidth);
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", kWidth}).Output("y", DType::kFloat, {"N", kWidth});
  model.Initializer("w", Tensor::Of<float>({kWidth, kWidth}, weights));
  for (int i = 0; i < layers; ++i) {
    model.Node("MatMul", {i == 0 ? "x" : absl::StrCat("h", i), "w"},
               {i + 1 == layers ? "y" : absl::StrCat("h", i + 1)});
  }
  return model;
}

std::vector<NamedTensor> Inputs(int64_t rows) {
  return {{"x", Tensor::Of<float>({rows, kWidth}, std::vector<float>(static_cast<size_t>(rows * kWidth), 1))}};
}

/// As many layers as take kRun for kRows rows here.
int LayersOfARun() {
  constexpr int kTried = 32;
  const TempFolder folder;
  Layers(kTried).WriteTo(folder.File("tried/1/model.onnx"));
  const auto node = StartNode(LocalNode("trial", {{"tried", folder.Folder("tried")}}));
  PredictClient client(node->grpc_address());
  absl::Duration least = absl::InfiniteDuration();
  for (int i = 0; i < 10; ++i) {
    const absl::Time start = absl::Now();
    EXPECT_TRUE(client.Predict("tried", Inputs(kRows)).ok());
    least = std::min(least, absl::Now() - start);
  }
  return std::clamp(static_cast<int>(kTried * absl::FDivDuration(kRun, least)), kTried / 4, 4096);
}

absl::Duration Quantile(std::vector<absl::Duration> times, double quantile) {
  if (times.empty()) return absl::InfiniteDuration();
  std::sort(times.begin(), times.end());
  return times[static_cast<size_t>(quantile * static_cast<double>(times.size() - 1))];
}

/// Clients that each send the next row when the last one is answered, until the end of the scope. Who is refused waits
/// for a run's time.
class Flood {
 public:
  Flood(const std::string& address, const std::string& product, int clients) : client_(address) {
    for (int i = 0; i < clients; ++i) {
      threads_.emplace_back([this, product] {
        while (!over_) Send(product);
      });
    }
  }
  ~Flood() { Stop(); }
  void Stop() {
    over_ = true;
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
  }

  /// Blocks until somebody was refused: the queue is full. False after a minute.
  bool WaitUntilRefused() {
    return WaitUntil([this] { return refused_ > 0; });
  }
  /// The same until so many were answered.
  bool WaitForAnswers(size_t count) {
    return WaitUntil([&] { return Answers().size() >= count; });
  }
  /// Answers so far, and how long each took.
  std::vector<absl::Duration> Answers() {
    MutexLock lock(&mutex_);
    return answers_;
  }
  std::string refusal() {
    MutexLock lock(&mutex_);
    return refusal_;
  }

 private:
  template <typename Condition>
  static bool WaitUntil(Condition condition) {
    for (const absl::Time end = absl::Now() + absl::Minutes(1); !condition(); absl::SleepFor(absl::Milliseconds(5))) {
      if (absl::Now() > end) return false;
    }
    return true;
  }
  void Send(const std::string& product) {
    const absl::Time start = absl::Now();
    const absl::Status status = client_.Predict(product, "", Inputs(1), {.timeout = absl::Minutes(2)}).status();
    const absl::Duration took = absl::Now() - start;
    {
      MutexLock lock(&mutex_);
      if (status.ok()) {
        answers_.push_back(took);
        return;
      }
      refusal_ = std::string(status.message());
    }
    if (!absl::IsResourceExhausted(status)) ADD_FAILURE() << status;
    ++refused_;
    absl::SleepFor(kRun);
  }

  TfsClient client_;
  std::atomic<bool> over_{false};
  std::atomic<int> refused_{0};
  Mutex mutex_;
  std::vector<absl::Duration> answers_ ABSL_GUARDED_BY(mutex_);
  std::string refusal_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;
};

class HubFloodTest : public ::testing::Test {
 protected:
  HubFloodTest() {
    Layers(LayersOfARun()).WriteTo(folder_.File("encoder/1/model.onnx"));
    folder_.Write("encoder/1/servable.yaml", absl::StrCat("batching: {max_batch_size: ", kRows,
                                                          ", max_running: 1, max_queue_rows: ", kQueue, "}\n"));
    for (const char* const product : {"flood", "quiet"}) {
      ModelBuilder head;
      head.Input("x", DType::kFloat, {"N", kWidth}).Output("y", DType::kFloat, {"N", kWidth});
      head.Portal("Remote", "encoder", {"x"}, {"features"}, {DType::kFloat}, {absl::StrCat("N,", kWidth)},
                  {Strings("output_names", {"y"})});
      head.Node("Abs", {"features"}, {"y"}).WriteTo(folder_.File(absl::StrCat(product, "/1/model.onnx")));
    }
  }

  /// `shares`: "{quiet: 4}".
  void Start(const std::string& shares) {
    const std::string mesh = folder_.Write(
        "mesh.yaml", absl::StrCat("mesh: m\nmodels:\n  encoder: {path: encoder, shares: ", shares,
                                  "}\n  flood: {path: flood}\n  quiet: {path: quiet}\nnodes:\n"
                                  "  hub: {serve: [encoder], http: 0, workers: 2}\n"
                                  "  one: {serve: [flood], grpc: 0}\n  two: {serve: [quiet], grpc: 0}\n"));
    up_.emplace(std::vector<std::string>{"up", mesh, "--run-folder", folder_.path() + "/run"});
    ASSERT_TRUE(up_->WaitForOutput("mesh 'm' is ready")) << up_->output();
  }
  NodeStatus Status(const std::string& node) const {
    return ReadNodeStatus(absl::StrCat(folder_.path(), "/run/status/", node, "-0.json")).value_or(NodeStatus());
  }
  /// `count` one-row requests of the quiet product, one after the other.
  std::vector<absl::Duration> AskQuietly(int count) const {
    TfsClient client(Status("two").grpc);
    std::vector<absl::Duration> times;
    for (int i = 0; i < count; ++i) {
      const absl::Time start = absl::Now();
      const absl::Status status = client.Predict("quiet", "", Inputs(1), {}).status();
      EXPECT_TRUE(status.ok()) << status;
      times.push_back(absl::Now() - start);
    }
    return times;
  }
  /// What the hub has counted for a product: "rows", "refused", …
  double Count(const std::string& what, const std::string& product) const {
    const auto metrics = MetricsText::Parse(Http(Status("hub").http, "/metrics").body);
    EXPECT_TRUE(metrics.ok()) << metrics.status();
    double sum = 0;
    if (!metrics.ok()) return sum;
    for (const auto& [labels, value] : metrics->Values(absl::StrCat("portico_batch_product_", what, "_total"))) {
      if (labels.at("product") == product) sum += value;
    }
    return sum;
  }

  const TempFolder folder_;
  std::optional<PorticoCommand> up_;
};

TEST_F(HubFloodTest, WhoFloodsWaitsAndIsRefusedAndOthersAreNot) {
  ASSERT_NO_FATAL_FAILURE(Start("{}"));
  const absl::Duration alone = Quantile(AskQuietly(10), 0.5);
  Flood flood(Status("one").grpc, "flood", 2 * kQueue);
  ASSERT_TRUE(flood.WaitUntilRefused());
  const size_t before = flood.Answers().size();
  const std::vector<absl::Duration> quiet = AskQuietly(40);
  std::vector<absl::Duration> flooding = flood.Answers();
  flood.Stop();
  flooding.erase(flooding.begin(), flooding.begin() + static_cast<std::ptrdiff_t>(before));
  const absl::Duration quiet_median = Quantile(quiet, 0.5), flood_median = Quantile(flooding, 0.5);
  std::printf("quiet: %s alone, %s beside a flood (at most %s), whose own took %s\n",
              absl::FormatDuration(alone).c_str(), absl::FormatDuration(quiet_median).c_str(),
              absl::FormatDuration(Quantile(quiet, 1)).c_str(), absl::FormatDuration(flood_median).c_str());
  // A full queue is kQueue / kRows runs; who keeps within its share waits for the run under way and has the next.
  EXPECT_LT(2 * quiet_median, flood_median);
  EXPECT_LT(Quantile(quiet, 0.9), flood_median);

  EXPECT_THAT(flood.refusal(), AllOf(HasSubstr("queue 'encoder:1/"), HasSubstr(absl::StrCat("want at most ", kQueue)),
                                     HasSubstr("send fewer at once, or raise batching.max_queue_rows")));
  EXPECT_EQ(Count("refused", "quiet"), 0);
  EXPECT_EQ(Count("rows", "quiet"), 50);
  EXPECT_GT(Count("refused", "flood"), 0);
  EXPECT_EQ(Count("rows", "flood"), static_cast<double>(flood.Answers().size()));
}

TEST_F(HubFloodTest, TwoFloodsHaveRunsByTheirShares) {
  ASSERT_NO_FATAL_FAILURE(Start("{quiet: 4}"));
  Flood one(Status("one").grpc, "flood", kQueue), four(Status("two").grpc, "quiet", 2 * kQueue);
  ASSERT_TRUE(one.WaitUntilRefused() && four.WaitUntilRefused());
  // Rows that both had in 60 runs, however long those take.
  const auto rows_of_both = [&] {
    const double one_before = Count("rows", "flood"), four_before = Count("rows", "quiet");
    std::pair<double, double> rows;
    for (const absl::Time end = absl::Now() + absl::Minutes(1);
         rows.first + rows.second < 60.0 * kRows && absl::Now() < end; absl::SleepFor(5 * kRun)) {
      rows = {Count("rows", "flood") - one_before, Count("rows", "quiet") - four_before};
    }
    return rows;
  };
  // Where the machine keeps the processes of one from their cores for a moment, the other has what it leaves.
  double ratio = 0;
  for (int tries = 0; tries < 5 && std::abs(ratio - 4) > 1 && !HasFailure(); ++tries) {
    const auto [ones, fours] = rows_of_both();
    ratio = fours / ones;
    std::printf("rows: %.0f to %.0f\n", fours, ones);
  }
  EXPECT_NEAR(ratio, 4, 1);
}

/// Of a product with a small share, most calls wait for long: those that are late do not wait for their turn.
TEST_F(HubFloodTest, LateCallsAreAnsweredWhileAFloodHasTheRuns) {
  ASSERT_NO_FATAL_FAILURE(Start("{flood: 400}"));
  constexpr int kLate = 4;
  // It leaves room: with so small a share the others would be refused.
  Flood flood(Status("one").grpc, "flood", kQueue - 2 * kLate);
  ASSERT_TRUE(flood.WaitForAnswers(kQueue));
  // Straight to the module, whose own share is 1: of an API by which the server alone knows the deadline.
  std::string values = "1";
  for (int64_t i = 1; i < kWidth; ++i) values += ",1";
  const auto ask = [&](absl::Duration timeout, absl::Duration* took) {
    const absl::Time start = absl::Now();
    const HttpAnswer answer = Http(Status("hub").http, "/v2/models/encoder/infer",
                                   absl::StrCat(R"({"parameters": {"timeout": )", absl::ToInt64Microseconds(timeout),
                                                R"(}, "inputs": [{"name": "x", "shape": [1, )", kWidth,
                                                R"(], "datatype": "FP32", "data": [)", values, "]}]}"));
    *took = absl::Now() - start;
    return answer;
  };
  const absl::Duration timeout = 10 * kRun;
  std::vector<absl::Duration> times(kLate + 2);
  std::vector<HttpAnswer> answers(times.size());
  std::vector<std::thread> threads;
  const auto send = [&](size_t i, absl::Duration allowed) {
    threads.emplace_back([&, i, allowed] { answers[i] = ask(allowed, &times[i]); });
  };
  // The first has its turn at once; each one more is due when the flood has had 400 rows, which is 100 runs.
  send(kLate, absl::Minutes(2));
  absl::SleepFor(4 * kRun);
  send(kLate + 1, absl::Minutes(2));
  for (size_t i = 0; i < kLate; ++i) send(i, timeout);
  for (std::thread& thread : threads) thread.join();
  flood.Stop();
  EXPECT_EQ(answers[kLate].code, 200) << answers[kLate].body;
  EXPECT_EQ(answers[kLate + 1].code, 200) << answers[kLate + 1].body;
  std::printf("a turn took %s; allowed %s, answered within %s\n", absl::FormatDuration(times[kLate + 1]).c_str(),
              absl::FormatDuration(timeout).c_str(),
              absl::FormatDuration(*std::max_element(times.begin(), times.begin() + kLate)).c_str());
  for (size_t i = 0; i < kLate; ++i) {
    EXPECT_EQ(answers[i].code, 504) << answers[i].body;
    EXPECT_THAT(answers[i].body, HasSubstr("its deadline passed before it could run"));
    EXPECT_GE(times[i], timeout);
    EXPECT_LT(times[i], times[kLate + 1] / 2) << "not when its turn came";
  }
  EXPECT_EQ(Count("expired", "encoder"), kLate);
}

}  // namespace
}  // namespace portico
