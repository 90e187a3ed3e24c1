// A gate and four experts over real sockets: two experts in each of two processes.

#include <signal.h>

#include <cmath>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "cli/metrics_text.h"
#include "gtest/gtest.h"
#include "tests/integration/node_fixture.h"
#include "tests/integration/serving_process.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

constexpr int kExperts = 4;

/// What expert `e` answers to `x`: whole numbers, so that halves of sums are exact.
float AnswerOf(int e, float x) { return 2 * x + static_cast<float>(100 * e); }

class ExpertsNodeTest : public ::testing::Test {
 protected:
  ExpertsNodeTest() {
    for (int e = 0; e < kExperts; ++e) {
      ModelBuilder expert;
      expert.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"});
      expert.Initializer("two", {1}, {2}).Initializer("own", {1}, {static_cast<float>(100 * e)});
      expert.Node("Mul", {"x", "two"}, {"twice"}).Node("Add", {"twice", "own"}, {"y"});
      expert.WriteTo(folder_.File(absl::StrCat("e", e, "/1/model.onnx")));
    }
    for (int i = 0; i < 2; ++i) StartExperts(i);
  }

  /// Experts 2i and 2i + 1.
  void StartExperts(int i) {
    std::vector<std::string> words = {"--peer=tcp://127.0.0.1:0"};
    for (int e = 2 * i; e < 2 * i + 2; ++e) words.push_back(absl::StrCat("--model=e", e, "=", folder_.path(), "/e", e));
    experts_[i] = std::make_unique<ServingProcess>(std::move(words));
  }

  void Kill(int i) {
    kill(experts_[i]->pid(), SIGKILL);
    experts_[i]->WaitForEnd();
  }

  /// Gates are weights, divided by the sum over those that answered. Model "all" waits for all of four experts.
  void StartFront(Attrs attrs) {
    WriteFront("front", std::move(attrs));
    WriteFront("all", {Int("k", kExperts)});
    Node::Options options = LocalNode("front", {{"front", folder_.Folder("front")}, {"all", folder_.Folder("all")}});
    for (int e = 0; e < kExperts; ++e) options.peers[absl::StrCat("e", e)] = {experts_[e / 2]->Address("peer")};
    // One that hangs is not found out by the connection.
    options.peer_dead_after = absl::Minutes(2);
    front_ = StartNode(std::move(options));
    client_ = std::make_unique<PredictClient>(front_->grpc_address());
  }
  void WriteFront(const std::string& name, Attrs attrs) {
    ModelBuilder front;
    front.Input("scores", DType::kFloat, {"N", kExperts}).Input("x", DType::kFloat, {"N"});
    front.Output("answer", DType::kFloat, {"N"}).Output("status", DType::kInt8, {"N"});
    attrs.push_back(Strings("targets", {"e0", "e1", "e2", "e3"}));
    attrs.push_back(Strings("input_names", {"x"}));
    attrs.push_back(Strings("output_names", {"y"}));
    attrs.push_back(Int("row_status", 1));
    attrs.push_back(String("weights", "renormalize"));
    front.Node("Identity", {"scores"}, {"gate"})
        .Portal("Experts", "", {"gate", "x"}, {"sum", "status"}, {DType::kFloat}, {"N"}, std::move(attrs))
        .Node("Identity", {"sum"}, {"answer"});
    front.WriteTo(folder_.File(name + "/1/model.onnx"));
  }

  /// What the i-th best expert of a row has for a gate; experts that the row does not name have 0, which is never.
  static float GateOf(size_t i) { return 1 / static_cast<float>(1 << i); }

  /// Row i asks for the experts of rows[i], best first. Expects it to be answered by who[i].
  void ExpectAnswers(const std::vector<std::vector<int>>& rows, const std::vector<std::set<int>>& who,
                     const std::vector<int>& statuses) {
    std::vector<float> gates, xs;
    for (const std::vector<int>& order : rows) {
      std::vector<float> own(kExperts, 0);
      for (size_t i = 0; i < order.size(); ++i) own[static_cast<size_t>(order[i])] = GateOf(i);
      gates.insert(gates.end(), own.begin(), own.end());
      xs.push_back(static_cast<float>(xs.size() + 1));
    }
    const auto count = static_cast<int64_t>(rows.size());
    const auto outputs =
        client_->Predict("front", {{{"scores", Tensor::Of<float>({count, kExperts}, absl::MakeConstSpan(gates))},
                                    {"x", Tensor::Of<float>({count}, absl::MakeConstSpan(xs))}}});
    ASSERT_TRUE(outputs.ok()) << outputs.status();
    for (size_t row = 0; row < rows.size(); ++row) {
      float sum = 0, weights = 0;
      for (const int e : who[row]) {
        const float gate = gates[row * kExperts + static_cast<size_t>(e)];
        sum += gate * AnswerOf(e, xs[row]);
        weights += gate;
      }
      const float got = outputs->at("answer").data<float>()[row];
      if (who[row].empty()) {
        EXPECT_TRUE(std::isnan(got)) << "row " << row;
      } else {
        EXPECT_FLOAT_EQ(got, sum / weights) << "row " << row;
      }
      EXPECT_EQ(outputs->at("status").data<int8_t>()[row], statuses[row]) << "row " << row;
    }
  }

