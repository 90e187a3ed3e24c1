#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "hub/store.h"

namespace portico {

/// A store in a folder. NOT_FOUND where it is none.
absl::StatusOr<std::unique_ptr<Store>> NewLocalStore(const std::string& root);

/// ROOT/publisher/name/version.
std::filesystem::path ModuleFolder(const std::filesystem::path& root, const Handle& handle);

/// Version folders below `root` that hold a manifest, rising; what is not named as part of a handle is passed over.
absl::StatusOr<std::vector<Handle>> ListFolders(const std::filesystem::path& root);

/// Writes index.json anew from what is there. REQUIRES: the store's lock is held.
absl::Status RewriteIndex(const std::filesystem::path& root);

/// Taken by whoever writes to a store: ROOT/.lock.
std::string StoreLockPath(const std::filesystem::path& root);

/// What a manifest says, as a list shows it.
ModuleEntry EntryOf(const Manifest& manifest);

}  // namespace portico
