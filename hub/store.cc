#include "hub/store.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "base/edit_distance.h"
#include "base/status_macros.h"
#include "hub/http_store.h"
#include "hub/local_store.h"
#include "hub/s3_store.h"

namespace portico {
absl::StatusOr<std::unique_ptr<Store>> OpenStore(const std::string& url, const StoreOptions& options) {
  if (url.empty()) {
    return absl::InvalidArgumentError(
        "store: got none, want --store FOLDER, http://HOST:PORT/PATH or s3://BUCKET/PREFIX, or PORTICO_HUB set to one");
  }
  if (absl::StartsWith(url, "http://") || absl::StartsWith(url, "https://")) return NewHttpStore(url, options);
  if (absl::StartsWith(url, "s3://")) return NewS3Store(url, options);
  ASSIGN_OR_RETURN(const std::string folder, StoreFolder(url));
  return NewLocalStore(folder);
}

absl::StatusOr<std::string> StoreFolder(absl::string_view url) {
  absl::string_view path = url;
  if (absl::ConsumePrefix(&path, "file://") && !absl::StartsWith(path, "/")) {
    return absl::InvalidArgumentError(
        absl::StrCat("store '", url, "': got a relative path behind file://, want file:///ABSOLUTE/PATH"));
  }
  if (absl::StrContains(path, "://")) {
    return absl::InvalidArgumentError(absl::StrCat(
        "store '", url, "': got a scheme that is not known, want a folder, file://, http://, https:// or s3://"));
  }
  return std::string(path);
}

absl::StatusOr<std::string> ReadManifestText(Store& store, const Handle& handle) {
  std::string text;
  const absl::Status status = store.Read(handle, kManifestFile, 0, [&](uint64_t, absl::string_view bytes) {
    if (bytes.size() > Manifest::kMaxBytes - text.size()) {
      return absl::InvalidArgumentError(absl::StrCat("manifest of '", handle.ToString(), "' in '", store.url(),
                                                     "': got more than ", Manifest::kMaxBytes,
                                                     " bytes, want at most that"));
    }
    text.append(bytes.data(), bytes.size());
    return absl::OkStatus();
  });
  if (status.ok()) return text;
  if (!absl::IsNotFound(status)) return status;
  const absl::StatusOr<std::vector<ModuleEntry>> entries = store.List();
  return absl::NotFoundError(
      absl::StrCat("handle '", handle.ToString(), "': not in '", store.url(), "'",
                   entries.ok() ? NearestModules(handle, *entries) : absl::StrCat("; ", status.message())));
}

absl::StatusOr<Manifest> ReadManifest(Store& store, const Handle& handle) {
  ASSIGN_OR_RETURN(const std::string text, ReadManifestText(store, handle));
  return ParseManifestOf(store, handle, text);
}

absl::StatusOr<Manifest> ParseManifestOf(const Store& store, const Handle& handle, absl::string_view text) {
  absl::StatusOr<Manifest> manifest = ParseManifest(text);
  const std::string subject = absl::StrCat("handle '", handle.ToString(), "' in '", store.url(), "'");
  if (!manifest.ok()) {
    return absl::Status(manifest.status().code(),
                        absl::StrCat(subject, ": ", manifest.status().message(),
                                     "; the store's copy is damaged: have it copied there anew, or published under the "
                                     "next version"));
  }
  if (manifest->handle == handle) return manifest;
  return absl::InvalidArgumentError(absl::StrCat(subject, ": got the manifest of '", manifest->handle.ToString(),
                                                 "', want its own; publish it again under its handle"));
}

std::string NearestModules(const Handle& handle, const std::vector<ModuleEntry>& entries) {
  if (entries.empty()) return ", which has no modules; 'portico hub publish' puts one there";
  std::vector<int64_t> versions;
  const Handle* nearest = nullptr;
  size_t least = Handle::kMaxPartBytes * 2;
  for (const ModuleEntry& entry : entries) {
    if (entry.handle.Model() == handle.Model()) versions.push_back(entry.handle.version);
    const size_t distance = EditDistance(entry.handle.Model(), handle.Model());
    if (distance <= least) nearest = &entry.handle;  // Of equal ones the highest version.
    least = std::min(least, distance);
  }
  if (!versions.empty()) {
    return absl::StrCat(", which has ", versions.size() == 1 ? "version " : "versions ", absl::StrJoin(versions, ", "),
                        " of it; name one of them");
  }
  const size_t near = handle.Model().size() / 3 + 1;
  if (nearest != nullptr && least <= near) {
    return absl::StrCat("; '", nearest->ToString(), "' is, if that was meant");
  }
  return absl::StrCat("; 'portico hub list' shows the ", entries.size(), " that are");
}

}  // namespace portico
