// A cascade over real sockets: the trigger here, the full model in a process of its own.

#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/node_fixture.h"
#include "tests/integration/serving_process.h"
#include "tests/node/frontend/raw_http.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// Whole numbers, so that what comes back is exact. What is above 10 escalates.
bool Escalates(float x) { return x > 10; }
float Cheap(float x) { return -x; }
float Full(float x) { return 2 * x + 100; }

class CascadeNodeTest : public ::testing::Test {
 protected:
  CascadeNodeTest() {
    ModelBuilder full;
    full.Input("x", DType::kFloat, {"N"}).Output("answer", DType::kFloat, {"N"});
    full.Initializer("two", {1}, {2}).Initializer("hundred", {1}, {100});
    full.Node("Mul", {"x", "two"}, {"twice"}).Node("Add", {"twice", "hundred"}, {"answer"});
    full.WriteTo(folder_.File("full/1/model.onnx"));
    // Waits for others a little, so that rows of several callers meet.
    folder_.Write("full/1/servable.yaml", "batching: {max_batch_size: 16, max_delay_us: 20000, max_running: 1}\n");
    ModelBuilder front;
    front.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"}).Output("status", DType::kInt8, {"N"});
    front.Initializer("limit", {1}, {10});
    front.Node("Greater", {"x", "limit"}, {"escalate"})
        .Node("Neg", {"x"}, {"cheap"})
        .Portal("Cascade", "full", {"escalate", "cheap", "x"}, {"y", "status"}, {DType::kFloat}, {"N"},
                {Strings("input_names", {"x"}), Strings("output_names", {"answer"}), Int("row_status", 1)});
    front.WriteTo(folder_.File("front/1/model.onnx"));
    full_ = std::make_unique<ServingProcess>(std::vector<std::string>{
        "--model=full=" + folder_.path() + "/full", "--peer=tcp://127.0.0.1:0", "--http=127.0.0.1:0"});
    Node::Options options = LocalNode("front", {{"front", folder_.Folder("front")}});
    options.peers["full"] = {full_->Address("peer")};
    options.peer_dead_after = absl::Seconds(5);
    front_ = StartNode(std::move(options));
  }

  /// Sends `x` and checks every row. Returns how many were marked.
  static int Ask(PredictClient& client, const std::vector<float>& x, bool marks_allowed = false) {
    const auto rows = static_cast<int64_t>(x.size());
    const auto outputs = client.Predict("front", {{{"x", Tensor::Of<float>({rows}, absl::MakeConstSpan(x))}}});
    EXPECT_TRUE(outputs.ok()) << outputs.status();
    if (!outputs.ok()) return 0;
    const absl::Span<const float> y = outputs->at("y").data<float>();
    const absl::Span<const int8_t> status = outputs->at("status").data<int8_t>();
    EXPECT_EQ(y.size(), x.size());
    EXPECT_EQ(status.size(), x.size());
    int marked = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      if (!Escalates(x[i])) {
        EXPECT_EQ(y[i], Cheap(x[i]));
        EXPECT_EQ(status[i], 0);
      } else if (status[i] == 1) {
        EXPECT_EQ(y[i], Full(x[i]));
      } else {
        EXPECT_TRUE(marks_allowed) << "row " << i;
        EXPECT_EQ(status[i], 2);
        EXPECT_TRUE(std::isnan(y[i]));
        ++marked;
      }
    }
    return marked;
  }
  static std::vector<float> RandomRows(std::mt19937& random) {
    std::vector<float> x(1 + random() % 5);
    for (float& value : x) value = static_cast<float>(random() % 21);
    return x;
  }
  /// A figure of the full model's node, all series of that name and with "full" in their labels; 0 where there is none.
  double OfFull(const std::string& name) const {
    double sum = 0;
    for (const absl::string_view line : absl::StrSplit(Http(full_->Address("http"), "/metrics").body, '\n')) {
      double value = 0;
      if (!absl::StartsWith(line, name + "{") || !absl::StrContains(line, "\"full\"")) continue;
      EXPECT_TRUE(absl::SimpleAtod(line.substr(line.rfind(' ') + 1), &value)) << line;
      sum += value;
    }
    return sum;
  }

  TempFolder folder_;
  std::unique_ptr<ServingProcess> full_;
  std::unique_ptr<Node> front_;
};

