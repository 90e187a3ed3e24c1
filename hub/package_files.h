#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "hub/hashed_file.h"
#include "hub/manifest.h"

namespace portico {

/// A file of a package: where it is, and its path in the version folder.
struct PackageFile {
  std::filesystem::path from;
  std::string path;
};

/// The files of a version folder and its inner folders, but for those whose names begin with a dot, and a manifest.
/// INVALID_ARGUMENT for a path that no module may have (CheckModulePath()), and for too many.
absl::StatusOr<std::vector<PackageFile>> ListPackageFiles(const std::filesystem::path& folder);

/// Copies them to their paths in `folder`, makes folders where they are missing, and syncs all of it. What was copied,
/// in their order. INVALID_ARGUMENT for a symbolic link and what is no plain file.
absl::StatusOr<std::vector<ModuleFile>> CopyPackageFiles(const std::vector<PackageFile>& files,
                                                         const std::filesystem::path& folder,
                                                         const OnBytes& on_bytes = nullptr);

}  // namespace portico
