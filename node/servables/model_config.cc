#include "node/servables/model_config.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace portico {
namespace {

absl::Status CheckModelConfig(const ModelConfig& model) {
  if (model.name.empty()) return absl::InvalidArgumentError("model: got no name, want one");
  const std::string subject = absl::StrCat("model '", model.name, "'");
  if (model.base_path.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(subject, ": got no base folder, want the folder with its version folders"));
  }
  if (absl::Status status = CheckVersionPolicy(model.versions); !status.ok()) return WithContext(subject, status);
  for (const auto& [label, version] : model.labels) {
    if (!label.empty() && version >= 0) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(subject, ": got label '", label, "' for version ", version, ", want a name and a version"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckModelConfigs(const std::vector<ModelConfig>& models) {
  std::set<absl::string_view> names;
  for (const ModelConfig& model : models) {
    RETURN_IF_ERROR(CheckModelConfig(model));
    if (names.insert(model.name).second) continue;
    return absl::InvalidArgumentError(absl::StrCat("model '", model.name, "': got a second base folder '",
                                                   model.base_path, "', want one per name; rename one of the two"));
  }
  return absl::OkStatus();
}

}  // namespace portico
