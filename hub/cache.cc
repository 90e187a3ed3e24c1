#include "hub/cache.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/cleanup/cleanup.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "base/sync_folder.h"
#include "hub/hashed_file.h"
#include "hub/local_store.h"
#include "models/package/package.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

constexpr char kOriginFile[] = ".origin";
constexpr char kPartSuffix[] = ".part";
constexpr uint64_t kMaxOriginBytes = 64 << 10;
constexpr size_t kMaxOrigins = 16;

constexpr absl::Duration kLookPeriod = absl::Milliseconds(100);

/// How often a folder is made again that a removal, which takes empty ones, took meanwhile.
constexpr int kFolderAttempts = 10;

absl::Status MakeFolders(const fs::path& path) {
  std::error_code error;
  for (int i = 0; i < kFolderAttempts; ++i) {
    fs::create_directories(path, error);
    if (error != std::errc::no_such_file_or_directory) break;
  }
  return error ? ErrnoStatus(error.value(), "make", path.string()) : absl::OkStatus();
}

absl::Status RemoveAll(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  return error ? ErrnoStatus(error.value(), "remove", path.string()) : absl::OkStatus();
}

bool IsCancelled(const HubCache::Options& options) { return options.cancelled && options.cancelled(); }

absl::Status Interrupted() {
  return absl::CancelledError("interrupted; what has come stays, and the next pull goes on from there");
}

/// Waits as long as is due after so many failures in a row.
absl::Status PauseAfter(int failures, const HubCache::Options& options) {
  const absl::Time end = absl::Now() + options.pause * (1 << std::min(failures, 6));
  for (absl::Time now = absl::Now(); now < end; now = absl::Now()) {
    if (IsCancelled(options)) return Interrupted();
    absl::SleepFor(std::min(end - now, kLookPeriod));
  }
  return absl::OkStatus();
}

/// DATA_LOSS unless what is at `path` is what the manifest says of `file`.
absl::Status CheckFile(const std::string& path, const ModuleFile& file, const OnBytes& on_bytes = nullptr) {
  ASSIGN_OR_RETURN(const FileContent content, HashFile(path, on_bytes));
  if (content.bytes == file.bytes && content.sha256 == file.sha256) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("file '", file.path, "': got ", content.bytes, " bytes, SHA-256 ",
                                          content.sha256.Short(), "…, want ", file.bytes, " bytes, SHA-256 ",
                                          file.sha256.Short(), "…"));
}

/// The stores whose manifest of the module in `folder` was compared with what is there, the first being that which it
/// came from; none where that is not known.
std::vector<std::string> ReadOrigins(const fs::path& folder) {
  const absl::StatusOr<std::string> text = ReadFile((folder / kOriginFile).string(), kMaxOriginBytes);
  if (!text.ok()) return {};
  return absl::StrSplit(*text, '\n', absl::SkipEmpty());
}

/// A line each. Of more than kMaxOrigins those after the first that were added longest ago are left out: they are asked
/// again.
absl::Status WriteOrigins(const fs::path& folder, std::vector<std::string> origins) {
  if (origins.size() > kMaxOrigins) origins.erase(origins.begin() + 1, origins.end() - (kMaxOrigins - 1));
  return WriteFileAtomically((folder / kOriginFile).string(), absl::StrJoin(origins, "\n"));
}

/// What stands for the store in a line.
std::string OriginOf(const Store& store) { return absl::CHexEscape(store.origin()); }

/// Renames `from` to `to`, whose parents are made.
absl::Status PutInPlace(const fs::path& from, const fs::path& to) {
  int failed = 0;
  for (int i = 0; i < kFolderAttempts; ++i) {
    RETURN_IF_ERROR(MakeFolders(to.parent_path()));
    failed = rename(from.c_str(), to.c_str()) == 0 ? 0 : errno;
    if (failed != ENOENT) break;
  }
  if (failed != 0) return ErrnoStatus(failed, "renaming to", to.string());
  return SyncFolder(to.parent_path().string());
}

}  // namespace

/// One module on its way into the cache.
class HubCache::Download {
 public:
  Download(const Options& options, Store& store, Manifest manifest, fs::path folder)
      : options_(options), store_(store), manifest_(std::move(manifest)), folder_(std::move(folder)) {}

