#include "cli/upgrade_targets.h"

#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "deploy/hub_modules.h"
#include "deploy/mesh.h"
#include "models/graph/portal_spec.h"

namespace portico {

absl::StatusOr<std::string> UpgradeTargets::Find(const PortalTarget& target) {
  if (const auto known = known_.find(target.digest); known != known_.end()) return known->second;
  ASSIGN_OR_RETURN(const std::vector<ModuleEntry>* entries, Entries());
  const ModuleEntry* best = nullptr;
  for (const ModuleEntry& entry : *entries) {
    const bool is_it = target.digest.empty() ? entry.handle.Model() == target.name : entry.digest == target.digest;
    if (is_it) best = &entry;  // They rise.
  }
  if (best != nullptr) {
    ASSIGN_OR_RETURN(const HubCache::Pulled pulled, cache_.Pull(store_, best->handle));
    return pulled.folder;
  }
  if (!mesh_.empty()) {
    ASSIGN_OR_RETURN(const std::string folder, FindInMesh(target));
    if (!folder.empty()) return folder;
  }
  return absl::NotFoundError(absl::StrCat(
      "portal to '", target.name, "'", target.digest.empty() ? "" : absl::StrCat(" digest ", target.digest.Short()),
      ": got no such module in '", store_.url(), "'",
      mesh_.empty() ? "" : absl::StrCat(" and no such model in '", mesh_, "'"),
      ", want it there, to compare with; publish it, or name the mesh file that has it with --mesh"));
}

absl::StatusOr<std::vector<std::string>> UpgradeTargets::HandlesOf(const std::vector<PortalSpec>& portals) {
  std::vector<std::string> handles;
  ASSIGN_OR_RETURN(const std::vector<ModuleEntry>* entries, Entries());
  for (const ModuleEntry& entry : *entries) {
    for (const PortalSpec& portal : portals) {
      const std::vector<PortalTarget> targets = PortalTargets(portal);
      if (absl::c_any_of(targets, [&](const PortalTarget& one) { return one.digest == entry.digest; })) {
        handles.push_back(absl::StrCat("'", entry.handle.ToString(), "'"));
        break;
      }
    }
  }
  return handles;
}

absl::StatusOr<const std::vector<ModuleEntry>*> UpgradeTargets::Entries() {
  if (!entries_.has_value()) {
    ASSIGN_OR_RETURN(entries_, store_.List());
  }
  return &*entries_;
}

absl::StatusOr<const Revision*> UpgradeTargets::Mesh() {
  if (!revision_.has_value()) {
    ASSIGN_OR_RETURN(MeshFile file, ReadMeshFile(mesh_, nullptr, "", PullModules(), PulledModule));
    revision_ = std::move(file.revision);
  }
  return &*revision_;
}

absl::StatusOr<const Revision*> UpgradeTargets::FindTables(const std::string& group) {
  const std::string subject = absl::StrCat("tables '", group, "'");
  if (mesh_.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat(subject,
                     ": got no mesh file that has them, want them here, as the product looks up in them; name "
                     "the mesh file whose 'tables' have '",
                     group, "' with --mesh"));
  }
  ASSIGN_OR_RETURN(const Revision* const mesh, Mesh());
  if (mesh->FindTable(group) != nullptr) return mesh;
  std::vector<std::string> groups;
  for (const Revision::Table& table : mesh->tables) groups.push_back(absl::StrCat("'", table.name, "'"));
  return absl::FailedPreconditionError(
      absl::StrCat(subject, ": got mesh '", mesh_, "' with ",
                   groups.empty() ? "no 'tables'" : absl::StrCat("tables ", absl::StrJoin(groups, ", ")), ", want '",
                   group, "' among them, as the product looks up there; name the product's own mesh file"));
}

absl::Status UpgradeTargets::CheckServed(const HubCache::Pulled& module) {
  if (mesh_.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Revision* const mesh, Mesh());
  const std::string handle = module.manifest.handle.ToString(), name = module.manifest.handle.Model();
  const auto refused = [&](absl::string_view got, absl::string_view remedy) {
    return absl::FailedPreconditionError(absl::StrCat("mesh '", mesh_, "': got ", got, ", want '", handle,
                                                      "' served before a product calls it; ", remedy,
                                                      ", let the mesh take that, then upgrade"));
  };
  const Revision::Model* const model = mesh->FindModel(name);
  if (model == nullptr ||
      absl::c_none_of(model->pins, [&](const Revision::Pin& pin) { return pin.digest == module.manifest.digest; })) {
    return refused(absl::StrCat("no model '", handle, "' of digest ", module.manifest.digest.Short()),
                   absl::StrCat("add '", handle, ": {}' to 'models' and it to the 'serve' of a node"));
  }
  if (absl::c_any_of(mesh->nodes,
                     [&](const Revision::Node& node) { return absl::c_linear_search(node.serve, name); })) {
    return absl::OkStatus();
  }
  return refused(absl::StrCat("'", handle, "', which no node serves"), "add it to the 'serve' of a node");
}

absl::StatusOr<std::string> UpgradeTargets::FindInMesh(const PortalTarget& target) {
  ASSIGN_OR_RETURN(const Revision* const mesh, Mesh());
  const Revision::Model* const model = mesh->FindModel(target.name);
  if (model == nullptr) return "";
  ASSIGN_OR_RETURN(const std::vector<VersionFolder> versions, ListVersions(model->path));
  std::string folder;
  for (const Revision::Pin& pin : model->pins) {
    if (!target.digest.empty() && pin.digest != target.digest) continue;
    for (const VersionFolder& version : versions) {
      if (version.version == pin.version) folder = version.folder;
    }
  }
  return folder;
}

}  // namespace portico
