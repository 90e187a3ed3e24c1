#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/model_calls.h"

namespace portico::spam {

/// What both models, and the cascade of them, say of mails: computed in this process, by plain code that knows neither
/// meshes nor portals.
struct Reference {
  std::vector<float> trigger;
  std::vector<float> full;
  std::vector<float> cascade;
  /// Whether the cascade asks the full model.
  std::vector<bool> escalated;
};

/// By the models of FOLDER/packages; the condition is that of mesh.yaml.
absl::StatusOr<Reference> Compute(const std::string& folder, const examples::Rows& mails);

}  // namespace portico::spam
