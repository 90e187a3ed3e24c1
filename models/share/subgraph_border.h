#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace portico {

/// A group of nodes, numbered in a topological order, of which some are selected, and what crosses the border of the
/// selection. Selections are closed: with a node goes all that it needs of the group. For one thread.
class SubgraphBorder {
 public:
  struct Node {
    struct Read {
      /// Node of the group and its output; or −1 and an input of the group.
      int node = -1;
      int tensor = -1;
    };
    std::vector<Read> reads;
    /// For each output how many read it, in the group or out of it; −1: the caller does, too.
    std::vector<int> readers;
    /// Bytes of constants it reads, as numbers for SubgraphBorder::constant_bytes.
    std::vector<int> constants;
  };

  /// `max_tensors`: of inputs, and of outputs.
  SubgraphBorder(std::vector<Node> nodes, int num_inputs, std::vector<uint64_t> constant_bytes, int max_tensors);

  /// Selects the most of the group's weights that can be had with at most max_tensors going in and coming out, gives up
  /// a hundredth of them where the border is narrower then, and adds what makes it no wider. False: there is no such
  /// selection; nothing is selected.
  bool SelectBest();

  bool IsSelected(int node) const { return selected_[static_cast<size_t>(node)]; }
  /// Whether an output of a selected node is read outside of the selection.
  bool IsBorder(int node, int output) const;

 private:
  size_t At(int number) const { return static_cast<size_t>(number); }
  void Add(int node);
  /// REQUIRES: nothing selected reads it.
  void Remove(int node);
  bool Fits() const { return inputs_ <= max_tensors_ && width_ <= max_tensors_ && width_ > 0; }
  bool IsHeavy(int node) const;
  std::vector<int> Order() const;
  void AddWithNeeds(int node, std::vector<int>& added);
  void Widen();
  void Trim();

  const std::vector<Node> nodes_;
  const std::vector<uint64_t> constant_bytes_;
  const int max_tensors_;
  uint64_t total_bytes_ = 0;

  std::vector<bool> selected_;
  /// For each output, of its readers those that are selected.
  std::vector<std::vector<int>> inside_;
  std::vector<int> input_uses_;
  std::vector<int> constant_uses_;
  int inputs_ = 0;
  int width_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace portico
