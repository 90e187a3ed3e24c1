#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/tensor.h"
#include "tests/testing/model_builder.h"

namespace portico {

/// Sizes of a generated transformer.
struct TransformerOptions {
  int64_t vocabulary = 8192;
  int64_t width = 512;
  int64_t heads = 8;
  /// Layers of each of the two towers.
  int64_t tower_layers = 4;
  uint64_t seed = 1;
};

/// Builds a transformer with deterministic weights, for tests of splitting and serving:
///
///   tokens int64[N,S], language string[N]
///     → embedded      token embedding + language embedding (LabelEncoder turns the tag into a row)
///     → left.<i>, right.<i>   two towers over the same input, one tensor after each layer i
///     → logits float32[N,S,vocabulary]   normalised sum of the towers times the transposed embedding (tied weights)
///
/// With the default sizes the weights take 117 MB.
class TransformerBuilder {
 public:
  static constexpr const char* kLanguages[] = {"de", "en", "fr", "it"};

  explicit TransformerBuilder(TransformerOptions options) : options_(options), state_(options.seed) {}

  ModelBuilder Build() {
    const int64_t width = options_.width;
    model_.Opset("", 17).Opset("ai.onnx.ml", 3);
    model_.Input("tokens", DType::kInt64, {"N", "S"}).Input("language", DType::kString, {"N"});
    model_.Output("logits", DType::kFloat, {"N", "S", options_.vocabulary});
    Weight("embedding", {options_.vocabulary, width}, 1);
    Weight("language_embedding", {static_cast<int64_t>(std::size(kLanguages)) + 1, width}, 1);
    model_.Initializer("one", Tensor::Of<int64_t>({1}, {1}));
    model_.Initializer("to_heads", Tensor::Of<int64_t>({4}, {0, 0, options_.heads, width / options_.heads}));
    model_.Initializer("from_heads", Tensor::Of<int64_t>({3}, {0, 0, width}));
    model_.Initializer("score_scale", {}, {1.0f / std::sqrt(static_cast<float>(width / options_.heads))});

    model_.Node("Gather", {"embedding", "tokens"}, {"token_rows"});
    model_.Node("LabelEncoder", {"language"}, {"language_row"},
                {Strings("keys_strings", {std::begin(kLanguages), std::end(kLanguages)}),
                 Ints("values_int64s", {1, 2, 3, 4}), Int("default_int64", 0)},
                "ai.onnx.ml");
    model_.Node("Gather", {"language_embedding", "language_row"}, {"language_flat"});
    model_.Node("Unsqueeze", {"language_flat", "one"}, {"language_rows"});
    model_.Node("Add", {"token_rows", "language_rows"}, {"embedded"});
    for (const std::string tower : {"left", "right"}) {
      std::string input = "embedded";
      for (int64_t i = 0; i < options_.tower_layers; ++i) input = Layer(absl::StrCat(tower, ".", i), input);
    }
    const std::string last = absl::StrCat(options_.tower_layers - 1);
    model_.Node("Add", {"left." + last, "right." + last}, {"merged"});
    model_.Node("Transpose", {"embedding"}, {"projection"}, {Ints("perm", {1, 0})});
    model_.Node("MatMul", {Normalized("final", "merged"), "projection"}, {"logits"});
    return std::move(model_);
  }

 private:
  /// Uniform in ±scale/√fan-in, xorshift64*.
  void Weight(const std::string& name, Shape shape, float scale) {
    Tensor tensor = Tensor::Allocate(DType::kFloat, shape);
    const float limit = scale / std::sqrt(static_cast<float>(shape[0]));
    char* out = tensor.mutable_bytes();
    for (uint64_t i = 0; i < tensor.num_elements(); ++i) {
      state_ ^= state_ >> 12;
      state_ ^= state_ << 25;
      state_ ^= state_ >> 27;
      const auto bits = static_cast<uint32_t>((state_ * 0x2545F4914F6CDD1Dull) >> 40);
      const float value = limit * (static_cast<float>(bits) / (1 << 23) - 1);
      std::memcpy(out + i * sizeof(float), &value, sizeof(float));
    }
    model_.Initializer(name, tensor);
  }

  std::string Normalized(const std::string& name, const std::string& input) {
    const std::vector<float> ones(static_cast<size_t>(options_.width), 1);
    model_.Initializer(name + ".gain", Tensor::Of<float>({options_.width}, absl::MakeConstSpan(ones)));
    model_.Node("LayerNormalization", {input, name + ".gain"}, {name + ".normal"}, {Int("axis", -1)});
    return name + ".normal";
  }

  std::string Product(const std::string& name, const std::string& input, int64_t from, int64_t to) {
    Weight(name + ".weight", {from, to}, 1);
    model_.Node("MatMul", {input, name + ".weight"}, {name});
    return name;
  }

  /// [N,S,width] → [N,heads,S,·], or [N,heads,·,S] for keys.
  std::string Heads(const std::string& name, const std::string& input, const std::vector<int64_t>& order) {
    Product(name, input, options_.width, options_.width);
    model_.Node("Reshape", {name, "to_heads"}, {name + ".split"});
    model_.Node("Transpose", {name + ".split"}, {name + ".heads"}, {Ints("perm", order)});
    return name + ".heads";
  }

  std::string Attention(const std::string& name, const std::string& input) {
    const std::string normal = Normalized(name, input);
    const std::string query = Heads(name + ".query", normal, {0, 2, 1, 3});
    const std::string key = Heads(name + ".key", normal, {0, 2, 3, 1});
    const std::string value = Heads(name + ".value", normal, {0, 2, 1, 3});
    model_.Node("MatMul", {query, key}, {name + ".raw"});
    model_.Node("Mul", {name + ".raw", "score_scale"}, {name + ".scaled"});
    model_.Node("Softmax", {name + ".scaled"}, {name + ".scores"}, {Int("axis", -1)});
    model_.Node("MatMul", {name + ".scores", value}, {name + ".mixed"});
    model_.Node("Transpose", {name + ".mixed"}, {name + ".back"}, {Ints("perm", {0, 2, 1, 3})});
    model_.Node("Reshape", {name + ".back", "from_heads"}, {name + ".joined"});
    return Product(name + ".out", name + ".joined", options_.width, options_.width);
  }

  /// Pre-norm layer; its output is called `name`.
  std::string Layer(const std::string& name, const std::string& input) {
    const std::string attended = name + ".attended";
    model_.Node("Add", {input, Attention(name + ".attention", input)}, {attended});
    const int64_t inner = 4 * options_.width;
    Product(name + ".up", Normalized(name + ".ffn", attended), options_.width, inner);
    model_.Node("Relu", {name + ".up"}, {name + ".relu"});
    Product(name + ".down", name + ".relu", inner, options_.width);
    model_.Node("Add", {attended, name + ".down"}, {name});
    return name;
  }

  const TransformerOptions options_;
  uint64_t state_;
  ModelBuilder model_;
};

}  // namespace portico