  /// `text`: the manifest as it was read. Afterwards `folder` is the whole module.
  absl::Status Run(const std::string& text) {
    RETURN_IF_ERROR(Prepare(text));
    RETURN_IF_ERROR(CheckRoom());
    std::vector<fs::path> folders = {folder_};
    for (const ModuleFile& file : manifest_.files) {
      const fs::path parent = (folder_ / file.path).parent_path();
      RETURN_IF_ERROR(MakeFolders(parent));
      if (std::find(folders.begin(), folders.end(), parent) == folders.end()) folders.push_back(parent);
      RETURN_IF_ERROR(Fetch(file));
    }
    RETURN_IF_ERROR(CheckModel());
    RETURN_IF_ERROR(WriteOrigins(folder_, {OriginOf(store_)}));
    for (const fs::path& made : folders) RETURN_IF_ERROR(SyncFolder(made.string()));
    return absl::OkStatus();
  }

 private:
  /// What an earlier download of the same content has left is kept.
  absl::Status Prepare(const std::string& text) {
    const std::string path = (folder_ / kManifestFile).string();
    const absl::StatusOr<std::string> before = ReadFile(path, Manifest::kMaxBytes);
    if (before.ok() && *before == text) return absl::OkStatus();
    RETURN_IF_ERROR(RemoveAll(folder_));
    RETURN_IF_ERROR(MakeFolders(folder_));
    return WriteFileAtomically(path, text);
  }

  absl::Status CheckRoom() const {
    uint64_t missing = 0;
    std::error_code error;
    for (const ModuleFile& file : manifest_.files) {
      uint64_t have = 0;
      for (const char* suffix : {"", kPartSuffix}) {
        const uint64_t bytes = fs::file_size(absl::StrCat((folder_ / file.path).string(), suffix), error);
        if (!error) have = std::min(bytes, file.bytes);
      }
      missing += file.bytes - have;
    }
    const fs::space_info space = fs::space(folder_, error);
    if (error || space.available >= missing) return absl::OkStatus();
    return absl::ResourceExhaustedError(absl::StrCat(
        "handle '", manifest_.handle.ToString(), "': got ", space.available, " bytes free in '", folder_.string(),
        "', want ", missing, "; make room ('portico hub gc') or name another folder (--cache)"));
  }

  absl::Status Fetch(const ModuleFile& file) {
    const fs::path path = folder_ / file.path;
    const std::string part = absl::StrCat(path.string(), kPartSuffix);
    std::error_code error;
    // Of an earlier download that got so far.
    if (fs::exists(path, error)) {
      if (CheckFile(path.string(), file).ok()) {
        Progress(file.bytes);
        return absl::OkStatus();
      }
      RETURN_IF_ERROR(RemoveAll(path));
    }
    const bool resumed = fs::exists(part, error);
    const uint64_t before = done_;
    RETURN_IF_ERROR(FetchPart(file, part));
    absl::Status status = CheckFile(part, file);
    if (!status.ok() && resumed) {
      // What was there may have been of another file, or damaged: once more, from the beginning.
      RETURN_IF_ERROR(RemoveAll(part));
      done_ = before;
      RETURN_IF_ERROR(FetchPart(file, part));
      status = CheckFile(part, file);
    }
    if (!status.ok()) {
      RETURN_IF_ERROR(RemoveAll(part));
      return absl::DataLossError(absl::StrCat("handle '", manifest_.handle.ToString(), "' from '", store_.url(),
                                              "': ", status.message(),
                                              "; the store's copy is damaged or was changed: have it published anew "
                                              "under the next version"));
    }
    if (rename(part.c_str(), path.c_str()) != 0) return ErrnoStatus(errno, "renaming to", path.string());
    return absl::OkStatus();
  }

  /// Downloads into `part`, from where it ends. What breaks is gone on with.
  absl::Status FetchPart(const ModuleFile& file, const std::string& part) {
    const int fd = open(part.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0) return ErrnoStatus(errno, "open", part);
    absl::Cleanup close_fd = [fd] { close(fd); };
    const off_t end = lseek(fd, 0, SEEK_END);
    if (end < 0) return ErrnoStatus(errno, "seek in", part);
    uint64_t have = static_cast<uint64_t>(end);
    if (have > file.bytes) have = 0;
    Progress(have);
    int failures = 0;
    while (have < file.bytes) {
      const uint64_t at_first = have;
      absl::Status status = store_.Read(manifest_.handle, file.path, have, [&](uint64_t at, absl::string_view bytes) {
        return Write(file, part, fd, at, bytes, &have);
      });
      if (status.ok() && have < file.bytes) {
        status =
            absl::UnavailableError(absl::StrCat("file '", file.path, "': got ", have, " bytes, want ", file.bytes,
                                                "; try again, and where it stays so have the store's copy made anew"));
      }
      if (status.ok()) break;
      failures = have > at_first ? 0 : failures + 1;
      if (absl::IsNotFound(status)) {
        return absl::DataLossError(absl::StrCat("handle '", manifest_.handle.ToString(), "' from '", store_.url(),
                                                "': file '", file.path, "': got none (", status.message(),
                                                "), want it as the manifest lists it; the store's copy is not whole: "
                                                "have it copied there anew, or published under the next version"));
      }
      if (!MayPass(status) || failures >= options_.attempts) {
        return WithContext(absl::StrCat("handle '", manifest_.handle.ToString(), "' from '", store_.url(), "'"),
                           status);
      }
      RETURN_IF_ERROR(PauseAfter(failures, options_));
    }
    if (ftruncate(fd, static_cast<off_t>(file.bytes)) != 0) return ErrnoStatus(errno, "cut", part);
    if (fsync(fd) != 0) return ErrnoStatus(errno, "fsync", part);
    return absl::OkStatus();
  }

