#include "models/share/common_nodes.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/container/flat_hash_map.h"

namespace portico {
namespace {

/// Steps of the search over two products, for each of their nodes; a pair of real models takes about three.
constexpr uint64_t kStepsPerNode = 64;
/// Nodes of equal structure that are tried for one.
constexpr size_t kMaxCandidates = 4;

using Node = ProductGraph::Node;

class Search {
 public:
  explicit Search(absl::Span<const ProductGraph> products) : products_(products) {
    for (const ProductGraph& product : products) found_.class_of.emplace_back(product.nodes.size(), -1);
  }

  CommonNodes Run() {
    for (size_t a = 0; a < products_.size(); ++a) {
      for (size_t b = a + 1; b < products_.size(); ++b) {
        a_ = a;
        b_ = b;
        steps_left_ = 1000 + kStepsPerNode * (A().nodes.size() + B().nodes.size());
        PairByStructure();
        PairByWeights();
      }
    }
    return std::move(found_);
  }

 private:
  struct Pair {
    int a = -1;
    int b = -1;
  };
  /// What a pairing did, to be taken back.
  struct Change {
    int cls = -1;
    size_t product = 0;
    int node = -1;
  };

  const ProductGraph& A() const { return products_[a_]; }
  const ProductGraph& B() const { return products_[b_]; }
  static size_t At(int number) { return static_cast<size_t>(number); }
  const Node& NodeA(int node) const { return A().nodes[At(node)]; }
  const Node& NodeB(int node) const { return B().nodes[At(node)]; }
  int& ClassA(int node) { return found_.class_of[a_][At(node)]; }
  int& ClassB(int node) { return found_.class_of[b_][At(node)]; }

  bool Step() {
    if (steps_left_ == 0) {
      found_.incomplete = true;
      return false;
    }
    --steps_left_;
    return true;
  }

  /// Whether `node` of the first product has no partner in the second.
  bool FreeA(int node) {
    const int cls = ClassA(node);
    return NodeA(node).shareable && (cls < 0 || found_.classes[At(cls)][b_] < 0);
  }
  bool FreeB(int node) {
    const int cls = ClassB(node);
    return NodeB(node).shareable && (cls < 0 || found_.classes[At(cls)][a_] < 0);
  }
  bool Paired(Pair pair) { return ClassA(pair.a) >= 0 && ClassA(pair.a) == ClassB(pair.b); }

  void Set(int cls, size_t product, int node) {
    found_.classes[At(cls)][product] = node;
    found_.class_of[product][At(node)] = cls;
    changes_.push_back({cls, product, node});
  }

  /// Puts both into one class; false where another partner stands against it.
  bool Join(Pair pair) {
    if (!FreeA(pair.a) || !FreeB(pair.b)) return false;
    const int of_a = ClassA(pair.a);
    const int of_b = ClassB(pair.b);
    if (of_a >= 0 && of_b >= 0) return false;  // each has a partner in a third product, and not the same
    if (of_a >= 0) {
      Set(of_a, b_, pair.b);
    } else if (of_b >= 0) {
      Set(of_b, a_, pair.a);
    } else {
      const int cls = static_cast<int>(found_.classes.size());
      found_.classes.emplace_back(products_.size(), -1);
      Set(cls, a_, pair.a);
      Set(cls, b_, pair.b);
    }
    return true;
  }

  void TakeBack() {
    for (; !changes_.empty(); changes_.pop_back()) {
      const Change& change = changes_.back();
      found_.classes[At(change.cls)][change.product] = -1;
      found_.class_of[change.product][At(change.node)] = -1;
    }
    // Classes made last have lost all of their nodes.
    while (!found_.classes.empty() && IsEmpty(found_.classes.back())) found_.classes.pop_back();
  }
  static bool IsEmpty(const std::vector<int>& members) {
    for (const int node : members) {
      if (node >= 0) return false;
    }
    return true;
  }

