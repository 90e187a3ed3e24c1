// A cascade that is watched, over real sockets: the trigger here, the full model in a process of its own.

#include <signal.h>

#include <atomic>
#include <cmath>
#include <memory>
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

/// What is above 10 escalates; up to 5 both models say the same.
float Full(float x) { return 2 * x + 100; }
float Cheap(float x) { return x > 5 ? -x : Full(x); }

class CascadeWatchNodeTest : public ::testing::Test {
 protected:
  /// `batching`: of the full model. With a brown-out, rows with a larger x need it more.
  void Start(Attrs attrs, const std::string& batching = "{max_batch_size: 16}", const RoutePolicy& policy = {}) {
    ModelBuilder full;
    full.Input("x", DType::kFloat, {"N"}).Output("answer", DType::kFloat, {"N"});
    AddFull(full, "answer");
    full.WriteTo(folder_.File("full/1/model.onnx"));
    folder_.Write("full/1/servable.yaml", "batching: " + batching + "\n");
    ModelBuilder front;
    front.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"});
    front.Initializer("limit", {1}, {10}).Initializer("five", {1}, {5});
    AddFull(front, "right");
    std::vector<std::string> inputs = {"escalate", "cheap", "x"};
    for (const auto& attr : attrs) {
      if (attr.name() == "brown_out_max_shed") inputs.emplace_back("x");
    }
    attrs.push_back(Strings("input_names", {"x"}));
    attrs.push_back(Strings("output_names", {"answer"}));
    attrs.push_back(String("on_row_error", "cheap"));
    front.Node("Greater", {"x", "limit"}, {"escalate"})
        .Node("Greater", {"x", "five"}, {"wrong"})
        .Node("Neg", {"x"}, {"negative"})
        .Node("Where", {"wrong", "negative", "right"}, {"cheap"})
        .Portal("Cascade", "full", inputs, {"y"}, {DType::kFloat}, {"N"}, std::move(attrs));
    front.WriteTo(folder_.File("front/1/model.onnx"));
    full_ = std::make_unique<ServingProcess>(std::vector<std::string>{
        "--model=full=" + folder_.path() + "/full", "--peer=tcp://127.0.0.1:0", "--http=127.0.0.1:0"});
    Node::Options options = LocalNode("front", {{"front", folder_.Folder("front")}});
    options.peers["full"] = {full_->Address("peer")};
    options.policies["full"] = policy;
    front_ = StartNode(std::move(options));
  }
  static void AddFull(ModelBuilder& model, const std::string& output) {
    model.Initializer("two", {1}, {2}).Initializer("hundred", {1}, {100});
    model.Node("Mul", {"x", "two"}, {"twice"}).Node("Add", {"twice", "hundred"}, {output});
  }

  absl::StatusOr<std::vector<float>> Ask(PredictClient& client, const std::vector<float>& x) {
    const auto rows = static_cast<int64_t>(x.size());
    auto outputs = client.Predict("front", {{{"x", Tensor::Of<float>({rows}, absl::MakeConstSpan(x))}}});
    if (!outputs.ok()) return outputs.status();
    const absl::Span<const float> y = outputs->at("y").data<float>();
    return std::vector<float>(y.begin(), y.end());
  }
  /// All series of that name whose labels have `label`, as the node at `address` counts.
  static double Figure(const std::string& address, const std::string& name, const std::string& label = "\"full\"") {
    double sum = 0;
    for (const absl::string_view line : absl::StrSplit(Http(address, "/metrics").body, '\n')) {
      double value = 0;
      if (!absl::StartsWith(line, name + "{") || !absl::StrContains(line, label)) continue;
      EXPECT_TRUE(absl::SimpleAtod(line.substr(line.rfind(' ') + 1), &value)) << line;
      sum += value;
    }
    return sum;
  }
  double OfCascade(const std::string& name, const std::string& label = "\"full\"") const {
    return Figure(front_->http_address(), "portico_cascade_" + name, label);
  }
  template <typename Condition>
  static bool WaitFor(Condition condition) {
    for (const absl::Time end = absl::Now() + absl::Seconds(30); absl::Now() < end;) {
      if (condition()) return true;
      absl::SleepFor(absl::Milliseconds(10));
    }
    return false;
  }

  TempFolder folder_;
  std::unique_ptr<ServingProcess> full_;
  std::unique_ptr<Node> front_;
};

