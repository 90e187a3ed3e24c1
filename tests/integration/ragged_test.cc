// Bags of embeddings whose lengths differ, joined across clients of a real node.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "tests/integration/node_fixture.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kIds = 50, kWidth = 3;

/// Whole numbers: sums are exact in whatever order they are made.
float Entry(int64_t id, int64_t column) { return static_cast<float>(id * 3 % 17 + column); }

/// pooled[N,3] = sum of table[ids] within each row of `row_splits`: differences of a running sum.
void WriteBags(const std::string& path) {
  std::vector<float> table;
  for (int64_t id = 0; id < kIds; ++id) {
    for (int64_t column = 0; column < kWidth; ++column) table.push_back(Entry(id, column));
  }
  ModelBuilder model;
  model.Input("ids", DType::kInt64, {"V"}).Input("row_splits", DType::kInt64, {"S"});
  model.Output("pooled", DType::kFloat, {"N", static_cast<int>(kWidth)});
  model.Initializer("table", Tensor::Of<float>({kIds, kWidth}, absl::MakeConstSpan(table)));
  model.Initializer("none", {1, kWidth}, {0, 0, 0}).Initializer("dim0", Tensor::Of<int64_t>({}, {0}));
  for (const auto& [name, value] : std::vector<std::pair<std::string, int64_t>>{
           {"zero", 0}, {"one", 1}, {"minus_one", -1}, {"end", int64_t{1} << 60}}) {
    model.Initializer(name, Tensor::Of<int64_t>({1}, {value}));
  }
  model.Node("Gather", {"table", "ids"}, {"rows"}).Node("CumSum", {"rows", "dim0"}, {"sums"});
  model.Node("Concat", {"none", "sums"}, {"running"}, {Int("axis", 0)});
  model.Node("Slice", {"row_splits", "zero", "minus_one"}, {"begins"});
  model.Node("Slice", {"row_splits", "one", "end"}, {"ends"});
  model.Node("Gather", {"running", "begins"}, {"before"}).Node("Gather", {"running", "ends"}, {"through"});
  model.Node("Sub", {"through", "before"}, {"pooled"});
  model.WriteTo(path);
}

struct Bags {
  std::vector<int64_t> ids, splits = {0};
  std::vector<float> pooled;

  std::vector<NamedTensor> Inputs() const {
    return {{"ids", Tensor::Of<int64_t>({static_cast<int64_t>(ids.size())}, absl::MakeConstSpan(ids))},
            {"offsets", Tensor::Of<int64_t>({static_cast<int64_t>(splits.size())}, absl::MakeConstSpan(splits))}};
  }
};

Bags RandomBags(std::mt19937& random, int rows) {
  Bags bags;
  for (int row = 0; row < rows; ++row) {
    float sums[kWidth] = {};
    for (auto left = random() % 6; left > 0; --left) {
      bags.ids.push_back(static_cast<int64_t>(random() % kIds));
      for (int64_t column = 0; column < kWidth; ++column) sums[column] += Entry(bags.ids.back(), column);
    }
    bags.splits.push_back(static_cast<int64_t>(bags.ids.size()));
    bags.pooled.insert(bags.pooled.end(), sums, sums + kWidth);
  }
  return bags;
}

class RaggedNodeTest : public ::testing::Test {
 protected:
  RaggedNodeTest() {
    WriteBags(folder_.File("bags/1/model.onnx"));
    folder_.Write("bags/1/servable.yaml", R"(
signatures:
  serving_default:
    inputs:
      ids: {axis: ragged, row_splits: offsets}
      offsets: {tensor: row_splits}
    outputs: {pooled: {axis: rows}}
batching: {max_batch_size: 16, max_delay_us: 20000, max_running: 1, enable_large_batch_splitting: true}
)");
    node_ = StartNode(LocalNode("n", {{"bags", folder_.Folder("bags")}}));
  }

  static void ExpectPooled(PredictClient& client, const Bags& bags) {
    const auto outputs = client.Predict("bags", bags.Inputs());
    ASSERT_TRUE(outputs.ok()) << outputs.status();
    const Tensor& pooled = outputs->at("pooled");
    ASSERT_EQ(pooled.rows(), static_cast<int64_t>(bags.splits.size()) - 1);
    EXPECT_EQ(pooled.bytes(),
              absl::string_view(reinterpret_cast<const char*>(bags.pooled.data()), bags.pooled.size() * sizeof(float)));
  }
  /// How many runs the model's segment has had.
  int64_t Runs() const {
    double runs = -1;
    for (const absl::string_view line : absl::StrSplit(Http(node_->http_address(), "/metrics").body, '\n')) {
      if (!absl::StartsWith(line, "portico_batch_rows_count{") || !absl::StrContains(line, "\"bags\"")) continue;
      EXPECT_TRUE(absl::SimpleAtod(line.substr(line.rfind(' ') + 1), &runs));
    }
    return static_cast<int64_t>(runs);
  }

  TempFolder folder_;
  std::unique_ptr<Node> node_;
};

TEST_F(RaggedNodeTest, BagsOfManyClientsAreJoinedAndEachGetsItsOwn) {
  constexpr int kClients = 8, kCalls = 25;
  std::vector<std::thread> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.emplace_back([this, i] {
      PredictClient client(node_->grpc_address());
      std::mt19937 random(static_cast<uint32_t>(i));
      for (int call = 0; call < kCalls; ++call)
        ExpectPooled(client, RandomBags(random, static_cast<int>(random() % 4)));
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_GT(Runs(), 0);
  EXPECT_LT(Runs(), kClients * kCalls * 2 / 3);
}

TEST_F(RaggedNodeTest, ALargeRequestRunsInPieces) {
  PredictClient client(node_->grpc_address());
  std::mt19937 random(1);
  ExpectPooled(client, RandomBags(random, 100));
  EXPECT_EQ(Runs(), 7);
}

TEST_F(RaggedNodeTest, OffsetsThatDoNotDivideTheirValuesAreRefused) {
  PredictClient client(node_->grpc_address());
  Bags bags;
  bags.ids = {1, 2, 3};
  bags.splits = {0, 5, 3};
  const auto outputs = client.Predict("bags", bags.Inputs());
  EXPECT_EQ(outputs.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(outputs.status().message()),
              HasSubstr("input 'offsets', row_splits of 'ids': got 5 at 1 behind 0, want offsets that do not fall, up "
                        "to its 3 values"));
  EXPECT_EQ(Runs(), 0);
}

}  // namespace
}  // namespace portico