  void PairByStructure() {
    /// Those before `begin` are taken, and stay so.
    struct Candidates {
      std::vector<int> nodes;
      size_t begin = 0;
    };
    absl::flat_hash_map<Digest, Candidates> by_structure;
    for (int node = static_cast<int>(A().nodes.size()) - 1; node >= 0; --node) {
      if (FreeA(node)) by_structure[NodeA(node).structure].nodes.push_back(node);
    }
    for (int b = static_cast<int>(B().nodes.size()) - 1; b >= 0; --b) {
      if (!FreeB(b)) continue;
      const auto found = by_structure.find(NodeB(b).structure);
      if (found == by_structure.end()) continue;
      auto& [nodes, begin] = found->second;
      std::vector<int> free;
      size_t end = begin;
      for (; end < nodes.size() && free.size() < kMaxCandidates; ++end) {
        if (FreeA(nodes[end])) free.push_back(nodes[end]);
      }
      // They move up, so that no taken one is looked at twice.
      begin = end - free.size();
      std::copy(free.begin(), free.end(), nodes.begin() + static_cast<std::ptrdiff_t>(begin));
      for (const int a : free) {
        if (PairAllBelow({a, b})) break;
        if (steps_left_ == 0) return;
      }
    }
  }

  /// Pairs the two and what they are computed from, or, where that is not the same after all, nothing.
  bool PairAllBelow(Pair root) {
    changes_.clear();
    absl::flat_hash_map<int, int> inputs_of_a;
    absl::flat_hash_map<int, int> inputs_of_b;
    std::vector<Pair> open = {root};
    while (!open.empty()) {
      const Pair pair = open.back();
      open.pop_back();
      if (Paired(pair)) continue;
      const Node& a = NodeA(pair.a);
      const Node& b = NodeB(pair.b);
      bool same = Step() && DoTheSame(pair) && Join(pair);
      for (size_t slot = 0; same && slot < a.slots.size(); ++slot) {
        same = PairTensors(a.slots[slot], b.slots[slot], inputs_of_a, inputs_of_b, open);
      }
      if (same) continue;
      TakeBack();
      return false;
    }
    changes_.clear();
    return true;
  }

  bool PairTensors(int a, int b, absl::flat_hash_map<int, int>& inputs_of_a, absl::flat_hash_map<int, int>& inputs_of_b,
                   std::vector<Pair>& open) {
    if (a < 0) return true;  // a constant in both, by what their nodes do
    const ProductGraph::TensorInfo& of_a = A().tensors[At(a)];
    const ProductGraph::TensorInfo& of_b = B().tensors[At(b)];
    const bool begins_a = of_a.producer < 0 || !NodeA(of_a.producer).shareable;
    const bool begins_b = of_b.producer < 0 || !NodeB(of_b.producer).shareable;
    if (begins_a != begins_b) return false;
    if (begins_a) return inputs_of_a.emplace(a, b).first->second == b && inputs_of_b.emplace(b, a).first->second == a;
    if (of_a.output != of_b.output) return false;
    open.push_back({of_a.producer, of_b.producer});
    return true;
  }

  void PairByWeights() {
    struct Alike {
      Pair last;
      int in_a = 0;
      int in_b = 0;
    };
    absl::flat_hash_map<Digest, Alike> alike;
    for (int a = 0; a < static_cast<int>(A().nodes.size()); ++a) {
      if (NodeA(a).constants.empty() || !FreeA(a)) continue;
      Alike& entry = alike[NodeA(a).alone];
      entry.last.a = a;
      ++entry.in_a;
    }
    for (int b = 0; b < static_cast<int>(B().nodes.size()); ++b) {
      if (NodeB(b).constants.empty() || !FreeB(b)) continue;
      const auto entry = alike.find(NodeB(b).alone);
      if (entry == alike.end()) continue;
      entry->second.last.b = b;
      ++entry->second.in_b;
    }
    std::vector<std::pair<uint64_t, Pair>> seeds;
    for (const auto& [digest, entry] : alike) {
      if (entry.in_a != 1 || entry.in_b != 1 || !DoTheSame(entry.last)) continue;
      seeds.emplace_back(BytesOf(entry.last.b), entry.last);
    }
    // What grows from large weights goes first: small ones, an axis, say, are alike by chance.
    std::sort(seeds.begin(), seeds.end(), [](const auto& x, const auto& y) {
      return x.first != y.first ? x.first > y.first : x.second.b < y.second.b;
    });
    std::vector<Pair> open;
    for (const auto& [bytes, seed] : seeds) {
      if (Join(seed)) open.push_back(seed);
      while (!open.empty() && Step()) {
        const Pair pair = open.back();
        open.pop_back();
        PairBefore(pair, open);
        PairBehind(pair, open);
      }
    }
    changes_.clear();
  }

