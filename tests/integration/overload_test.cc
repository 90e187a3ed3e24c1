// Nodes that call each other in circles, with far more requests than they take: some are refused, none waits for ever.

#include <array>
#include <atomic>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "tests/integration/node_fixture.h"
#include "tests/testing/temp_folder.h"
#include "tests/testing/version_model.h"

namespace portico {
namespace {

constexpr int kClients = 48;
constexpr absl::Duration kTimeout = absl::Seconds(10);

/// y = what `target` makes of x.
void WriteThrough(const std::string& path, const std::string& target) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", 64}).Output("y", DType::kFloat, {"N", 2});
  model.Portal("Remote", target, {"x"}, {"y"}, {DType::kFloat}, {"N,2"});
  model.WriteTo(path);
}

class OverloadTest : public ::testing::TestWithParam<int> {
 protected:
  /// `count` nodes; node i has leaf<i>, mid<i> that calls leaf<i+1>, and top<i> that calls mid<i+1>.
  void StartNodes(int count) {
    std::vector<std::string> endpoints;
    const auto name = [](const char* kind, int i) { return absl::StrCat(kind, i); };
    for (int i = 0; i < count; ++i) {
      const int next = (i + 1) % count;
      PublishVersion(VersionModel(1), folder_.Folder(name("leaf", i)), 1);
      WriteThrough(folder_.File(name("mid", i) + "/1/model.onnx"), name("leaf", next));
      WriteThrough(folder_.File(name("top", i) + "/1/model.onnx"), name("mid", next));
      endpoints.push_back("unix://" + folder_.File(absl::StrCat("s", i)));
    }
    for (int i = 0; i < count; ++i) {
      const int next = (i + 1) % count;
      std::vector<std::pair<std::string, std::string>> models;
      for (const char* kind : {"leaf", "mid", "top"}) {
        models.emplace_back(name(kind, i), folder_.path() + "/" + name(kind, i));
      }
      Node::Options options = LocalNode(absl::StrCat("n", i), std::move(models));
      options.peer = endpoints[static_cast<size_t>(i)];
      for (const char* kind : {"leaf", "mid"}) {
        options.peers[name(kind, next)] = {endpoints[static_cast<size_t>(next)]};
      }
      // Far fewer than clients.
      options.inference.max_requests = 4;
      nodes_.push_back(StartNode(std::move(options)));
    }
  }

  const TempFolder folder_;
  std::vector<std::unique_ptr<Node>> nodes_;
};

TEST_P(OverloadTest, CirclesOfNodesRefuseAndNeverLock) {
  StartNodes(GetParam());
  const std::vector<NamedTensor> inputs = {{"x", Tensor::Of<float>({1, 64}, std::vector<float>(64, 1))}};
  const auto warm = [&](size_t node) {
    PredictClient client(nodes_[node]->grpc_address());
    return client.Predict(absl::StrCat("top", node), inputs, kTimeout);
  };
  for (size_t node = 0; node < nodes_.size(); ++node) ASSERT_TRUE(warm(node).ok()) << warm(node).status();

  std::atomic<int> answered{0}, refused{0}, late{0}, wrong{0};
  std::vector<std::thread> clients;
  const absl::Time end = absl::Now() + absl::Seconds(3);
  for (int i = 0; i < kClients; ++i) {
    clients.emplace_back([&, i] {
      const size_t node = static_cast<size_t>(i) % nodes_.size();
      PredictClient client(nodes_[node]->grpc_address());
      const std::string model = absl::StrCat(std::array{"top", "mid", "top"}[static_cast<size_t>(i) % 3], node);
      while (absl::Now() < end) {
        const auto outputs = client.Predict(model, inputs, kTimeout);
        if (outputs.ok()) {
          ++answered;
        } else if (absl::IsResourceExhausted(outputs.status())) {
          ++refused;
        } else if (absl::IsDeadlineExceeded(outputs.status())) {
          ++late;
        } else if (wrong.fetch_add(1) == 0) {
          ADD_FAILURE() << outputs.status();
        }
      }
    });
  }
  for (std::thread& client : clients) client.join();
  std::printf("%d nodes: %d answered, %d refused, %d late\n", GetParam(), answered.load(), refused.load(), late.load());
  EXPECT_GT(answered, 100);
  EXPECT_GT(refused, 0) << "that was no overload";
  EXPECT_EQ(late, 0) << "somebody waited for somebody";
  EXPECT_EQ(wrong, 0);
  for (size_t node = 0; node < nodes_.size(); ++node) EXPECT_TRUE(warm(node).ok()) << warm(node).status();
}

// Two: A calls B, which calls A. Four: everybody is called by its neighbours.
INSTANTIATE_TEST_SUITE_P(Nodes, OverloadTest, ::testing::Values(2, 4));

}  // namespace
}  // namespace portico
