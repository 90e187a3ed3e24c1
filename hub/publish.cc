#include "hub/publish.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "base/file.h"
#include "base/file_lock.h"
#include "base/status_macros.h"
#include "base/sync_folder.h"
#include "hub/local_store.h"
#include "hub/nested_modules.h"
#include "hub/package_files.h"
#include "hub/signature_difference.h"
#include "hub/sweep.h"
#include "models/graph/graph_plan.h"
#include "models/graph/portal_spec.h"
#include "models/package/package.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

absl::Status Refused(const Publication& publication, absl::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat("source '", publication.source, "': ", message));
}

/// The version folder that `source` means, or the model file.
absl::StatusOr<fs::path> FindSource(const Publication& publication) {
  const fs::path source = publication.source;
  std::error_code error;
  if (fs::is_regular_file(source, error) || fs::is_regular_file(source / "model.onnx", error)) return source;
  if (!fs::is_directory(source, error)) {
    return absl::NotFoundError(absl::StrCat("source '", publication.source,
                                            "': got nothing there, want a model file, a version folder with a "
                                            "model.onnx, or a folder of version folders"));
  }
  ASSIGN_OR_RETURN(const std::vector<VersionFolder> versions, ListVersions(source.string()));
  for (const VersionFolder& version : versions) {
    if (version.version == publication.handle.version || versions.size() == 1) return fs::path(version.folder);
  }
  if (versions.empty()) {
    return Refused(publication,
                   "got neither model.onnx nor version folders, want those of one package, as 'portico split --out "
                   "PACKAGES' writes them; name PACKAGES/NAME or PACKAGES/NAME/VERSION");
  }
  return Refused(
      publication,
      absl::StrCat("got version folders ",
                   absl::StrJoin(versions, ", ",
                                 [](std::string* out, const VersionFolder& one) { absl::StrAppend(out, one.version); }),
                   ", and none is the handle's ", publication.handle.version, ", want one; name its folder"));
}

absl::StatusOr<std::vector<PackageFile>> FindFiles(const Publication& publication, const fs::path& source) {
  std::vector<PackageFile> sources;
  std::error_code error;
  if (fs::is_directory(source, error)) {
    ASSIGN_OR_RETURN(sources, ListPackageFiles(source));
  } else {
    sources.push_back({source, "model.onnx"});
  }
  for (const std::string& asset : publication.assets) {
    if (!fs::is_regular_file(asset, error)) {
      return absl::InvalidArgumentError(absl::StrCat("asset '", asset, "': got ",
                                                     fs::exists(asset, error) ? "no plain file" : "nothing there",
                                                     ", want a file; mend its path"));
    }
    const std::string path = absl::StrCat("assets/", fs::path(asset).filename().string());
    RETURN_IF_ERROR(CheckModulePath(path));
    for (const PackageFile& other : sources) {
      if (other.path != path) continue;
      return absl::InvalidArgumentError(absl::StrCat("asset '", asset, "': got a second '", path, "', from '",
                                                     other.from.string(), "', want it once; rename one"));
    }
    sources.push_back({asset, path});
  }
  std::sort(sources.begin(), sources.end(), [](const PackageFile& a, const PackageFile& b) { return a.path < b.path; });
  return sources;
}

/// Copies into `folder`, and syncs all that is in it.
absl::Status Copy(const std::vector<PackageFile>& sources, const fs::path& folder, const PublishProgress& progress,
                  Manifest* manifest) {
  std::error_code error;
  uint64_t all = 0;
  for (const PackageFile& source : sources) {
    const uint64_t bytes = fs::file_size(source.from, error);
    if (!error) all += bytes;  // What is wrong with it is said when it is read.
  }
  uint64_t done = 0;
  const OnBytes on_bytes = [&](uint64_t bytes) {
    done += bytes;
    if (progress) progress(done, std::max(done, all));
  };
  ASSIGN_OR_RETURN(manifest->files, CopyPackageFiles(sources, folder, on_bytes));
  return absl::OkStatus();
}

