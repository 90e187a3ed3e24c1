#include "deploy/arm_signatures.h"

#include <memory>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "models/package/package.h"

namespace portico {
namespace {

/// Whether each tensor that `usual` allows is one that `arm` allows.
bool Suits(const TensorSpec& usual, const TensorSpec& arm) {
  if (usual.dtype != arm.dtype && usual.dtype != DType::kInvalid && arm.dtype != DType::kInvalid) return false;
  if (!arm.has_rank) return true;
  if (!usual.has_rank || usual.dims.size() != arm.dims.size()) return false;
  for (size_t i = 0; i < arm.dims.size(); ++i) {
    if (arm.dims[i].extent >= 0 && arm.dims[i].extent != usual.dims[i].extent) return false;
  }
  return true;
}

/// Whether they can be the same tensor.
bool Agrees(const TensorSpec& usual, const TensorSpec& arm) {
  if (usual.dtype != arm.dtype && usual.dtype != DType::kInvalid && arm.dtype != DType::kInvalid) return false;
  if (!usual.has_rank || !arm.has_rank) return true;
  if (usual.dims.size() != arm.dims.size()) return false;
  for (size_t i = 0; i < arm.dims.size(); ++i) {
    const int64_t a = arm.dims[i].extent, b = usual.dims[i].extent;
    if (a >= 0 && b >= 0 && a != b) return false;
  }
  return true;
}

const TensorSpec* Find(const std::vector<TensorSpec>& specs, const std::string& name) {
  const auto found = absl::c_find_if(specs, [&](const TensorSpec& spec) { return spec.name == name; });
  return found == specs.end() ? nullptr : &*found;
}

std::string TensorDifference(absl::string_view what, const std::vector<TensorSpec>& usual,
                             const std::vector<TensorSpec>& arm, bool (*fits)(const TensorSpec&, const TensorSpec&)) {
  for (const TensorSpec& spec : usual) {
    const TensorSpec* const other = Find(arm, spec.name);
    if (other == nullptr) return absl::StrCat(what, " '", spec.name, "': got none, want ", spec.ToString());
    if (!fits(spec, *other)) {
      return absl::StrCat(what, " '", spec.name, "': got ", other->ToString(), ", want ", spec.ToString());
    }
  }
  for (const TensorSpec& spec : arm) {
    if (Find(usual, spec.name) == nullptr) {
      return absl::StrCat(what, " '", spec.name, "': got ", spec.ToString(), ", want none");
    }
  }
  return "";
}

absl::StatusOr<std::shared_ptr<const PackageFacts>> FactsOf(const Revision& revision, const TrafficTarget& target,
                                                            PackageReader& packages) {
  const Revision::Model& model = *revision.FindModel(target.model);
  ASSIGN_OR_RETURN(const std::vector<VersionFolder> folders, ListVersions(model.path));
  const auto folder = absl::c_find_if(folders, [&](const VersionFolder& one) { return one.version == target.version; });
  if (folder != folders.end()) return packages.Read(model.name, *folder);
  return absl::NotFoundError(
      absl::StrCat("path: got '", model.path, "' without version ", target.version, ", want it there"));
}

}  // namespace

std::string SignatureDifference(const std::vector<Signature>& usual, const std::vector<Signature>& arm) {
  for (const Signature& signature : usual) {
    const std::string subject = absl::StrCat("signature '", signature.name, "': ");
    const auto other = absl::c_find_if(arm, [&](const Signature& one) { return one.name == signature.name; });
    if (other == arm.end()) return absl::StrCat(subject, "got none, want it there");
    std::string difference = TensorDifference("input", signature.inputs, other->inputs, Suits);
    if (difference.empty()) difference = TensorDifference("output", signature.outputs, other->outputs, Agrees);
    if (!difference.empty()) return absl::StrCat(subject, difference);
  }
  return "";
}

absl::StatusOr<std::string> ArmDifference(const Revision& revision, const TrafficTarget& usual,
                                          const TrafficTarget& arm, PackageReader& packages) {
  ASSIGN_OR_RETURN(const auto usual_facts, FactsOf(revision, usual, packages));
  ASSIGN_OR_RETURN(const auto arm_facts, FactsOf(revision, arm, packages));
  return SignatureDifference(usual_facts->signatures, arm_facts->signatures);
}

}  // namespace portico
