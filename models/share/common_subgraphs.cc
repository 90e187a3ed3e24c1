#include "models/share/common_subgraphs.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "models/share/subgraph_border.h"

namespace portico {
namespace {

/// Nodes looked at in all, each as often as that happens: some ten seconds. Real models take a thousandth of it.
constexpr uint64_t kMaxLooks = 1'000'000'000;
/// Sets of products looked at.
constexpr size_t kMaxProductSets = 256;

size_t At(int number) { return static_cast<size_t>(number); }

/// One product, in which subgraphs that were taken count as one node each: nodes of the graph are units of their own
/// number, subgraph s is unit `nodes.size() + s`.
struct Units {
  std::vector<int> of_node;
  std::vector<std::vector<int>> taken;
  /// All units, topologically, and where each stands there.
  std::vector<int> order;
  std::vector<int> position;
};

class Search {
 public:
  Search(absl::Span<const ProductGraph> products, const CommonNodes& common, const CommonSubgraphOptions& options)
      : products_(products),
        common_(common),
        options_(options),
        taken_(common.classes.size(), false),
        mark_(common.classes.size(), 0),
        place_(common.classes.size(), 0) {
    for (size_t p = 0; p < products.size(); ++p) {
      Units units;
      units.of_node.resize(products[p].nodes.size());
      std::iota(units.of_node.begin(), units.of_node.end(), 0);
      units_.push_back(std::move(units));
      phases_.emplace_back(products[p].nodes.size(), 0);
      uses_.emplace_back(products[p].constants.size(), 0);
      for (const ProductGraph::Node& node : products[p].nodes) {
        for (const int constant : node.constants) ++uses_[p][At(constant)];
      }
      for (const int constant : products[p].output_constants) ++uses_[p][At(constant)];
      SortUnits(p);
    }
  }

  CommonSubgraphs Run() {
    result_.incomplete = common_.incomplete;
    while (static_cast<int>(result_.subgraphs.size()) < options_.max_subgraphs) {
      std::optional<CommonSubgraph> best;
      for (const std::vector<int>& products : ProductSets()) {
        if (std::optional<CommonSubgraph> found = BestOf(products);
            found.has_value() && (!best.has_value() || found->saved_bytes > best->saved_bytes)) {
          best = std::move(found);
        }
      }
      if (!best.has_value()) break;
      if (best->saved_bytes < options_.min_bytes || best->saved_bytes == 0) {
        result_.below_min_bytes = std::max(result_.below_min_bytes, best->saved_bytes);
        break;
      }
      Take(*best);
      result_.subgraphs.push_back(*std::move(best));
    }
    return std::move(result_);
  }

 private:
  using Group = std::vector<int>;

  const ProductGraph& Product(int product) const { return products_[At(product)]; }
  int Member(int cls, int product) const { return common_.classes[At(cls)][At(product)]; }
  const ProductGraph::Node& NodeOf(int cls, int product) const {
    return Product(product).nodes[At(Member(cls, product))];
  }
  /// The class of a node where it is in the group of the moment, else −1.
  int Marked(int product, int node) const {
    const int cls = common_.class_of[At(product)][At(node)];
    return cls >= 0 && mark_[At(cls)] == stamp_ ? cls : -1;
  }

  /// The sets of products that have a node in common which is not taken, and what two of them have in common.
  std::vector<std::vector<int>> ProductSets() const {
    std::set<std::vector<int>> sets;
    for (size_t cls = 0; cls < common_.classes.size() && sets.size() < kMaxProductSets; ++cls) {
      if (taken_[cls]) continue;
      std::vector<int> products;
      for (size_t p = 0; p < products_.size(); ++p) {
        if (common_.classes[cls][p] >= 0) products.push_back(static_cast<int>(p));
      }
      if (products.size() >= 2) sets.insert(std::move(products));
    }
    const std::vector<std::vector<int>> first(sets.begin(), sets.end());
    for (const auto& a : first) {
      for (const auto& b : first) {
        if (sets.size() >= kMaxProductSets) break;
        std::vector<int> both;
        std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both));
        if (both.size() >= 2) sets.insert(std::move(both));
      }
    }
    return {sets.begin(), sets.end()};
  }