/// What the package in `folder` says of itself.
absl::Status Describe(const fs::path& folder, Manifest* manifest) {
  WeightStore weights;
  ASSIGN_OR_RETURN(const Package package, LoadPackage(manifest->handle.Model(), folder.string(), weights));
  manifest->digest = package.digest;
  manifest->signatures = package.signatures;
  manifest->provenance = ReadProvenance(package.model);
  for (const Signature& signature : package.signatures) {
    ASSIGN_OR_RETURN(const GraphPlan plan, Partition(package.model, signature));
    for (const PlanStep& step : plan.steps) {
      if (step.portal == nullptr) continue;
      for (PortalTarget& target : PortalTargets(*step.portal)) {
        const auto same = [&](const PortalTarget& one) {
          return one.name == target.name && one.digest == target.digest;
        };
        if (std::none_of(manifest->portals.begin(), manifest->portals.end(), same)) {
          manifest->portals.push_back(std::move(target));
        }
      }
    }
  }
  return absl::OkStatus();
}

/// The first file but the model itself that is not the same in both; its digest says of the model whether it is.
std::string OtherFile(const Manifest& a, const Manifest& b) {
  for (const auto& [one, other] : {std::pair(&a, &b), std::pair(&b, &a)}) {
    for (const ModuleFile& file : one->files) {
      const ModuleFile* found = other->FindFile(file.path);
      if (file.path != "model.onnx" && (found == nullptr || *found != file)) return file.path;
    }
  }
  return "";
}

/// ALREADY_EXISTS unless `now` is what `before`, of the same handle, says.
absl::Status CheckSame(const Manifest& before, const Manifest& now, const std::vector<Handle>& handles) {
  int64_t next = 1;
  for (const Handle& handle : handles) {
    if (handle.Model() == now.handle.Model()) next = std::max(next, handle.version + 1);
  }
  const auto refuse = [&](absl::string_view got, absl::string_view want) {
    return absl::AlreadyExistsError(
        absl::StrCat("handle '", now.handle.ToString(), "': got ", got, ", want ", want, ", as it was published at ",
                     absl::FormatTime("%Y-%m-%d %H:%M UTC", before.published, absl::UTCTimeZone()),
                     "; what a handle means never changes: publish this as '", now.handle.Model(), "/", next, "'"));
  };
  if (before.digest != now.digest) {
    return refuse(absl::StrCat("digest ", now.digest.Hex()), absl::StrCat("digest ", before.digest.Hex()));
  }
  const std::vector<std::string> lines = SignatureDifferences(before.signatures, now.signatures);
  if (!lines.empty()) return refuse("other signatures", absl::StrCat("the same (", absl::StrJoin(lines, "; "), ")"));
  if (const std::string file = OtherFile(before, now); !file.empty()) {
    return refuse(absl::StrCat("the same model with another file '", file, "'"), "the same files");
  }
  if (!now.family.empty() && now.family != before.family) {
    return refuse(absl::StrCat("family '", now.family, "'"),
                  before.family.empty() ? "none" : absl::StrCat("'", before.family, "'"));
  }
  return absl::OkStatus();
}

absl::Status CheckFamily(const std::vector<Manifest>& modules, const Manifest& now) {
  if (now.family.empty()) return absl::OkStatus();
  for (const Manifest& member : modules) {
    if (member.family != now.family) continue;
    const std::vector<std::string> lines = SignatureDifferences(member.signatures, now.signatures);
    if (lines.empty()) return absl::OkStatus();  // All members are alike.
    return absl::FailedPreconditionError(
        absl::StrCat("handle '", now.handle.ToString(), "': got signatures that are not those of family '", now.family,
                     "', want them as '", member.handle.ToString(),
                     "' has them, so that one stands in for another:\n  ", absl::StrJoin(lines, "\n  "),
                     "\nadapt the model's signatures (servable.yaml), or publish it under another "
                     "--family"));
  }
  return absl::OkStatus();
}

/// What `now` calls by digest and none of `modules` is.
std::vector<PortalTarget> Missing(const Manifest& now, const std::vector<Manifest>& modules) {
  std::vector<ModuleEntry> entries;
  for (const Manifest& module : modules) entries.push_back(EntryOf(module));
  std::vector<PortalTarget> missing;
  for (const PortalTarget& target : now.portals) {
    if (!target.digest.empty() && FindCalled(target, entries) == nullptr) missing.push_back(target);
  }
  return missing;
}

/// Renames `from` to the module's folder.
absl::Status PutInPlace(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::create_directories(to.parent_path(), error);
  if (error) return ErrnoStatus(error.value(), "make", to.parent_path().string());
  if (rename(from.c_str(), to.c_str()) != 0) return ErrnoStatus(errno, "renaming to", to.string());
  RETURN_IF_ERROR(SyncFolder(to.parent_path().string()));
  RETURN_IF_ERROR(SyncFolder(to.parent_path().parent_path().string()));
  return SyncFolder(to.parent_path().parent_path().parent_path().string());
}

}  // namespace

