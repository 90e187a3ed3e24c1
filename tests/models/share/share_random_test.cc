// Random graphs and what random changes make of them: whatever is proposed can be cut, comes to one digest, and answers
// the same.

#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/models/share/share_fixture.h"

namespace portico {
namespace {

/// A graph over rows of four numbers, as a recipe that can be changed before it is built.
struct Recipe {
  struct Node {
    int op = 0;
    int weight = 0;
    /// Nodes before it, or −1 and −2 for the inputs.
    int left = -1;
    int right = -1;
  };
  std::vector<Node> nodes;
};

class Chance {
 public:
  explicit Chance(int seed) : engine_(static_cast<unsigned>(seed)) {}
  int Below(int bound) { return static_cast<int>(engine_() % static_cast<unsigned>(bound)); }
  /// Of the nodes before `node`, the last ones more often; or an input.
  int Source(int node) {
    if (node == 0 || Below(12) == 0) return -1 - Below(2);
    return Below(3) == 0 ? Below(node) : node - 1 - Below(std::min(node, 3));
  }

 private:
  std::mt19937 engine_;
};

Recipe Random(Chance& chance, int size) {
  Recipe recipe;
  for (int i = 0; i < size; ++i) {
    recipe.nodes.push_back({chance.Below(5), chance.Below(12), chance.Source(i), chance.Source(i)});
  }
  return recipe;
}

Recipe Changed(Recipe recipe, Chance& chance, int changes) {
  for (int i = 0; i < changes; ++i) {
    const int at = chance.Below(static_cast<int>(recipe.nodes.size()));
    Recipe::Node& node = recipe.nodes[static_cast<size_t>(at)];
    switch (chance.Below(4)) {
      case 0:
        node.op = chance.Below(5);
        break;
      case 1:
        node.weight = 100 + chance.Below(1000);
        break;
      case 2:
        node.left = chance.Source(at);
        break;
      default:
        node.right = chance.Source(at);
    }
  }
  return recipe;
}

ModelBuilder Build(const Recipe& recipe, const std::string& prefix, Chance& chance) {
  ModelBuilder model;
  const bool swapped = chance.Below(2) == 1;
  const std::string inputs[] = {prefix + "one", prefix + "two"};
  for (const int input : {swapped ? 1 : 0, swapped ? 0 : 1}) model.Input(inputs[input], DType::kFloat, {"N", 4});
  const auto name = [&](int node) { return node < 0 ? inputs[-1 - node] : absl::StrCat(prefix, "n", node); };
  std::vector<onnx::NodeProto> nodes;
  std::map<int, bool> weights;
  std::vector<bool> read(recipe.nodes.size(), false);
  for (int i = 0; i < static_cast<int>(recipe.nodes.size()); ++i) {
    const Recipe::Node& node = recipe.nodes[static_cast<size_t>(i)];
    const std::string weight = absl::StrCat(prefix, "w", node.weight);
    static constexpr const char* kOps[] = {"MatMul", "Add", "Tanh", "MatMul", "Sub"};
    std::vector<std::string> reads = {name(node.left)};
    if (node.op == 0 || node.op == 3) {
      reads.push_back(weight);
      if (!std::exchange(weights[node.weight], true)) {
        model.Initializer(weight, Numbers({4, 4}, 0.001f * static_cast<float>(node.weight)));
      }
    } else if (node.op != 2) {
      reads.push_back(name(node.right));
      if (node.right >= 0) read[static_cast<size_t>(node.right)] = true;
    }
    if (node.left >= 0) read[static_cast<size_t>(node.left)] = true;
    nodes.push_back(NewNode(kOps[node.op], reads, {name(i)}));
  }
  // What nobody reads is an output, and now and then what somebody does.
  for (int i = 0; i < static_cast<int>(nodes.size()); ++i) {
    if (!read[static_cast<size_t>(i)] || chance.Below(20) == 0) model.Output(name(i), DType::kFloat, {"N", 4});
  }
  for (size_t i = nodes.size(); i > 1; --i)
    std::swap(nodes[i - 1], nodes[static_cast<size_t>(chance.Below(static_cast<int>(i)))]);
  for (const onnx::NodeProto& node : nodes) *model.graph().add_node() = node;
  return model;
}

TEST(ShareRandomTest, WhateverIsProposedHolds) {
  int modules = 0;
  // Others with each --gtest_random_seed of --gtest_shuffle.
  const int first = 1000 * testing::UnitTest::GetInstance()->random_seed();
  for (int seed = first; seed < first + 150; ++seed) {
    Chance chance(seed);
    const Recipe base = Random(chance, 5 + chance.Below(40));
    Sharing sharing;
    sharing.options.min_bytes = 1;
    sharing.options.max_tensors = 1 + chance.Below(8);
    const int products = 2 + chance.Below(2);
    for (int p = 0; p < products; ++p) {
      const Recipe own = Changed(base, chance, chance.Below(6));
      sharing.Add(absl::StrCat("p", p), Build(own, absl::StrCat("p", p, "/"), chance));
    }
    const auto proposal = sharing.Share();
    ASSERT_TRUE(proposal.ok()) << "seed " << seed << ": " << proposal.status();
    modules += static_cast<int>(proposal->modules.size());
    for (const SharedModule& module : proposal->modules) {
      EXPECT_LE(module.uses[0].part.inputs.size(), static_cast<size_t>(sharing.options.max_tensors));
      EXPECT_LE(module.uses[0].part.outputs.size(), static_cast<size_t>(sharing.options.max_tensors));
    }
    // The bytes that are promised are the bytes that are won.
    uint64_t before = 0, after = 0, saved = 0;
    for (const Product& product : sharing.products) before += product.graph().weight_bytes();
    std::vector<bool> rewritten(sharing.products.size(), false);
    for (const auto& product : sharing.shared.products) {
      after += product.model.model.weight_bytes();
      rewritten[static_cast<size_t>(product.product)] = true;
    }
    for (size_t p = 0; p < rewritten.size(); ++p) {
      if (!rewritten[p]) after += sharing.products[p].graph().weight_bytes();
    }
    for (size_t m = 0; m < proposal->modules.size(); ++m) {
      EXPECT_EQ(proposal->modules[m].weight_bytes, sharing.shared.modules[m].model.weight_bytes()) << "seed " << seed;
      after += proposal->modules[m].weight_bytes;
      saved += proposal->modules[m].saved_bytes;
    }
    EXPECT_EQ(before - after, saved) << "seed " << seed;
  }
  EXPECT_GT(modules, 100);
}

}  // namespace
}  // namespace portico