  /// `have` is where the file ends after that; a store that began anew takes it back.
  absl::Status Write(const ModuleFile& file, const std::string& part, int fd, uint64_t at, absl::string_view bytes,
                     uint64_t* have) {
    if (at > *have || bytes.size() > file.bytes - at) {
      return absl::DataLossError(absl::StrCat("file '", file.path, "': got bytes from ", at, " to ", at + bytes.size(),
                                              ", want ", file.bytes,
                                              " in all, in order; the store's copy was changed"));
    }
    if (IsCancelled(options_)) return Interrupted();
    for (absl::string_view rest = bytes; !rest.empty();) {
      const off_t to = static_cast<off_t>(at + (bytes.size() - rest.size()));
      const ssize_t wrote = pwrite(fd, rest.data(), rest.size(), to);
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote < 0) return ErrnoStatus(errno, "write", part);
      rest.remove_prefix(static_cast<size_t>(wrote));
    }
    const uint64_t end = at + bytes.size();
    if (end > *have) Progress(end - *have);
    *have = std::max(*have, end);
    return absl::OkStatus();
  }

  absl::Status CheckModel() const {
    WeightStore weights;
    ASSIGN_OR_RETURN(const Package package, LoadPackage(manifest_.handle.Model(), folder_.string(), weights));
    if (package.digest == manifest_.digest) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat("handle '", manifest_.handle.ToString(), "' from '", store_.url(),
                                            "': got digest ", package.digest.Hex(), ", want ", manifest_.digest.Hex(),
                                            " as its manifest says; do not use it, and tell its publisher"));
  }

  void Progress(uint64_t bytes) {
    done_ += bytes;
    if (options_.progress) options_.progress(manifest_.handle.ToString(), done_, manifest_.bytes());
  }

  const Options& options_;
  Store& store_;
  const Manifest manifest_;
  const fs::path folder_;
  uint64_t done_ = 0;
};

absl::StatusOr<std::string> HubCache::DefaultFolder() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && *cache == '/') return absl::StrCat(cache, "/portico/hub");
  const char* home = std::getenv("HOME");
  if (home != nullptr && *home == '/') return absl::StrCat(home, "/.cache/portico/hub");
  return absl::FailedPreconditionError(
      "cache: got neither HOME nor XDG_CACHE_HOME, want a folder for downloaded modules; set XDG_CACHE_HOME");
}

absl::StatusOr<HubCache> HubCache::Open(Options options) {
  if (options.folder.empty()) {
    ASSIGN_OR_RETURN(options.folder, DefaultFolder());
  }
  std::error_code error;
  options.folder = fs::absolute(options.folder, error).lexically_normal().string();
  while (options.folder.size() > 1 && options.folder.back() == '/') options.folder.pop_back();
  HubCache cache(std::move(options));
  if (const absl::Status made = MakeFolders(cache.modules()); !made.ok()) {
    return absl::Status(made.code(), absl::StrCat("cache '", cache.options_.folder, "': ", made.message(),
                                                  "; name a folder that you may write in (--cache, XDG_CACHE_HOME)"));
  }
  return cache;
}

std::string HubCache::LockPath(const Handle& handle) const {
  return absl::StrCat(options_.folder, "/locks/", handle.publisher, "--", handle.name, "--", handle.version);
}

absl::StatusOr<Manifest> HubCache::ReadCached(const Handle& handle) const {
  const fs::path folder = ModuleFolder(modules(), handle);
  ASSIGN_OR_RETURN(const std::string text, ReadFile((folder / kManifestFile).string(), Manifest::kMaxBytes));
  ASSIGN_OR_RETURN(Manifest manifest, ParseManifest(text));
  if (manifest.handle != handle) return absl::DataLossError("got the manifest of another module");
  return manifest;
}