  double Count(const std::string& name) {
    const auto metrics = MetricsText::Parse(Http(front_->http_address(), "/metrics").body);
    EXPECT_TRUE(metrics.ok()) << metrics.status();
    double sum = 0;
    for (const auto& [labels, value] : metrics->Values(name)) sum += value;
    return sum;
  }

  const TempFolder folder_;
  std::unique_ptr<ServingProcess> experts_[2];
  std::unique_ptr<Node> front_;
  std::unique_ptr<PredictClient> client_;
};

TEST_F(ExpertsNodeTest, OneCallForEachExpertThatRowsChose) {
  StartFront({Int("k", 2)});
  std::vector<std::vector<int>> rows;
  std::vector<std::set<int>> who;
  for (int row = 0; row < 12; ++row) {
    const int first = row % 3 == 0 ? 3 : 0;
    rows.push_back({first, 2});
    who.push_back({first, 2});
  }
  ExpectAnswers(rows, who, std::vector<int>(12));
  EXPECT_EQ(Count("portico_portal_calls_total"), 3) << "experts 0, 2 and 3, whatever the rows";
  EXPECT_EQ(Count("portico_experts_expert_rows_total"), 24);
  EXPECT_EQ(Count("portico_experts_rows_total"), 12);
}

TEST_F(ExpertsNodeTest, ExpertsOfAKilledNodeAreReplacedByTheNextBestAndThenByNobody) {
  StartFront({Int("k", 1)});
  const std::vector<std::vector<int>> rows = {{0, 1, 2}, {2, 0, 3}, {1, 0, 3}};
  ExpectAnswers(rows, {{0}, {2}, {1}}, {0, 0, 0});
  Kill(0);
  ExpectAnswers(rows, {{2}, {2}, {3}}, {0, 0, 0});
  Kill(1);
  ExpectAnswers(rows, {{}, {}, {}}, {2, 2, 2});
}

TEST_F(ExpertsNodeTest, ExpertsOfAKilledNodeAreLeftOutWhereThatIsDeclared) {
  StartFront({Int("k", 2), String("on_expert_error", "renormalize")});
  Kill(0);
  ExpectAnswers({{0, 2, 3}, {3, 1, 2}, {0, 1, 2}, {2, 3}}, {{2}, {3}, {}, {2, 3}}, {1, 1, 2, 0});
}

TEST_F(ExpertsNodeTest, ExpertsThatHangAreNotWaitedForOnceKMinHaveAnswered) {
  StartFront({Int("k", 2), Int("k_min", 1), Int("k_min_after_ms", 500)});
  // All are connected then.
  const auto warm = client_->Predict(
      "all", {{"scores", Tensor::Of<float>({1, kExperts}, {4, 3, 2, 1})}, {"x", Tensor::Of<float>({1}, {5})}});
  ASSERT_TRUE(warm.ok()) << warm.status();
  const std::vector<std::vector<int>> rows = {{0, 2}, {3, 1}, {0, 1}};
  ExpectAnswers(rows, {{0, 2}, {1, 3}, {0, 1}}, {0, 0, 0});
  kill(experts_[1]->pid(), SIGSTOP);
  for (int i = 0; i < 3; ++i) ExpectAnswers(rows, {{0}, {1}, {0, 1}}, {1, 1, 0});
  kill(experts_[1]->pid(), SIGCONT);
  // Its answers to what was taken back are nobody's; with time enough it is heard again.
  const absl::Time until = absl::Now() + absl::Minutes(1);
  double fewer = -1;
  while (absl::Now() < until && fewer != Count("portico_experts_rows_fewer_total")) {
    fewer = Count("portico_experts_rows_fewer_total");
    const auto outputs = client_->Predict(
        "front", {{{"scores", Tensor::Of<float>({1, kExperts}, {2, 0, 1, 0})}, {"x", Tensor::Of<float>({1}, {5})}}});
    ASSERT_TRUE(outputs.ok()) << outputs.status();
  }
  EXPECT_EQ(fewer, Count("portico_experts_rows_fewer_total")) << "never complete again";
}

}  // namespace
}  // namespace portico
