#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "models/split/split.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

/// Makes what a rename did last through a crash.
absl::Status SyncFolder(const fs::path& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "folder", folder.string());
  const int result = fsync(fd);
  const int error = errno;
  close(fd);
  return result == 0 ? absl::OkStatus() : ErrnoStatus(error, "folder", folder.string());
}

/// Writes version folders all or none: what was made is removed again unless Commit() got to its end. For one thread.
class FolderTransaction {
 public:
  ~FolderTransaction() {
    std::error_code ignored;
    for (const Folder& folder : folders_) fs::remove_all(folder.committed ? folder.path : folder.temporary, ignored);
    // Inner ones last made; a folder that somebody else has used since stays.
    for (auto it = made_.rbegin(); it != made_.rend(); ++it) fs::remove(*it, ignored);
  }

  /// Saves `model` beside where it is to be, `path`.
  absl::Status Add(const Model& model, const fs::path& path) {
    RETURN_IF_ERROR(MakeFolders(path.parent_path()));
    ASSIGN_OR_RETURN(const std::string temporary, MakeUniqueFolder((path.parent_path() / absl::StrCat(
                                                      ".", path.filename().string(), ".")).string()));
    folders_.push_back({path, temporary, false});
    // Private so far; a package is for whichever user serves it.
    std::error_code error;
    fs::permissions(temporary,
                    fs::perms::group_read | fs::perms::group_exec | fs::perms::others_read | fs::perms::others_exec,
                    fs::perm_options::add, error);
    if (error) return ErrnoStatus(error.value(), "folder", temporary);
    RETURN_IF_ERROR(model.Save(temporary));
    return SyncFolder(temporary);
  }

  /// Renames in the order of Add().
  absl::Status Commit() {
    for (Folder& folder : folders_) {
      if (rename(folder.temporary.c_str(), folder.path.c_str()) != 0) {
        return ErrnoStatus(errno, "renaming to", folder.path.string());
      }
      folder.committed = true;
      RETURN_IF_ERROR(SyncFolder(folder.path.parent_path()));
    }
    for (const fs::path& made : made_)
      RETURN_IF_ERROR(SyncFolder(made.parent_path().empty() ? "." : made.parent_path()));
    folders_.clear();
    made_.clear();
    return absl::OkStatus();
  }

 private:
  struct Folder {
    fs::path path;
    fs::path temporary;
    bool committed;
  };

  absl::Status MakeFolders(const fs::path& path) {
    std::error_code error;
    if (path.empty() || fs::is_directory(path, error)) return absl::OkStatus();
    RETURN_IF_ERROR(MakeFolders(path.parent_path()));
    if (fs::create_directory(path, error)) made_.push_back(path);
    return error ? ErrnoStatus(error.value(), "folder", path.string()) : absl::OkStatus();
  }

  std::vector<Folder> folders_;
  std::vector<fs::path> made_;
};

/// True when `folder` has the model already; ALREADY_EXISTS when it has something else.
absl::StatusOr<bool> IsThere(const SplitModel& split, const fs::path& folder) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(folder, error))) return false;
  const auto exists = [&](absl::string_view got) {
    return absl::AlreadyExistsError(absl::StrCat("folder '", folder.string(), "': got ", got, ", want digest ",
                                                 split.digest.Short(), " or no such folder; choose another --version"));
  };
  WeightStore store;
  const absl::StatusOr<Model> model = Model::Load((folder / "model.onnx").string(), store);
  if (!model.ok()) return exists(absl::StrCat("something else (", model.status().message(), ")"));
  ASSIGN_OR_RETURN(const Digest digest, ModelDigest(*model));
  if (digest != split.digest) return exists(absl::StrCat("digest ", digest.Short()));
  return true;
}

}  // namespace

absl::Status WriteSplit(const std::vector<SplitModel>& split, const std::string& out, int64_t version) {
  if (version < 1) return absl::InvalidArgumentError(absl::StrCat("version: got ", version, ", want at least 1"));
  const auto folder_of = [&](const SplitModel& model) { return fs::path(out) / model.name / absl::StrCat(version); };
  std::vector<const SplitModel*> missing;
  // The product, which is first, comes last: what is in place never lacks its parts.
  for (size_t i = 1; i <= split.size(); ++i) {
    const SplitModel& model = split[i % split.size()];
    RETURN_IF_ERROR(CheckServableName(model.name));
    ASSIGN_OR_RETURN(const bool there, IsThere(model, folder_of(model)));
    if (!there) missing.push_back(&model);
  }
  FolderTransaction transaction;
  for (const SplitModel* model : missing) RETURN_IF_ERROR(transaction.Add(model->model, folder_of(*model)));
  return transaction.Commit();
}

}  // namespace portico
