#include "hub/package_files.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "base/sync_folder.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

absl::Status AddFolder(const fs::path& folder, const std::string& prefix, std::vector<PackageFile>* files) {
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    const std::string path = absl::StrCat(prefix, name);
    if (name[0] == '.' || path == kManifestFile) continue;
    RETURN_IF_ERROR(CheckModulePath(path));
    const fs::file_status status = entry->symlink_status(error);
    if (error) break;
    if (fs::is_directory(status)) {
      RETURN_IF_ERROR(AddFolder(entry->path(), absl::StrCat(path, "/"), files));
    } else {
      files->push_back({entry->path(), path});  // Links and the like are refused when they are read.
    }
    if (files->size() > Manifest::kMaxFiles) {
      return absl::InvalidArgumentError(absl::StrCat("folder '", folder.string(), "': got more than ",
                                                     Manifest::kMaxFiles, " files, want at most that"));
    }
  }
  return error ? ErrnoStatus(error.value(), "list", folder.string()) : absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<PackageFile>> ListPackageFiles(const fs::path& folder) {
  std::vector<PackageFile> files;
  RETURN_IF_ERROR(AddFolder(folder, "", &files));
  return files;
}

absl::StatusOr<std::vector<ModuleFile>> CopyPackageFiles(const std::vector<PackageFile>& files, const fs::path& folder,
                                                         const OnBytes& on_bytes) {
  std::vector<ModuleFile> copied;
  std::vector<fs::path> folders = {folder};
  std::error_code error;
  for (const PackageFile& file : files) {
    const fs::path to = folder / file.path;
    fs::create_directories(to.parent_path(), error);
    if (error) return ErrnoStatus(error.value(), "make the folder of", to.string());
    if (std::find(folders.begin(), folders.end(), to.parent_path()) == folders.end()) {
      folders.push_back(to.parent_path());
    }
    ASSIGN_OR_RETURN(const FileContent content, CopyHashed(file.from.string(), to.string(), on_bytes));
    copied.push_back({file.path, content.bytes, content.sha256});
  }
  for (const fs::path& made : folders) RETURN_IF_ERROR(SyncFolder(made.string()));
  return copied;
}

}  // namespace portico
