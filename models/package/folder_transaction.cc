#include "models/package/folder_transaction.h"

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "base/sync_folder.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

/// Between the name of a folder and what makes its temporary one unique.
constexpr char kMark[] = ".portico-";

fs::path ParentOf(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path("."); }

}  // namespace

FolderTransaction::~FolderTransaction() {
  std::error_code ignored;
  for (const Folder& folder : folders_) {
    fs::remove_all(folder.committed ? folder.path : folder.temporary.path(), ignored);
  }
  // Inner ones last made; a folder that somebody else has used since stays.
  for (auto it = made_.rbegin(); it != made_.rend(); ++it) fs::remove(*it, ignored);
}

absl::StatusOr<fs::path> FolderTransaction::Begin(const fs::path& path) {
  RETURN_IF_ERROR(MakeFolders(path.parent_path()));
  ClaimedFolder::RemoveAbandoned(ParentOf(path), kMark);
  const fs::path prefix = path.parent_path() / absl::StrCat(".", path.filename().string(), kMark);
  ASSIGN_OR_RETURN(ClaimedFolder claimed, ClaimedFolder::Create(prefix.string()));
  const fs::path temporary = claimed.path();
  folders_.push_back({path, std::move(claimed), false});
  // Private so far; a package is for whichever user serves it.
  std::error_code error;
  fs::permissions(temporary,
                  fs::perms::group_read | fs::perms::group_exec | fs::perms::others_read | fs::perms::others_exec,
                  fs::perm_options::add, error);
  if (error) return ErrnoStatus(error.value(), "folder", temporary.string());
  return temporary;
}

absl::Status FolderTransaction::Add(const Model& model, const fs::path& path,
                                    const std::vector<std::pair<std::string, std::string>>& files) {
  ASSIGN_OR_RETURN(const fs::path temporary, Begin(path));
  RETURN_IF_ERROR(model.Save(temporary.string()));
  for (const auto& [name, content] : files) {
    RETURN_IF_ERROR(WriteFileAtomically((temporary / name).string(), content));
  }
  return absl::OkStatus();
}

absl::Status FolderTransaction::Commit() {
  for (const Folder& folder : folders_) RETURN_IF_ERROR(SyncFolder(folder.temporary.path()));
  for (Folder& folder : folders_) {
    if (rename(folder.temporary.path().c_str(), folder.path.c_str()) != 0) {
      return ErrnoStatus(errno, "renaming to", folder.path.string());
    }
    folder.committed = true;
    RETURN_IF_ERROR(SyncFolder(ParentOf(folder.path)));
  }
  for (const fs::path& made : made_) RETURN_IF_ERROR(SyncFolder(ParentOf(made)));
  folders_.clear();
  made_.clear();
  return absl::OkStatus();
}

absl::Status FolderTransaction::MakeFolders(const fs::path& path) {
  std::error_code error;
  if (path.empty() || fs::is_directory(path, error)) return absl::OkStatus();
  RETURN_IF_ERROR(MakeFolders(path.parent_path()));
  if (fs::create_directory(path, error)) made_.push_back(path);
  return error ? ErrnoStatus(error.value(), "folder", path.string()) : absl::OkStatus();
}

}  // namespace portico
