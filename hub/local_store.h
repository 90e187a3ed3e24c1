#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "hub/store.h"

namespace portico {

/// A store in a folder. NOT_FOUND where it is none.
absl::StatusOr<std::unique_ptr<Store>> NewLocalStore(const std::string& root);

/// ROOT/publisher/name/version.
std::filesystem::path ModuleFolder(const std::filesystem::path& root, const Handle& handle);

/// Version folders below `root`, rising; what is not named as part of a handle is passed over. `whole`: only those with
/// a manifest.
absl::StatusOr<std::vector<Handle>> ListFolders(const std::filesystem::path& root, bool whole = true);

/// The modules of a store's folder, rising by handle, and those of which nobody can say what they are.
struct FolderModules {
  std::vector<Manifest> modules;
  /// Why their manifests cannot be read.
  std::vector<std::pair<Handle, absl::Status>> unreadable;
};
absl::StatusOr<FolderModules> ReadModules(const std::filesystem::path& root);

/// Writes index.json of these modules. REQUIRES: the store's lock is held.
absl::Status WriteIndex(const std::filesystem::path& root, const std::vector<Manifest>& modules);

/// Taken by whoever writes to a store: ROOT/.lock.
std::string StoreLockPath(const std::filesystem::path& root);

/// What a manifest says, as a list shows it.
ModuleEntry EntryOf(const Manifest& manifest);

}  // namespace portico
