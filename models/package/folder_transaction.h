#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/claimed_folder.h"
#include "models/package/model.h"

namespace portico {

/// Writes version folders all or none: what was made is removed again unless Commit() got to its end. Each folder
/// appears under its name whole. What is under way is called `.NAME.portico-` and six more characters; what processes
/// that were killed left of that is removed by the next one that writes beside it. For one thread.
///
///   FolderTransaction transaction;
///   RETURN_IF_ERROR(transaction.Add(model, "packages/digit/1"));
///   RETURN_IF_ERROR(transaction.Commit());
class FolderTransaction {
 public:
  FolderTransaction() = default;
  ~FolderTransaction();
  FolderTransaction(const FolderTransaction&) = delete;
  FolderTransaction& operator=(const FolderTransaction&) = delete;

  /// Saves `model`, and `files` (name, content) with it, beside where it is to be, `path`.
  absl::Status Add(const Model& model, const std::filesystem::path& path,
                   const std::vector<std::pair<std::string, std::string>>& files = {});
  /// An empty folder that takes the place of `path` with Commit(), for the caller to fill: each file in it is synced by
  /// whoever writes it, and it has no folders.
  absl::StatusOr<std::filesystem::path> Begin(const std::filesystem::path& path);
  /// Renames in the order of Add() and Begin(). What stands at a path stays, and is an error, unless it is an empty
  /// folder.
  absl::Status Commit();

 private:
  struct Folder {
    std::filesystem::path path;
    ClaimedFolder temporary;
    bool committed;
  };

  absl::Status MakeFolders(const std::filesystem::path& path);

  std::vector<Folder> folders_;
  std::vector<std::filesystem::path> made_;
};

}  // namespace portico
