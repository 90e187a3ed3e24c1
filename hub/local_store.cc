#include "hub/local_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "hub/store_index.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

constexpr size_t kPieceBytes = size_t{1} << 20;

class LocalStore final : public Store {
 public:
  explicit LocalStore(std::string root) : root_(std::move(root)) {}

  const std::string& url() const override { return root_; }

  absl::StatusOr<std::vector<ModuleEntry>> List() override {
    ASSIGN_OR_RETURN(const std::vector<Handle> handles, ListFolders(root_));
    std::vector<ModuleEntry> entries;
    for (const Handle& handle : handles) {
      ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(*this, handle));
      entries.push_back(EntryOf(manifest));
    }
    return entries;
  }

  absl::Status Read(const Handle& handle, const std::string& file, uint64_t offset, Sink sink) override {
    const std::string path = (ModuleFolder(root_, handle) / file).string();
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ELOOP) {
      return absl::InvalidArgumentError(absl::StrCat("file '", path, "': got a symbolic link, want a plain file"));
    }
    if (fd < 0) return ErrnoStatus(errno, "open", path);
    absl::Cleanup close_fd = [fd] { close(fd); };
    struct stat info {};
    if (fstat(fd, &info) != 0) return ErrnoStatus(errno, "stat", path);
    if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError(absl::StrCat("file '", path, "': got no plain file"));
    std::string piece(kPieceBytes, '\0');
    while (true) {
      const ssize_t got = pread(fd, piece.data(), piece.size(), static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return ErrnoStatus(errno, "read", path);
      if (got == 0) return absl::OkStatus();
      RETURN_IF_ERROR(sink(offset, absl::string_view(piece.data(), static_cast<size_t>(got))));
      offset += static_cast<uint64_t>(got);
    }
  }

 private:
  const std::string root_;
};

/// Names of the folders in `folder`; those that begin with a dot are nobody's module.
absl::StatusOr<std::vector<std::string>> Folders(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    std::error_code ignored;
    if (entry->is_directory(ignored)) names.push_back(entry->path().filename().string());
  }
  // It may have been removed meanwhile.
  if (error && error != std::errc::no_such_file_or_directory) {
    return ErrnoStatus(error.value(), "list", folder.string());
  }
  return names;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> NewLocalStore(const std::string& root) {
  std::error_code error;
  std::string absolute = fs::absolute(root, error).lexically_normal().string();
  while (absolute.size() > 1 && absolute.back() == '/') absolute.pop_back();
  if (!error && fs::is_directory(absolute, error)) return std::make_unique<LocalStore>(std::move(absolute));
  return absl::NotFoundError(absl::StrCat("store '", root, "': got no folder '", absolute,
                                          "', want the folder of a store; 'portico hub publish' makes one"));
}

fs::path ModuleFolder(const fs::path& root, const Handle& handle) {
  return root / handle.publisher / handle.name / absl::StrCat(handle.version);
}

absl::StatusOr<std::vector<Handle>> ListFolders(const fs::path& root, bool whole) {
  std::vector<Handle> handles;
  ASSIGN_OR_RETURN(const std::vector<std::string> publishers, Folders(root));
  for (const std::string& publisher : publishers) {
    ASSIGN_OR_RETURN(const std::vector<std::string> names, Folders(root / publisher));
    for (const std::string& name : names) {
      ASSIGN_OR_RETURN(const std::vector<std::string> versions, Folders(root / publisher / name));
      for (const std::string& version : versions) {
        const absl::StatusOr<Handle> handle = ParseHandle(absl::StrCat(publisher, "/", name, "/", version));
        if (!handle.ok()) continue;
        std::error_code ignored;
        if (!whole || fs::exists(ModuleFolder(root, *handle) / kManifestFile, ignored)) handles.push_back(*handle);
      }
    }
  }
  std::sort(handles.begin(), handles.end());
  return handles;
}

absl::StatusOr<FolderModules> ReadModules(const fs::path& root) {
  LocalStore store(root.string());
  ASSIGN_OR_RETURN(const std::vector<Handle> handles, ListFolders(root));
  FolderModules found;
  for (const Handle& handle : handles) {
    absl::StatusOr<Manifest> manifest = ReadManifest(store, handle);
    if (manifest.ok()) {
      found.modules.push_back(*std::move(manifest));
    } else {
      found.unreadable.emplace_back(handle, manifest.status());
    }
  }
  return found;
}

absl::Status WriteIndex(const fs::path& root, const std::vector<Manifest>& modules) {
  std::vector<ModuleEntry> entries;
  for (const Manifest& module : modules) entries.push_back(EntryOf(module));
  std::sort(entries.begin(), entries.end(),
            [](const ModuleEntry& a, const ModuleEntry& b) { return a.handle < b.handle; });
  return WriteFileAtomically((root / kIndexFile).string(), FormatIndex(entries));
}

std::string StoreLockPath(const fs::path& root) { return (root / ".lock").string(); }

ModuleEntry EntryOf(const Manifest& manifest) {
  return {manifest.handle, manifest.digest, manifest.family, manifest.bytes()};
}

}  // namespace portico
