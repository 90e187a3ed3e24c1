// A transformer of more than 100 MB, cut into two towers that run side by side, a part within one of them, and an
// output projection whose weights are tied to the embedding; every part on a node of its own.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "models/package/model.h"
#include "models/split/split.h"
#include "tests/integration/node_fixture.h"
#include "tests/integration/tensor_difference.h"
#include "tests/testing/temp_folder.h"
#include "tests/testing/transformer_builder.h"

namespace portico {
namespace {

constexpr char kPlan[] = R"(product: lm
parts:
  - name: tower/left
    inputs: [embedded]
    outputs: [left.3]
    parts:
      - name: tower/left-middle
        inputs: [left.0]
        outputs: [left.2]
  - name: tower/right
    inputs: [embedded]
    outputs: [right.3]
  - name: lm/head
    inputs: [merged]
    outputs: [logits]
)";

/// A request: `rows` sentences of `length` tokens, which differ by `seed`.
std::vector<NamedTensor> Sentences(int64_t rows, int64_t length, int64_t seed) {
  constexpr const char* kTags[] = {"de", "en", "fr", "it", "unheard of", ""};
  std::vector<int64_t> tokens;
  std::vector<std::string> languages;
  for (int64_t row = 0; row < rows; ++row) {
    languages.push_back(kTags[(row + seed) % static_cast<int64_t>(std::size(kTags))]);
    for (int64_t i = 0; i < length; ++i) tokens.push_back((i * 7919 + row * 104729 + seed * 31) % 8192);
  }
  return {{"tokens", Tensor::Of<int64_t>({rows, length}, absl::MakeConstSpan(tokens))},
          {"language", Tensor::OfStrings({rows}, absl::MakeConstSpan(languages))}};
}

/// The nodes: one per part, one for the product, one for the unsplit model to compare with.
class TransformerMesh {
 public:
  explicit TransformerMesh(const TempFolder& folder) {
    inner_ = Serve(folder, "tower/left-middle");
    head_ = Serve(folder, "lm/head");
    right_ = Serve(folder, "tower/right");
    left_ = Serve(folder, "tower/left", {{"tower/left-middle", {inner_->peer_endpoint()}}});
    product_ = Serve(folder, "lm",
                     {{"tower/left", {left_->peer_endpoint()}},
                      {"tower/right", {right_->peer_endpoint()}},
                      {"lm/head", {head_->peer_endpoint()}}});
    whole_ = Serve(folder, "whole");
  }
  ~TransformerMesh() {
    for (const auto* node : {&product_, &left_, &right_, &head_, &inner_, &whole_}) (*node)->Stop();
  }

  /// Takes the part away that the left tower's portal leads to.
  void StopInner() { inner_->Stop(); }

  const std::string& split() const { return product_->grpc_address(); }
  const std::string& whole() const { return whole_->grpc_address(); }

 private:
  static std::unique_ptr<Node> Serve(const TempFolder& folder, const std::string& model,
                                     std::map<std::string, std::vector<std::string>> peers = {}) {
    Node::Options options = LocalNode(model, {{model, folder.File(model)}});
    options.peers = std::move(peers);
    std::unique_ptr<Node> node = StartNode(std::move(options));
    EXPECT_TRUE(node->Ready().ok()) << node->Ready();
    return node;
  }

  std::unique_ptr<Node> inner_, head_, right_, left_, product_, whole_;
};

/// Asks both for the same, several times; the first difference, or empty.
std::string Compare(const std::string& split, const std::string& whole, int64_t seed) {
  PredictClient split_client(split);
  PredictClient whole_client(whole);
  for (const auto& [rows, length] : std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {1, 9}, {3, 5}, {2, 16}}) {
    const std::vector<NamedTensor> inputs = Sentences(rows, length, seed);
    auto got = split_client.Predict("lm", inputs);
    auto want = whole_client.Predict("whole", inputs);
    if (!got.ok()) return got.status().ToString();
    if (!want.ok()) return want.status().ToString();
    if ((*want)["logits"].shape() != Shape{rows, length, 8192}) return "the unsplit model gives another shape";
    if (const std::string difference = Difference((*got)["logits"], (*want)["logits"]); !difference.empty()) {
      return absl::StrCat(rows, " sentences of ", length, " tokens: ", difference);
    }
  }
  return "";
}

TEST(TransformerMesh, TwoClientsAtOnceGetWhatTheUnsplitModelGives) {
  const TempFolder folder;
  TransformerBuilder(TransformerOptions()).Build().WriteTo(folder.File("whole/1/model.onnx"));
  {
    WeightStore store;
    const auto model = Model::Load(folder.File("whole/1/model.onnx"), store);
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_GE(model->weight_bytes(), 100'000'000u);
    const auto plan = ReadSplitPlan(folder.Write("plan.yaml", kPlan));
    ASSERT_TRUE(plan.ok()) << plan.status();
    const auto split = Split(*model, *plan);
    ASSERT_TRUE(split.ok()) << split.status();
    ASSERT_EQ(split->size(), 5u);
    const auto verified = VerifySplit(*model, *split, {});
    ASSERT_TRUE(verified.ok()) << verified.status();
    const absl::Status written = WriteSplit(*split, folder.path(), 1);
    ASSERT_TRUE(written.ok()) << written;
  }
  TransformerMesh mesh(folder);
  std::string first, second;
  std::thread other([&] { first = Compare(mesh.split(), mesh.whole(), 1); });
  second = Compare(mesh.split(), mesh.whole(), 2);
  other.join();
  EXPECT_EQ(first, "");
  EXPECT_EQ(second, "");

  // The answers did come through the portals, the nested one too.
  mesh.StopInner();
  const absl::Status status = PredictClient(mesh.split()).Predict("lm", Sentences(1, 3, 1)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("portal to 'tower/left'")) << status;
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("tower/left-middle")) << status;
}

}  // namespace
}  // namespace portico