TEST_F(CascadeNodeTest, WhereNothingEscalatesTheFullModelHearsNothing) {
  PredictClient client(front_->grpc_address());
  for (int i = 0; i < 20; ++i) Ask(client, {1, 2, 3, static_cast<float>(i % 10)});
  EXPECT_EQ(OfFull("portico_requests_total"), 0);
  EXPECT_EQ(OfFull("portico_batch_rows_count"), 0);
  Ask(client, {1, 20, 3});
  EXPECT_EQ(OfFull("portico_requests_total"), 1);
  EXPECT_EQ(OfFull("portico_batch_rows_sum"), 1) << "one row of three";
}

TEST_F(CascadeNodeTest, RowsOfSeveralCallersAreJoinedAtTheFullModel) {
  constexpr int kCallers = 8, kCalls = 25;
  std::atomic<int> escalated{0}, requests{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < kCallers; ++i) {
    callers.emplace_back([&, i] {
      PredictClient client(front_->grpc_address());
      std::mt19937 random(static_cast<uint32_t>(i));
      for (int call = 0; call < kCalls; ++call) {
        const std::vector<float> x = RandomRows(random);
        const auto rows = static_cast<int>(std::count_if(x.begin(), x.end(), Escalates));
        escalated += rows;
        requests += rows > 0 ? 1 : 0;
        Ask(client, x);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(OfFull("portico_requests_total"), requests.load()) << "one call for each request that escalates";
  EXPECT_EQ(OfFull("portico_batch_rows_sum"), escalated.load()) << "and no row that does not";
  EXPECT_GT(OfFull("portico_batch_rows_count"), 0);
  EXPECT_LT(OfFull("portico_batch_rows_count"), requests.load() * 2 / 3) << "runs of rows of several callers";
}

TEST_F(CascadeNodeTest, RowsAreMarkedWhenTheFullModelIsKilledAndNoRequestFails) {
  constexpr int kCallers = 4;
  std::atomic<int> answered{0}, marked{0};
  std::atomic<bool> stop{false};
  std::vector<std::thread> callers;
  for (int i = 0; i < kCallers; ++i) {
    callers.emplace_back([&, i] {
      PredictClient client(front_->grpc_address());
      std::mt19937 random(static_cast<uint32_t>(i));
      while (!stop.load()) {
        marked += Ask(client, RandomRows(random), /*marks_allowed=*/true);
        ++answered;
      }
    });
  }
  const auto wait_for = [](const std::atomic<int>& count, int at_least) {
    for (int seen = count.load(); seen < at_least; seen = count.load()) absl::SleepFor(absl::Milliseconds(1));
  };
  wait_for(answered, 40);
  EXPECT_EQ(marked.load(), 0);
  kill(full_->pid(), SIGKILL);
  wait_for(marked, 20);
  stop = true;
  for (std::thread& caller : callers) caller.join();

  RawHttp http(front_->http_address());
  const RawResponse some = http.Post("/v1/models/front:predict", R"({"instances":[1,20,30,4,50]})");
  EXPECT_EQ(some.code, 200) << some.body;
  EXPECT_THAT(some.head, HasSubstr("X-Portico-Rows: 1-2,4 full=mark UNAVAILABLE: portal to 'full'"));
  EXPECT_THAT(some.body, HasSubstr("NaN"));
  const RawResponse none = http.Post("/v1/models/front:predict", R"({"instances":[1,4]})");
  EXPECT_EQ(none.code, 200) << none.body;
  EXPECT_THAT(none.head, Not(HasSubstr("X-Portico-Rows")));
  EXPECT_THAT(http.Get("/metrics").body,
              HasSubstr("portico_cascade_rows_failed_total{kind=\"mark\",portal=\"y\",target=\"full\"}"));
}

}  // namespace
}  // namespace portico
