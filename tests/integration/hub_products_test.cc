// Two products in front of one hub module, each a process of its own: whose rows a run has, as metrics and traces tell.

#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "base/span.h"
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

class HubProductsTest : public ::testing::Test {
 protected:
  HubProductsTest() {
    ModelBuilder encoder;
    encoder.Input("x", DType::kFloat, {"N", 2}).Output("y", DType::kFloat, {"N", 2}).Node("Neg", {"x"}, {"y"});
    encoder.WriteTo(folder_.File("hub/encoder/1/model.onnx"));
    // Calls of both meet: a run waits for more.
    folder_.Write("hub/encoder/1/servable.yaml", "batching: {max_delay_us: 300000}\n");
    for (const char* const product : {"digit", "parity"}) {
      ModelBuilder head;
      head.Input("x", DType::kFloat, {"N", 2}).Output("y", DType::kFloat, {"N", 2});
      head.Portal("Remote", "hub/encoder", {"x"}, {"features"}, {DType::kFloat}, {"N,2"},
                  {Strings("output_names", {"y"})});
      head.Node("Abs", {"features"}, {"y"}).WriteTo(folder_.File(absl::StrCat(product, "/1/model.onnx")));
    }
  }

  std::string WriteMesh(const std::string& shares) const {
    return folder_.Write(
        "mesh.yaml", absl::StrCat("mesh: m\nmodels:\n  hub/encoder: {path: hub/encoder, shares: ", shares,
                                  "}\n  digit: {path: digit}\n  parity: {path: parity}\nnodes:\n"
                                  "  hub: {serve: [hub/encoder], http: 0, grpc: 0, workers: 1}\n"
                                  "  one: {serve: [digit], grpc: 0, http: 0}\n  two: {serve: [parity], grpc: 0}\n"));
  }
  NodeStatus Status(const std::string& node) const {
    return ReadNodeStatus(absl::StrCat(folder_.path(), "/run/status/", node, "-0.json")).value_or(NodeStatus());
  }
  static absl::Status Predict(const std::string& address, const std::string& model, int64_t rows,
                              const TraceContext& trace = {}) {
    TfsClient client(address);
    TfsClient::CallOptions options;
    options.trace = trace;
    const std::vector<float> values(static_cast<size_t>(2 * rows), 1.0f);
    return client.Predict(model, "", {{"x", Tensor::Of<float>({rows, 2}, absl::MakeConstSpan(values))}}, options)
        .status();
  }
  /// Rows of `product` that the hub has run, of all its runs.
  static double Rows(const std::string& metrics, const std::string& product) {
    double sum = 0;
    for (const absl::string_view line : absl::StrSplit(metrics, '\n')) {
      const bool own = absl::StartsWith(line, "portico_batch_product_rows_total") &&
                       absl::StrContains(line, absl::StrCat("product=\"", product, "\""));
      double value = 0;
      if (own && absl::SimpleAtod(line.substr(line.rfind(' ') + 1), &value)) sum += value;
    }
    return sum;
  }

  const TempFolder folder_;
};

TEST_F(HubProductsTest, ShareARunAndMetricsAndTracesTellWhoDid) {
  PorticoCommand up({"up", WriteMesh("{digit: 2}"), "--run-folder", folder_.path() + "/run"});
  ASSERT_TRUE(up.WaitForOutput("mesh 'm' is ready")) << up.output();
  const TraceContext trace{.trace_id_high = 7, .trace_id_low = 9, .parent_span_id = 1, .sampled = true};
  absl::Status digit, parity;
  std::thread other([&] { parity = Predict(Status("two").grpc, "parity", 3); });
  digit = Predict(Status("one").grpc, "digit", 5, trace);
  other.join();
  ASSERT_TRUE(digit.ok() && parity.ok()) << digit << parity;
  // A client that asks for the module itself is a product of that name.
  ASSERT_TRUE(Predict(Status("hub").grpc, "hub/encoder", 1).ok());

  const std::string metrics = Http(Status("hub").http, "/metrics").body;
  EXPECT_EQ(Rows(metrics, "digit"), 5);
  EXPECT_EQ(Rows(metrics, "parity"), 3);
  EXPECT_EQ(Rows(metrics, "hub/encoder"), 1);
  const CommandResult shown = RunPortico({"trace", "--http", Status("one").http, "--trace-id", TraceIdHex(trace)});
  EXPECT_THAT(shown.output,
              AllOf(HasSubstr("batch of 8 rows, 2 calls"), HasSubstr("of products digit 5 rows, parity 3 rows")));
}

TEST_F(HubProductsTest, AShareOfNobodyIsRefused) {
  const CommandResult refused = RunPortico({"up", WriteMesh("{digits: 2}"), "--run-folder", folder_.path() + "/run"});
  EXPECT_EQ(refused.end, "exit status 1");
  EXPECT_THAT(refused.output, HasSubstr("shares: got product 'digits', which is no model of the mesh, want one of "
                                        "hub/encoder, digit, parity"));
}

}  // namespace
}  // namespace portico