absl::StatusOr<PublishResult> Publish(const std::string& root, const Publication& publication, const Clock& clock,
                                      const PublishProgress& progress) {
  if (!publication.family.empty()) RETURN_IF_ERROR(CheckFamilyName(publication.family));
  for (const auto& [what, text] :
       {std::pair("description", &publication.description), std::pair("license", &publication.license)}) {
    if (text->size() <= Manifest::kMaxTextBytes) continue;
    return absl::InvalidArgumentError(absl::StrCat(what, ": got ", text->size(), " bytes, want at most ",
                                                   Manifest::kMaxTextBytes, "; shorten it or publish it as an asset"));
  }
  ASSIGN_OR_RETURN(const fs::path source, FindSource(publication));
  ASSIGN_OR_RETURN(const std::vector<PackageFile> sources, FindFiles(publication, source));
  ASSIGN_OR_RETURN(const std::string store_folder, StoreFolder(root));
  std::error_code error;
  fs::create_directories(store_folder, error);
  if (error || !fs::is_directory(store_folder, error)) {
    const std::string why = error ? error.message() : "it is a file";
    return absl::InvalidArgumentError(
        absl::StrCat("store '", root, "': got no folder and can't make one (", why,
                     "), want a folder that you may write in; name another with --store"));
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<Store> store, NewLocalStore(store_folder));
  ASSIGN_OR_RETURN(const FileLock lock, FileLock::Take(StoreLockPath(store->url())));

  ASSIGN_OR_RETURN(const std::string staging, MakeUniqueFolder(absl::StrCat(store->url(), "/", kStagingPrefix)));
  absl::Cleanup remove = [&] { fs::remove_all(staging, error); };
  const fs::path folder = fs::path(staging) / absl::StrCat(publication.handle.version);
  fs::create_directory(folder, error);
  if (error) return ErrnoStatus(error.value(), "make", folder.string());

  PublishResult result;
  Manifest& manifest = result.manifest;
  manifest.handle = publication.handle;
  manifest.family = publication.family;
  manifest.description = publication.description;
  manifest.license = publication.license;
  manifest.tool = publication.tool;
  manifest.published = absl::FromUnixSeconds(absl::ToUnixSeconds(clock.Now()));
  RETURN_IF_ERROR(Copy(sources, folder, progress, &manifest));
  if (const absl::Status status = Describe(folder, &manifest); !status.ok()) {
    const std::string message(status.message());
    const fs::path model = fs::is_regular_file(source, error) ? source : source / "model.onnx";
    return absl::Status(status.code(), absl::StrReplaceAll(message, {{(folder / "model.onnx").string(), model.string()},
                                                                     {folder.string(), source.string()}}));
  }

  const fs::path place = ModuleFolder(store->url(), publication.handle);
  result.folder = place.string();
  ASSIGN_OR_RETURN(const std::vector<Handle> handles, ListFolders(store->url()));
  ASSIGN_OR_RETURN(FolderModules listed, ReadModules(store->url()));
  for (const auto& [handle, why] : listed.unreadable) result.unlisted.emplace_back(why.message());
  result.missing = Missing(manifest, listed.modules);
  if (std::find(handles.begin(), handles.end(), publication.handle) != handles.end()) {
    ASSIGN_OR_RETURN(const Manifest before, ReadManifest(*store, publication.handle));
    RETURN_IF_ERROR(CheckSame(before, manifest, handles));
    manifest = before;
    result.was_there = true;
    // Whoever published it may have been killed before it was listed.
    RETURN_IF_ERROR(WriteIndex(store->url(), listed.modules));
    return result;
  }
  if (fs::exists(fs::symlink_status(place, error))) {
    return absl::AlreadyExistsError(
        absl::StrCat("folder '", place.string(), "': got something without a ", kManifestFile,
                     ", which nobody published, want no such folder; move it away and publish it from there"));
  }
  RETURN_IF_ERROR(CheckFamily(listed.modules, manifest));
  const std::string text = FormatManifest(manifest);
  if (const absl::Status status = ParseManifest(text).status(); !status.ok()) {
    return WithContext(absl::StrCat("source '", publication.source, "'"), status);
  }
  RETURN_IF_ERROR(WriteFileAtomically((folder / kManifestFile).string(), text));
  RETURN_IF_ERROR(PutInPlace(folder, place));
  listed.modules.push_back(manifest);
  RETURN_IF_ERROR(WriteIndex(store->url(), listed.modules));
  return result;
}

}  // namespace portico