  /// The subgraph of exactly these products that saves most.
  std::optional<CommonSubgraph> BestOf(const std::vector<int>& products) {
    Group all;
    for (int cls = 0; cls < static_cast<int>(common_.classes.size()); ++cls) {
      if (taken_[At(cls)]) continue;
      if (std::all_of(products.begin(), products.end(), [&](int p) { return Member(cls, p) >= 0; })) all.push_back(cls);
    }
    std::sort(all.begin(), all.end(),
              [&](int a, int b) { return Member(a, products.front()) < Member(b, products.front()); });
    std::optional<CommonSubgraph> best;
    std::vector<Group> open = {std::move(all)};
    while (!open.empty()) {
      if (looks_ > kMaxLooks) {
        result_.incomplete = true;
        break;
      }
      const Group group = std::move(open.back());
      open.pop_back();
      if (group.empty()) continue;
      const uint64_t most = WeightBytes(group, products.front()) * (products.size() - 1);
      if (most == 0 || most < options_.min_bytes) {
        result_.below_min_bytes = std::max(result_.below_min_bytes, most);
        continue;
      }
      looks_ += group.size() * products.size();
      if (Divide(group, products, open)) continue;
      std::optional<CommonSubgraph> found = Choose(group, products);
      if (found.has_value() && (!best.has_value() || found->saved_bytes > best->saved_bytes)) best = std::move(found);
    }
    return best;
  }

  uint64_t WeightBytes(const Group& group, int product) const {
    absl::flat_hash_set<int> seen;
    uint64_t bytes = 0;
    for (const int cls : group) {
      for (const int constant : NodeOf(cls, product).constants) {
        if (seen.insert(constant).second) bytes += Product(product).constants[At(constant)].bytes;
      }
    }
    return bytes;
  }

  void Mark(const Group& group) {
    ++stamp_;
    for (size_t i = 0; i < group.size(); ++i) {
      mark_[At(group[i])] = stamp_;
      place_[At(group[i])] = static_cast<int>(i);
    }
  }

  /// What computes a tensor that `cls` reads there, where that is a node of the group in every product: its class and
  /// output; else nothing.
  std::optional<std::pair<int, int>> Inner(int cls, size_t slot, const std::vector<int>& products) const {
    std::optional<std::pair<int, int>> inner;
    for (const int p : products) {
      const int tensor = NodeOf(cls, p).slots[slot];
      if (tensor < 0) return std::nullopt;
      const ProductGraph::TensorInfo& info = Product(p).tensors[At(tensor)];
      const int source = info.producer < 0 ? -1 : Marked(p, info.producer);
      if (source < 0 || (inner.has_value() && *inner != std::pair(source, info.output))) return std::nullopt;
      inner = std::pair(source, info.output);
    }
    return inner;
  }

  /// The tensors read there, one of each product; empty for a constant.
  std::vector<int> Outer(int cls, size_t slot, const std::vector<int>& products) const {
    std::vector<int> tensors;
    for (const int p : products) {
      if (NodeOf(cls, p).slots[slot] < 0) return {};
      tensors.push_back(NodeOf(cls, p).slots[slot]);
    }
    return tensors;
  }

  /// Puts smaller groups on `open` where the group can't be one subgraph: where it falls apart, is not convex in one of
  /// the products, or where one product reads one tensor and another reads two.
  bool Divide(const Group& group, const std::vector<int>& products, std::vector<Group>& open) {
    Mark(group);
    return DivideConnected(group, products, open) || DivideConvex(group, products, open) ||
           DropContradictions(group, products, open);
  }

