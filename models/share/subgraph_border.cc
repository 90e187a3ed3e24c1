#include "models/share/subgraph_border.h"

#include <algorithm>
#include <utility>

namespace portico {
namespace {

/// Nodes that are added together to see whether the border becomes narrower behind them.
constexpr size_t kMaxTogether = 64;
constexpr int kMaxRounds = 4;

}  // namespace

SubgraphBorder::SubgraphBorder(std::vector<Node> nodes, int num_inputs, std::vector<uint64_t> constant_bytes,
                               int max_tensors)
    : nodes_(std::move(nodes)),
      constant_bytes_(std::move(constant_bytes)),
      max_tensors_(max_tensors),
      selected_(nodes_.size(), false),
      input_uses_(At(num_inputs), 0),
      constant_uses_(constant_bytes_.size(), 0) {
  for (const Node& node : nodes_) inside_.emplace_back(node.readers.size(), 0);
  for (const uint64_t bytes : constant_bytes_) total_bytes_ += bytes;
}

bool SubgraphBorder::IsBorder(int node, int output) const {
  const int readers = nodes_[At(node)].readers[At(output)];
  return readers < 0 || readers > inside_[At(node)][At(output)];
}

void SubgraphBorder::Add(int node) {
  selected_[At(node)] = true;
  for (const Node::Read& read : nodes_[At(node)].reads) {
    if (read.node < 0) {
      if (input_uses_[At(read.tensor)]++ == 0) ++inputs_;
      continue;
    }
    const bool before = IsBorder(read.node, read.tensor);
    ++inside_[At(read.node)][At(read.tensor)];
    if (before && !IsBorder(read.node, read.tensor)) --width_;
  }
  for (size_t output = 0; output < nodes_[At(node)].readers.size(); ++output) {
    if (IsBorder(node, static_cast<int>(output))) ++width_;
  }
  for (const int constant : nodes_[At(node)].constants) {
    if (constant_uses_[At(constant)]++ == 0) bytes_ += constant_bytes_[At(constant)];
  }
}

void SubgraphBorder::Remove(int node) {
  selected_[At(node)] = false;
  for (const int constant : nodes_[At(node)].constants) {
    if (--constant_uses_[At(constant)] == 0) bytes_ -= constant_bytes_[At(constant)];
  }
  for (size_t output = 0; output < nodes_[At(node)].readers.size(); ++output) {
    if (IsBorder(node, static_cast<int>(output))) --width_;
  }
  for (const Node::Read& read : nodes_[At(node)].reads) {
    if (read.node < 0) {
      if (--input_uses_[At(read.tensor)] == 0) --inputs_;
      continue;
    }
    const bool before = IsBorder(read.node, read.tensor);
    --inside_[At(read.node)][At(read.tensor)];
    if (!before && IsBorder(read.node, read.tensor)) ++width_;
  }
}

bool SubgraphBorder::IsHeavy(int node) const {
  uint64_t bytes = 0;
  for (const int constant : nodes_[At(node)].constants) bytes += constant_bytes_[At(constant)];
  return bytes > total_bytes_ / 1000;
}

/// A topological order in which nodes with weights come as early as they can, each behind what it needs: what is alike
/// by chance, shapes and masks, comes last.
std::vector<int> SubgraphBorder::Order() const {
  std::vector<int> order;
  std::vector<bool> done(nodes_.size(), false);
  const auto add = [&](int root) {
    std::vector<int> open = {root};
    while (!open.empty()) {
      const int node = open.back();
      const size_t before = open.size();
      if (!done[At(node)]) {
        for (const Node::Read& read : nodes_[At(node)].reads) {
          if (read.node >= 0 && !done[At(read.node)]) open.push_back(read.node);
        }
      }
      if (open.size() > before) continue;
      open.pop_back();
      if (done[At(node)]) continue;
      done[At(node)] = true;
      order.push_back(node);
    }
  };
  for (int node = 0; node < static_cast<int>(nodes_.size()); ++node) {
    if (IsHeavy(node)) add(node);
  }
  for (int node = 0; node < static_cast<int>(nodes_.size()); ++node) add(node);
  return order;
}

bool SubgraphBorder::SelectBest() {
  const std::vector<int> order = Order();
  struct Place {
    uint64_t bytes;
    int width;
    bool fits;
  };
  std::vector<Place> places;
  uint64_t most = 0;
  for (const int node : order) {
    Add(node);
    places.push_back({bytes_, width_, Fits()});
    if (Fits()) most = std::max(most, bytes_);
  }
  const Place* best = nullptr;
  for (const Place& place : places) {
    if (!place.fits || place.bytes < most - most / 100) continue;
    if (best == nullptr || place.width < best->width || (place.width == best->width && place.bytes >= best->bytes)) {
      best = &place;
    }
  }
  const size_t keep = best == nullptr ? 0 : static_cast<size_t>(best - places.data()) + 1;
  for (size_t i = order.size(); i > keep; --i) Remove(order[i - 1]);
  if (best == nullptr) return false;
  Widen();
  Trim();
  return true;
}

void SubgraphBorder::AddWithNeeds(int node, std::vector<int>& added) {
  std::vector<int> needed = {node};
  for (size_t i = 0; i < needed.size(); ++i) {
    for (const Node::Read& read : nodes_[At(needed[i])].reads) {
      if (read.node < 0 || selected_[At(read.node)]) continue;
      if (std::find(needed.begin(), needed.end(), read.node) != needed.end()) continue;
      if (needed.size() == kMaxTogether) return;
      needed.push_back(read.node);
    }
  }
  std::sort(needed.begin(), needed.end());
  for (const int each : needed) Add(each);
  added = std::move(needed);
}

void SubgraphBorder::Widen() {
  bool changed = true;
  for (int round = 0; changed && round < kMaxRounds; ++round) {
    changed = false;
    for (int node = 0; node < static_cast<int>(nodes_.size()); ++node) {
      if (selected_[At(node)]) continue;
      const int width = width_;
      std::vector<int> added;
      AddWithNeeds(node, added);
      if (added.empty()) continue;
      if (width_ <= width && Fits()) {
        changed = true;
        continue;
      }
      for (auto each = added.rbegin(); each != added.rend(); ++each) Remove(*each);
    }
  }
}

void SubgraphBorder::Trim() {
  for (int node = static_cast<int>(nodes_.size()) - 1; node >= 0; --node) {
    if (!selected_[At(node)] || IsHeavy(node)) continue;
    const std::vector<int>& inside = inside_[At(node)];
    if (std::any_of(inside.begin(), inside.end(), [](int readers) { return readers > 0; })) continue;
    const int width = width_;
    Remove(node);
    if (width_ >= width || width_ == 0) Add(node);
  }
}

}  // namespace portico