  uint64_t BytesOf(int b) const {
    uint64_t bytes = 0;
    for (const int constant : NodeB(b).constants) bytes += B().constants[At(constant)].bytes;
    return bytes;
  }

  /// Whether both do the same, constants and what is left out at the same places.
  bool DoTheSame(Pair pair) const {
    const Node& a = NodeA(pair.a);
    const Node& b = NodeB(pair.b);
    const auto same_places = [](const std::vector<int>& x, const std::vector<int>& y) {
      return std::equal(x.begin(), x.end(), y.begin(), y.end(), [](int i, int j) { return (i < 0) == (j < 0); });
    };
    return a.alone == b.alone && same_places(a.slots, b.slots) && same_places(a.outputs, b.outputs);
  }

  void PairBefore(Pair pair, std::vector<Pair>& open) {
    const Node& a = NodeA(pair.a);
    const Node& b = NodeB(pair.b);
    for (size_t slot = 0; slot < a.slots.size() && slot < b.slots.size(); ++slot) {
      if (a.slots[slot] < 0 || b.slots[slot] < 0) continue;
      const ProductGraph::TensorInfo& of_a = A().tensors[At(a.slots[slot])];
      const ProductGraph::TensorInfo& of_b = B().tensors[At(b.slots[slot])];
      const Pair before = {of_a.producer, of_b.producer};
      if (before.a < 0 || before.b < 0 || of_a.output != of_b.output || Paired(before)) continue;
      if (DoTheSame(before) && Join(before)) open.push_back(before);
    }
  }

  /// Readers of an output that no other reader of it is like.
  void PairBehind(Pair pair, std::vector<Pair>& open) {
    struct Alike {
      Pair last;
      int in_a = 0;
      int in_b = 0;
    };
    const Node& a = NodeA(pair.a);
    const Node& b = NodeB(pair.b);
    for (size_t output = 0; output < a.outputs.size() && output < b.outputs.size(); ++output) {
      if (a.outputs[output] < 0 || b.outputs[output] < 0) continue;
      absl::flat_hash_map<std::pair<Digest, int>, Alike> alike;
      for (const ProductGraph::Reader& reader : A().tensors[At(a.outputs[output])].readers) {
        if (!Step()) return;
        if (!FreeA(reader.node)) continue;
        Alike& entry = alike[{NodeA(reader.node).alone, reader.slot}];
        entry.last.a = reader.node;
        ++entry.in_a;
      }
      for (const ProductGraph::Reader& reader : B().tensors[At(b.outputs[output])].readers) {
        if (!Step()) return;
        if (!FreeB(reader.node)) continue;
        const auto entry = alike.find({NodeB(reader.node).alone, reader.slot});
        if (entry == alike.end()) continue;
        entry->second.last.b = reader.node;
        ++entry->second.in_b;
      }
      for (const ProductGraph::Reader& reader : A().tensors[At(a.outputs[output])].readers) {
        const auto entry = alike.find({NodeA(reader.node).alone, reader.slot});
        if (entry == alike.end() || entry->second.in_a != 1 || entry->second.in_b != 1) continue;
        const Pair behind = entry->second.last;
        if (FreeA(behind.a) && FreeB(behind.b) && DoTheSame(behind) && Join(behind)) open.push_back(behind);
      }
    }
  }

  const absl::Span<const ProductGraph> products_;
  CommonNodes found_;
  /// The two products of the moment.
  size_t a_ = 0;
  size_t b_ = 0;
  uint64_t steps_left_ = 0;
  std::vector<Change> changes_;
};

}  // namespace

CommonNodes FindCommonNodes(absl::Span<const ProductGraph> products) { return Search(products).Run(); }

}  // namespace portico