  bool DivideConnected(const Group& group, const std::vector<int>& products, std::vector<Group>& open) {
    std::vector<int> parent(group.size());
    std::iota(parent.begin(), parent.end(), 0);
    const auto root = [&](int i) {
      while (parent[At(i)] != i) i = parent[At(i)] = parent[At(parent[At(i)])];
      return i;
    };
    absl::flat_hash_map<std::vector<int>, int> readers;
    for (int i = 0; i < static_cast<int>(group.size()); ++i) {
      const int cls = group[At(i)];
      for (size_t slot = 0; slot < NodeOf(cls, products.front()).slots.size(); ++slot) {
        int other = i;
        if (const auto inner = Inner(cls, slot, products); inner.has_value()) {
          other = place_[At(inner->first)];
        } else if (std::vector<int> outer = Outer(cls, slot, products); !outer.empty()) {
          other = readers.emplace(std::move(outer), i).first->second;
        }
        parent[At(root(i))] = root(other);
      }
    }
    std::map<int, Group> pieces;
    for (int i = 0; i < static_cast<int>(group.size()); ++i) pieces[root(i)].push_back(group[At(i)]);
    if (pieces.size() == 1) return false;
    for (auto& [first, piece] : pieces) open.push_back(std::move(piece));
    return true;
  }

  bool DivideConvex(const Group& group, const std::vector<int>& products, std::vector<Group>& open) {
    for (const int p : products) {
      const Units& units = units_[At(p)];
      int first = static_cast<int>(units.order.size());
      int last = 0;
      for (const int cls : group) {
        const int position = units.position[At(units.of_node[At(Member(cls, p))])];
        first = std::min(first, position);
        last = std::max(last, position);
      }
      // No way from the group back into it is outside of what stands between its first and its last unit.
      const absl::Span<const int> between =
          absl::MakeConstSpan(units.order).subspan(At(first), At(last) + 1 - At(first));
      looks_ += between.size();
      SetPhases(p, between, products);
      std::map<int, Group> pieces;
      for (const int cls : group) pieces[phases_[At(p)][At(Member(cls, p))]].push_back(cls);
      for (const int& unit : between) {
        for (const int node : NodesOf(p, unit)) phases_[At(p)][At(node)] = 0;
      }
      if (pieces.size() == 1) continue;
      for (auto& [phase, piece] : pieces) open.push_back(std::move(piece));
      return true;
    }
    return false;
  }

  absl::Span<const int> NodesOf(int p, const int& unit) const {
    const size_t nodes = Product(p).nodes.size();
    return At(unit) < nodes ? absl::MakeConstSpan(&unit, 1)
                            : absl::MakeConstSpan(units_[At(p)].taken[At(unit) - nodes]);
  }

  /// For each node of these units of product `p`: how often the way to it leaves the group, at most. Nodes of the group
  /// that have the same number are convex.
  void SetPhases(int p, absl::Span<const int> between, const std::vector<int>& products) {
    const ProductGraph& product = Product(p);
    const std::vector<int>& of_node = units_[At(p)].of_node;
    std::vector<int>& phases = phases_[At(p)];
    for (const int& unit : between) {
      const absl::Span<const int> nodes = NodesOf(p, unit);
      int phase = 0;
      for (const int node : nodes) {
        const int own = Marked(p, node);
        for (size_t slot = 0; slot < product.nodes[At(node)].slots.size(); ++slot) {
          const int tensor = product.nodes[At(node)].slots[slot];
          const int source = tensor < 0 ? -1 : product.tensors[At(tensor)].producer;
          if (source < 0 || of_node[At(source)] == unit) continue;
          const bool leaves = Marked(p, source) >= 0 && (own < 0 || !Inner(own, slot, products).has_value());
          phase = std::max(phase, phases[At(source)] + (leaves ? 1 : 0));
        }
      }
      for (const int node : nodes) phases[At(node)] = phase;
    }
  }

  bool DropContradictions(const Group& group, const std::vector<int>& products, std::vector<Group>& open) {
    std::vector<absl::flat_hash_map<int, std::vector<int>>> together(products.size());
    Group kept;
    for (const int cls : group) {
      bool agrees = true;
      for (size_t slot = 0; slot < NodeOf(cls, products.front()).slots.size(); ++slot) {
        if (Inner(cls, slot, products).has_value()) continue;
        const std::vector<int> outer = Outer(cls, slot, products);
        for (size_t i = 0; i < outer.size(); ++i) {
          agrees = agrees && together[i].emplace(outer[i], outer).first->second == outer;
        }
      }
      if (agrees) kept.push_back(cls);
    }
    if (kept.size() == group.size()) return false;
    open.push_back(std::move(kept));
    return true;
  }

