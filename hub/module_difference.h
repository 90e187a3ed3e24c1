#pragma once

#include <string>
#include <vector>

#include "models/package/model.h"

namespace portico {

/// How a weight of one model differs from that of the same name in another.
struct WeightDifference {
  std::string name;
  /// "float32[64,16]"; empty where the model has none of that name.
  std::string before;
  std::string after;
  uint64_t before_bytes = 0;
  uint64_t after_bytes = 0;
  /// Of weights of one dtype and shape: the elements that differ, and by how much at most.
  uint64_t different = 0;
  double max_absolute = 0;
};

struct WeightDifferences {
  /// By name, rising.
  std::vector<WeightDifference> changed;
  /// Weights that are the same in both.
  size_t same = 0;
};

/// Compares weights by name; reads those that differ.
WeightDifferences CompareWeights(const Model& before, const Model& after);

}  // namespace portico
