#include "deploy/mesh_pins.h"

#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "deploy/composition_reader.h"
#include "deploy/package_reader.h"
#include "models/graph/portal_spec.h"
#include "router/yaml_node.h"

namespace portico {
namespace {

/// Every version in `path`, whichever is served: what was rolled back may come again.
absl::Status AddPath(const YamlNode& path, const std::string& folder, const std::string& name, const std::string& user,
                     PackageReader& packages, ModulePins* pins) {
  const absl::StatusOr<std::vector<VersionFolder>> versions = ListVersions(folder);
  if (!versions.ok()) return path.Error(absl::StrCat("model '", name, "': ", versions.status().message()));
  for (const VersionFolder& version : *versions) {
    const auto facts = packages.Read(name, version);
    if (!facts.ok()) return path.Error(absl::StrCat("model '", name, "': ", facts.status().message()));
    pins->digests[(*facts)->digest].insert(user);
    for (const PortalSpec& portal : (*facts)->portals) {
      for (const PortalTarget& target : PortalTargets(portal)) {
        if (!target.digest.empty()) pins->digests[target.digest].insert(user);
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status AddMeshPins(const std::string& mesh_file, ModulePins* pins) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(mesh_file, error)) {
    return absl::InvalidArgumentError(
        absl::StrCat("mesh file '", mesh_file, "': got ",
                     std::filesystem::exists(mesh_file, error) ? "no plain file" : "nothing there",
                     ", want the mesh.yaml whose modules stay; mend the path"));
  }
  ASSIGN_OR_RETURN(const YamlNode root, ReadYaml(mesh_file));
  const YamlNode* models = root.Find("models");
  if (models == nullptr) return root.Error("mesh file: got no 'models', want a mesh file");
  RETURN_IF_ERROR(models->CheckMap("models", {}));
  PackageReader packages;
  for (const YamlEntry& entry : models->entries()) {
    const std::string user = absl::StrCat("model '", entry.key, "' of mesh '", mesh_file, "'");
    if (LooksLikeHandle(entry.key)) {
      const absl::StatusOr<Handle> handle = ParseHandle(entry.key);
      if (!handle.ok()) return entry.value.Error(handle.status().message());
      pins->handles[*handle].insert(user);
      continue;
    }
    const YamlNode* path = entry.value.Find("path");
    if (IsComposition(entry.value)) continue;  // Made of other models of the file.
    if (path == nullptr) {
      return entry.value.Error(
          absl::StrCat("model '", entry.key, "': got no 'path', want the folder with its version folders"));
    }
    ASSIGN_OR_RETURN(const std::string text, path->Text(absl::StrCat("model '", entry.key, "': path")));
    const std::filesystem::path folder = std::filesystem::path(mesh_file).parent_path() / text;
    RETURN_IF_ERROR(AddPath(*path, folder.string(), entry.key, user, packages, pins));
  }
  return absl::OkStatus();
}

}  // namespace portico