absl::Status HubCache::Check(const Manifest& manifest) {
  const fs::path folder = ModuleFolder(modules(), manifest.handle);
  uint64_t done = 0;
  const uint64_t all = manifest.bytes();
  for (const ModuleFile& file : manifest.files) {
    RETURN_IF_ERROR(CheckFile((folder / file.path).string(), file, [&](uint64_t bytes) {
      done += bytes;
      if (options_.progress) options_.progress(absl::StrCat("checking ", manifest.handle.ToString()), done, all);
    }));
  }
  return absl::OkStatus();
}

/// The module's lock, which is waited for.
absl::StatusOr<FileLock> HubCache::Lock(const Handle& handle) const {
  const auto say = [&] { Say(absl::StrCat("waiting for another process that is pulling ", handle.ToString())); };
  if (!options_.cancelled) return FileLock::Take(LockPath(handle), say);
  for (bool said = false;; said = true) {
    ASSIGN_OR_RETURN(std::optional<FileLock> lock, FileLock::TryTake(LockPath(handle)));
    if (lock.has_value()) return *std::move(lock);
    if (!said) say();
    if (IsCancelled(options_)) return Interrupted();
    absl::SleepFor(kLookPeriod);
  }
}

absl::StatusOr<HubCache::Pulled> HubCache::Pull(Store& store, const Handle& handle) {
  const std::string name = handle.ToString();
  ASSIGN_OR_RETURN(const FileLock lock, Lock(handle));
  const fs::path place = ModuleFolder(modules(), handle);
  Pulled pulled;
  pulled.folder = place.string();
  std::error_code error;
  // What the handle means here, also where a file of it is damaged.
  absl::StatusOr<Manifest> here = absl::NotFoundError("");
  bool whole = false;
  if (fs::exists(fs::symlink_status(place, error))) {
    here = ReadCached(handle);
    const absl::Status status = here.ok() ? Check(*here) : here.status();
    whole = status.ok();
    if (!whole) Say(absl::StrCat(name, " in '", place.string(), "' is damaged and is pulled anew: ", status.message()));
  }
  std::vector<std::string> origins = ReadOrigins(place);
  const std::string origin = OriginOf(store);
  if (whole && absl::c_linear_search(origins, origin)) {
    pulled.manifest = *std::move(here);
    pulled.was_there = true;
    return pulled;
  }
  absl::StatusOr<std::string> text = ReadManifestText(store, handle);
  // What is here would do: a store that is down is not waited for.
  for (int failures = 1; failures < (whole ? 1 : options_.attempts) && MayPass(text.status()); ++failures) {
    RETURN_IF_ERROR(PauseAfter(failures, options_));
    text = ReadManifestText(store, handle);
  }
  if (whole && MayPass(text.status())) {
    Say(absl::StrCat(name, " is taken from the cache as it came from '",
                     origins.empty() ? "elsewhere" : origins.front(), "': '", store.url(),
                     "', which has not been compared with that yet, does not answer: ", text.status().message()));
    pulled.manifest = *std::move(here);
    pulled.was_there = true;
    return pulled;
  }
  if (!text.ok()) return text.status();
  ASSIGN_OR_RETURN(pulled.manifest, ParseManifestOf(store, handle, *text));
  if (here.ok() && (here->digest != pulled.manifest.digest || here->files != pulled.manifest.files)) {
    return absl::FailedPreconditionError(
        absl::StrCat("handle '", name, "': got digest ", pulled.manifest.digest.Hex(), " from '", store.url(),
                     "', want ", here->digest.Hex(), ", as it is in the cache from '",
                     origins.empty() ? "elsewhere" : absl::StrJoin(origins, "', '"),
                     "'; a handle means one content: have one of them published under another handle, or keep them "
                     "apart with another cache (--cache, XDG_CACHE_HOME)"));
  }
  if (whole) {
    origins.push_back(origin);
    if (const absl::Status status = WriteOrigins(place, std::move(origins)); !status.ok()) {
      Say(absl::StrCat(name, ": that '", store.url(), "' has the same is not kept: ", status.message()));
    }
    pulled.was_there = true;
    return pulled;
  }
  const fs::path partial = ModuleFolder(this->partial(), handle);
  RETURN_IF_ERROR(Download(options_, store, pulled.manifest, partial).Run(*text));
  RETURN_IF_ERROR(RemoveAll(place));
  RETURN_IF_ERROR(PutInPlace(partial, place));
  return pulled;
}

}  // namespace portico
