#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/model_calls.h"

namespace portico::breeds {

/// What the models, and the compositions of them, say of pictures, a row of probabilities each: computed in this
/// process, by plain code that knows neither meshes nor portals.
struct Reference {
  std::vector<float> cats;
  std::vector<float> dogs;
  std::vector<float> general;
  /// The gate's choice, 0 or 1.
  std::vector<int64_t> chosen;
  /// The answer of the expert that the gate chose; both, by its weights; both, by half.
  std::vector<float> best;
  std::vector<float> both;
  std::vector<float> mean;
};

/// By the models of FOLDER/packages.
absl::StatusOr<Reference> Compute(const std::string& folder, const examples::Rows& pictures);

}  // namespace portico::breeds