  /// The best part of a group that can be one subgraph.
  std::optional<CommonSubgraph> Choose(const Group& group, const std::vector<int>& products) {
    absl::flat_hash_map<std::vector<int>, int> input_numbers;
    std::vector<std::vector<int>> inputs;
    std::vector<SubgraphBorder::Node> nodes;
    absl::flat_hash_map<int, int> constant_numbers;
    std::vector<uint64_t> constant_bytes;
    for (const int cls : group) {
      SubgraphBorder::Node node;
      const ProductGraph::Node& first = NodeOf(cls, products.front());
      for (size_t slot = 0; slot < first.slots.size(); ++slot) {
        if (const auto inner = Inner(cls, slot, products); inner.has_value()) {
          node.reads.push_back({place_[At(inner->first)], inner->second});
        } else if (std::vector<int> outer = Outer(cls, slot, products); !outer.empty()) {
          const auto [at, is_new] = input_numbers.emplace(outer, static_cast<int>(inputs.size()));
          if (is_new) inputs.push_back(std::move(outer));
          node.reads.push_back({-1, at->second});
        }
      }
      for (size_t output = 0; output < first.outputs.size(); ++output)
        node.readers.push_back(Readers(cls, output, products));
      for (const int constant : first.constants) {
        const auto [at, is_new] = constant_numbers.emplace(constant, static_cast<int>(constant_bytes.size()));
        if (is_new) constant_bytes.push_back(Product(products.front()).constants[At(constant)].bytes);
        node.constants.push_back(at->second);
      }
      nodes.push_back(std::move(node));
    }
    SubgraphBorder border(nodes, static_cast<int>(inputs.size()), std::move(constant_bytes), options_.max_tensors);
    if (!border.SelectBest()) {
      result_.too_wide_bytes = std::max(result_.too_wide_bytes, WeightBytes(group, products.front()));
      return std::nullopt;
    }
    Group chosen;
    std::vector<std::vector<int>> used_inputs;
    absl::flat_hash_set<int> seen;
    std::vector<std::pair<int, int>> outputs;
    for (int i = 0; i < static_cast<int>(group.size()); ++i) {
      if (!border.IsSelected(i)) continue;
      chosen.push_back(group[At(i)]);
      for (const SubgraphBorder::Node::Read& read : nodes[At(i)].reads) {
        if (read.node < 0 && seen.insert(read.tensor).second) used_inputs.push_back(inputs[At(read.tensor)]);
      }
      for (int output = 0; output < static_cast<int>(nodes[At(i)].readers.size()); ++output) {
        if (border.IsBorder(i, output)) outputs.emplace_back(group[At(i)], output);
      }
    }
    return Describe(chosen, used_inputs, outputs, products);
  }

  /// How often an output is read: once for each place in the group, and once for each place outside of it in each
  /// product; −1 where a caller gets it.
  int Readers(int cls, size_t output, const std::vector<int>& products) const {
    int readers = 0;
    for (const int p : products) {
      const int tensor = NodeOf(cls, p).outputs[output];
      if (tensor < 0) continue;
      const ProductGraph::TensorInfo& info = Product(p).tensors[At(tensor)];
      if (info.is_output) return -1;
      for (const ProductGraph::Reader& reader : info.readers) {
        const int reading = Marked(p, reader.node);
        const bool inside = reading >= 0 && Inner(reading, At(reader.slot), products).has_value();
        if (!inside || p == products.front()) ++readers;
      }
    }
    return readers;
  }

