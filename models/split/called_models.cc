#include "models/split/called_models.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "embedding/group_shards.h"
#include "models/package/package.h"
#include "models/split/plan.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

absl::StatusOr<std::unique_ptr<CalledModels::Called>> Load(const std::string& name, const std::string& path,
                                                           WeightStore& weights) {
  std::error_code error;
  if (fs::is_directory(path, error)) {
    ASSIGN_OR_RETURN(Package package, LoadPackage(name, path, weights));
    return std::make_unique<CalledModels::Called>(
        CalledModels::Called{name, path, package.digest, std::move(package.model), std::move(package.signatures)});
  }
  ASSIGN_OR_RETURN(Model model, Model::Load(path, weights));
  ASSIGN_OR_RETURN(const Digest digest, ModelDigest(model));
  ASSIGN_OR_RETURN(Signature signature, GraphSignature(model));
  return std::make_unique<CalledModels::Called>(
      CalledModels::Called{name, path, digest, std::move(model), {std::move(signature)}});
}

}  // namespace

std::vector<std::string> CalledModels::Candidates(const std::string& name) const {
  std::vector<std::string> candidates;
  std::error_code error;
  for (const Place& place : places_) {
    if (!place.name.empty() && place.name != name) continue;
    const fs::path path = place.name.empty() ? fs::path(place.path) / name : fs::path(place.path);
    if (fs::is_regular_file(path, error) || fs::is_regular_file(path / "model.onnx", error)) {
      candidates.push_back(path.string());
      continue;
    }
    const absl::StatusOr<std::vector<VersionFolder>> versions = ListVersions(path.string());
    if (!versions.ok()) continue;
    for (auto version = versions->rbegin(); version != versions->rend(); ++version) {
      if (fs::is_regular_file(fs::path(version->folder) / "model.onnx", error)) candidates.push_back(version->folder);
    }
  }
  return candidates;
}

absl::StatusOr<const CalledModels::Called*> CalledModels::Find(const PortalSpec& portal) {
  // A name is a path in the places.
  if (const absl::Status name = CheckServableName(portal.target); !name.ok()) {
    return absl::FailedPreconditionError(absl::StrCat("portal '", portal.node_name, "': target: ", name.message()));
  }
  for (const std::unique_ptr<Called>& called : found_) {
    if (called->name == portal.target && (portal.digest.empty() || called->digest == portal.digest))
      return called.get();
  }
  std::vector<std::string> others;
  for (const std::string& path : Candidates(portal.target)) {
    absl::StatusOr<std::unique_ptr<Called>> called = Load(portal.target, path, weights_);
    if (!called.ok()) {
      others.push_back(absl::StrCat("'", path, "', which cannot be read: ", called.status().message()));
    } else if (!portal.digest.empty() && (*called)->digest != portal.digest) {
      others.push_back(absl::StrCat("'", path, "' of digest ", (*called)->digest.Short()));
    } else {
      found_.push_back(*std::move(called));
      return found_.back().get();
    }
  }
  return absl::FailedPreconditionError(
      absl::StrCat("portal '", portal.node_name, "': calls '", portal.target, "'",
                   portal.digest.empty() ? "" : absl::StrCat(" of digest ", portal.digest.Short()),
                   ", which has to answer before anything can be compared; got ",
                   others.empty() ? "no such package" : absl::StrJoin(others, ", "),
                   ", want it; say where it is: --package ", portal.target, "=FOLDER"));
}

absl::StatusOr<std::string> CalledModels::FindTables(const PortalSpec& portal) {
  const std::string& group = portal.target;
  if (const auto known = tables_.find(group); known != tables_.end()) return known->second;
  const std::string subject = absl::StrCat("portal '", portal.node_name, "'");
  if (const absl::Status name = CheckServableName(group); !name.ok()) {
    return absl::FailedPreconditionError(absl::StrCat(subject, ": target: ", name.message()));
  }
  std::vector<std::string> others;
  std::error_code error;
  for (const Place& place : places_) {
    if (!place.name.empty() && place.name != group) continue;
    const fs::path path = place.name.empty() ? fs::path(place.path) / group : fs::path(place.path);
    if (!fs::is_directory(path, error)) continue;
    const absl::StatusOr<uint32_t> shards = ServingShards(path.string());
    if (shards.ok()) return tables_.emplace(group, path.string()).first->second;
    others.push_back(absl::StrCat("'", path.string(), "', where ", shards.status().message()));
  }
  return absl::FailedPreconditionError(absl::StrCat(
      subject, ": looks up in the tables of '", group, "', which have to answer before anything can be compared; got ",
      others.empty() ? "no folder of them" : absl::StrJoin(others, ", "),
      ", want the folder with its shards' folders; say where it is: --package ", group, "=FOLDER"));
}

}  // namespace portico