TEST_F(CascadeWatchNodeTest, AuditsTellHowOftenTheModelsAgreeAndWhenThatIsNotAsTuned) {
  Start({Float("audit", 0.5F), Float("expected_agreement", 0.9F), Float("expected_escalated", 0.25F),
         Float("expected_escalated_within", 0.1F), Int("audit_max_in_flight", 64)});
  PredictClient client(front_->grpc_address());
  // Of twelve rows three escalate, six agree, three would not.
  const std::vector<float> x = {0, 11, 1, 2, 6, 12, 3, 4, 5, 7, 8, 20};
  int requests = 0;
  const auto ask = [&] {
    const auto y = Ask(client, x);
    ASSERT_TRUE(y.ok()) << y.status();
    for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ((*y)[i], x[i] > 10 ? Full(x[i]) : Cheap(x[i]));
    ++requests;
  };
  for (int i = 0; i < 300; ++i) ask();
  EXPECT_TRUE(WaitFor([&] { return OfCascade("rows_audited_total") > 0; }));
  // What is drifting is looked for once a second.
  EXPECT_TRUE(WaitFor([&] {
    ask();
    return OfCascade("drifted", "what=\"agreement\"") == 1;
  }));
  EXPECT_EQ(OfCascade("drifted", "what=\"escalated\""), 0);
  // Each row that is kept was audited with an even chance, dropped, or is on its way: wait for those.
  const double kept = 9.0 * requests;
  EXPECT_TRUE(WaitFor([&] {
    return OfCascade("rows_saved_total") == kept - OfCascade("rows_audited_total") - OfCascade("audits_dropped_total");
  }));
  EXPECT_TRUE(WaitFor([&] {
    const double audited = OfCascade("rows_audited_total");
    return Figure(full_->Address("http"), "portico_batch_rows_sum") == audited + 3 * requests;
  })) << "what the full model has seen is what is counted";
  const double audited = OfCascade("rows_audited_total"), dropped = OfCascade("audits_dropped_total");
  EXPECT_NEAR(audited + dropped, kept / 2, 5 * std::sqrt(kept / 4));
  const double disagreed = OfCascade("rows_disagreed_total");
  EXPECT_NEAR(disagreed, audited / 3, 5 * std::sqrt(audited * 2 / 9));
  EXPECT_EQ(OfCascade("outputs_disagreed_total", "output=\"answer\""), disagreed);
  EXPECT_EQ(OfCascade("rows_compared_total"), 3 * requests);
  EXPECT_EQ(OfCascade("rows_changed_total"), 3 * requests);
}

TEST_F(CascadeWatchNodeTest, AFullModelThatHangsDelaysNobodyWhoDoesNotAskIt) {
  Start({Float("audit", 1), Int("audit_max_in_flight", 3), Int("audit_timeout_ms", 300)});
  PredictClient client(front_->grpc_address());
  ASSERT_TRUE(Ask(client, {1, 20}).ok());
  kill(full_->pid(), SIGSTOP);
  for (int i = 0; i < 200; ++i) {
    const auto y = Ask(client, {1, 2, 6});
    ASSERT_TRUE(y.ok()) << y.status();
    EXPECT_EQ(*y, (std::vector<float>{Full(1), Full(2), -6}));
  }
  EXPECT_GE(OfCascade("audits_dropped_total", "why=\"bound\""), 3 * 150);
  EXPECT_TRUE(WaitFor([&] { return OfCascade("audits_dropped_total", "why=\"failed\"") > 0; })) << "given up in time";
  kill(full_->pid(), SIGCONT);
  const double before = OfCascade("rows_audited_total");
  EXPECT_TRUE(WaitFor([&] {
    EXPECT_TRUE(Ask(client, {1, 2, 6}).ok());
    return OfCascade("rows_audited_total") > before;
  }));
}

TEST_F(CascadeWatchNodeTest, InABrownOutRowsThatNeedItLeastStayCheapWithinTheBound) {
  RoutePolicy policy;
  policy.retries = 0;
  policy.max_in_flight = 2;
  // A call takes 10 ms, and two may be out: eight callers are too many.
  Start({Float("brown_out_max_shed", 0.5F)}, "{max_batch_size: 64, max_delay_us: 10000, max_running: 1}", policy);
  std::atomic<bool> stop{false};
  std::atomic<int> answered{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < 8; ++i) {
    callers.emplace_back([&] {
      PredictClient client(front_->grpc_address());
      while (!stop.load()) {
        const std::vector<float> x = {11, 50, 12, 51, 1};
        const auto y = Ask(client, x);
        EXPECT_TRUE(y.ok()) << y.status();
        if (!y.ok()) return;
        // The cheap answer, or the full model's.
        for (size_t row = 0; row < 4; ++row) {
          EXPECT_TRUE((*y)[row] == Cheap(x[row]) || (*y)[row] == Full(x[row])) << (*y)[row];
        }
        EXPECT_EQ((*y)[4], Full(1));
        ++answered;
      }
    });
  }
  EXPECT_TRUE(WaitFor([&] { return OfCascade("brown_out_share") == 0.5; })) << "it goes as far as it may";
  const int before = answered.load();
  EXPECT_TRUE(WaitFor([&] { return answered.load() > before + 200; }));
  RawHttp http(front_->http_address());
  const RawResponse told = http.Post("/v1/models/front:predict", R"({"instances":[11,50,12,51,1]})");
  EXPECT_EQ(told.code, 200) << told.body;
  EXPECT_THAT(told.head, HasSubstr("full=brown_out RESOURCE_EXHAUSTED: portal 'y' to 'full'"));
  EXPECT_THAT(told.head, HasSubstr("0,2 full=brown_out")) << "the rows that need it least";
  stop = true;
  for (std::thread& caller : callers) caller.join();
  const double shed = OfCascade("rows_shed_total"), escalated = OfCascade("rows_escalated_total");
  EXPECT_GT(shed, 100);
  EXPECT_LE(shed, 0.5 * (shed + escalated));

  // One caller is not too many: it ends, and then nothing is left of it.
  PredictClient client(front_->grpc_address());
  EXPECT_TRUE(WaitFor([&] { return Ask(client, {11}).ok() && OfCascade("brown_out_share") == 0; }));
  const double shed_then = OfCascade("rows_shed_total");
  const auto y = Ask(client, {11, 50, 1});
  ASSERT_TRUE(y.ok()) << y.status();
  EXPECT_EQ(*y, (std::vector<float>{Full(11), Full(50), Full(1)}));
  EXPECT_EQ(OfCascade("rows_shed_total"), shed_then);
  EXPECT_THAT(http.Post("/v1/models/front:predict", R"({"instances":[11,50]})").head, Not(HasSubstr("X-Portico-Rows")));
}

}  // namespace
}  // namespace portico