  CommonSubgraph Describe(const Group& chosen, const std::vector<std::vector<int>>& inputs,
                          const std::vector<std::pair<int, int>>& outputs, const std::vector<int>& products) {
    CommonSubgraph subgraph;
    subgraph.products = products;
    subgraph.weight_bytes = WeightBytes(chosen, products.front());
    uint64_t leaving = 0;
    for (size_t i = 0; i < products.size(); ++i) {
      const int p = products[i];
      std::vector<int> nodes;
      absl::flat_hash_map<int, int> inside;
      for (const int cls : chosen) {
        nodes.push_back(Member(cls, p));
        for (const int constant : NodeOf(cls, p).constants) ++inside[constant];
      }
      for (const auto& [constant, uses] : inside) {
        if (uses == uses_[At(p)][At(constant)]) leaving += Product(p).constants[At(constant)].bytes;
      }
      std::vector<int> in;
      for (const std::vector<int>& input : inputs) in.push_back(input[i]);
      std::vector<int> out;
      for (const auto& [cls, output] : outputs) out.push_back(NodeOf(cls, p).outputs[At(output)]);
      subgraph.nodes.push_back(std::move(nodes));
      subgraph.inputs.push_back(std::move(in));
      subgraph.outputs.push_back(std::move(out));
    }
    subgraph.saved_bytes = leaving > subgraph.weight_bytes ? leaving - subgraph.weight_bytes : 0;
    return subgraph;
  }

  void Take(const CommonSubgraph& subgraph) {
    for (size_t i = 0; i < subgraph.products.size(); ++i) {
      const size_t p = At(subgraph.products[i]);
      Units& units = units_[p];
      for (const int node : subgraph.nodes[i]) {
        taken_[At(common_.class_of[p][At(node)])] = true;
        units.of_node[At(node)] = static_cast<int>(products_[p].nodes.size() + units.taken.size());
        for (const int constant : products_[p].nodes[At(node)].constants) --uses_[p][At(constant)];
      }
      units.taken.push_back(subgraph.nodes[i]);
      SortUnits(p);
    }
  }

  void SortUnits(size_t p) {
    const ProductGraph& product = products_[p];
    Units& units = units_[p];
    const size_t count = product.nodes.size() + units.taken.size();
    std::vector<int> waits(count, 0);
    std::vector<bool> exists(count, false);
    const auto for_each_edge = [&](int node, auto visit) {
      for (const int tensor : product.nodes[At(node)].outputs) {
        if (tensor < 0) continue;
        for (const ProductGraph::Reader& reader : product.tensors[At(tensor)].readers) {
          const int to = units.of_node[At(reader.node)];
          if (to != units.of_node[At(node)]) visit(to);
        }
      }
    };
    for (int node = 0; node < static_cast<int>(product.nodes.size()); ++node) {
      exists[At(units.of_node[At(node)])] = true;
      for_each_edge(node, [&](int to) { ++waits[At(to)]; });
    }
    units.order.clear();
    for (size_t unit = 0; unit < count; ++unit) {
      if (exists[unit] && waits[unit] == 0) units.order.push_back(static_cast<int>(unit));
    }
    for (size_t i = 0; i < units.order.size(); ++i) {
      const int unit = units.order[i];
      const auto leave = [&](int node) {
        for_each_edge(node, [&](int to) {
          if (--waits[At(to)] == 0) units.order.push_back(to);
        });
      };
      if (At(unit) < product.nodes.size()) {
        leave(unit);
      } else {
        for (const int node : units.taken[At(unit) - product.nodes.size()]) leave(node);
      }
    }
    units.position.assign(count, 0);
    for (size_t i = 0; i < units.order.size(); ++i) units.position[At(units.order[i])] = static_cast<int>(i);
  }

  const absl::Span<const ProductGraph> products_;
  const CommonNodes& common_;
  const CommonSubgraphOptions options_;
  CommonSubgraphs result_;
  uint64_t looks_ = 0;
  std::vector<bool> taken_;
  /// Classes of the group of the moment carry its stamp, and their place in it.
  std::vector<int> mark_;
  std::vector<int> place_;
  int stamp_ = 0;
  std::vector<Units> units_;
  /// [product][node]: all zero but while a group is divided.
  std::vector<std::vector<int>> phases_;
  /// [product][constant]: nodes that read it and are not taken, and outputs of the graph that are made of it.
  std::vector<std::vector<int>> uses_;
};

}  // namespace

CommonSubgraphs FindCommonSubgraphs(absl::Span<const ProductGraph> products, const CommonNodes& common,
                                    const CommonSubgraphOptions& options) {
  return Search(products, common, options).Run();
}

}  // namespace portico
