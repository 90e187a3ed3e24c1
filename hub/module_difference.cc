#include "hub/module_difference.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "base/tensor_comparison.h"

namespace portico {
namespace {

const Tensor* Find(const Model& model, const std::string& name) {
  const auto found = model.initializers().find(name);
  return found == model.initializers().end() ? nullptr : &found->second.tensor;
}

std::string TypeOf(const Tensor& tensor) {
  return absl::StrCat(DTypeName(tensor.dtype()), ShapeString(tensor.shape()));
}

}  // namespace

WeightDifferences CompareWeights(const Model& before, const Model& after) {
  std::set<std::string> names;
  for (const Model* model : {&before, &after}) {
    for (const auto& [name, weight] : model->initializers()) names.insert(name);
  }
  WeightDifferences result;
  for (const std::string& name : names) {
    const Tensor* one = Find(before, name);
    const Tensor* other = Find(after, name);
    if (one != nullptr && other != nullptr &&
        before.initializers().at(name).digest == after.initializers().at(name).digest) {
      ++result.same;
      continue;
    }
    WeightDifference& difference = result.changed.emplace_back();
    difference.name = name;
    if (one != nullptr) {
      difference.before = TypeOf(*one);
      difference.before_bytes = one->bytes().size();
    }
    if (other != nullptr) {
      difference.after = TypeOf(*other);
      difference.after_bytes = other->bytes().size();
    }
    if (one == nullptr || other == nullptr || difference.before != difference.after) continue;
    const TensorComparison comparison = CompareTensorsWithin(*other, *one, {});
    difference.different = comparison.different;
    difference.max_absolute = comparison.max_absolute;
  }
  return result;
}

}  // namespace portico
