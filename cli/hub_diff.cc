#include "cli/hub_diff.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/byte_text.h"
#include "base/status_macros.h"
#include "cli/terminal_text.h"
#include "hub/hashed_file.h"
#include "hub/local_store.h"
#include "hub/module_difference.h"
#include "hub/signature_difference.h"
#include "models/package/package.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxWeights = 50;

/// One side: a package, and its files.
struct Side {
  std::string name;
  Package package;
  std::map<std::string, FileContent> files;
};

absl::StatusOr<std::string> FindFolder(const HubFlags& flags, const std::string& what) {
  const bool path = absl::StartsWith(what, "/") || absl::StartsWith(what, "./") || absl::StartsWith(what, "../");
  std::error_code error;
  const bool is_folder = fs::is_directory(what, error);
  if (path && is_folder) return what;
  if (path) {
    return absl::NotFoundError(absl::StrCat("package '", what, "': got ",
                                            fs::exists(what, error) ? "a file" : "nothing there",
                                            ", want a version folder, such as packages/digit/1; mend the path"));
  }
  const std::string hint = is_folder ? absl::StrCat("; for the folder of that name write './", what, "'") : "";
  const auto with_hint = [&](const absl::Status& status) {
    return absl::Status(status.code(), absl::StrCat(status.message(), hint));
  };
  const absl::StatusOr<Handle> parsed = ParseHandle(what);
  if (!parsed.ok()) return with_hint(parsed.status());
  const Handle& handle = *parsed;
  ASSIGN_OR_RETURN(const std::unique_ptr<Store> store, flags.OpenStore());
  if (const absl::Status known = ReadManifest(*store, handle).status(); !known.ok()) return with_hint(known);
  if (absl::StartsWith(store->url(), "/")) return ModuleFolder(store->url(), handle).string();
  ASSIGN_OR_RETURN(HubCache cache, flags.OpenCache());
  ASSIGN_OR_RETURN(const HubCache::Pulled pulled, cache.Pull(*store, handle));
  return pulled.folder;
}

absl::StatusOr<Side> ReadSide(const HubFlags& flags, const std::string& what, WeightStore& weights) {
  ASSIGN_OR_RETURN(const std::string folder, FindFolder(flags, what));
  ASSIGN_OR_RETURN(Package package, LoadPackage(what, folder, weights));
  Side side{what, std::move(package), {}};
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder, error); !error && entry != fs::recursive_directory_iterator();
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name[0] == '.' || name == kManifestFile || !entry->is_regular_file(error)) continue;
    ASSIGN_OR_RETURN(side.files[entry->path().lexically_relative(folder).string()], HashFile(entry->path().string()));
  }
  if (error) return absl::UnavailableError(absl::StrCat("list '", folder, "': ", error.message()));
  return side;
}

std::string FilesText(const Side& before, const Side& after) {
  std::string text;
  for (const auto& [path, content] : before.files) {
    const auto other = after.files.find(path);
    const std::string shown = ForTerminal(path);
    if (other == after.files.end()) {
      absl::StrAppend(&text, "  - ", shown, "  ", ByteText(content.bytes), "\n");
    } else if (other->second != content) {
      absl::StrAppend(&text, "  ~ ", shown, "  ", ByteText(content.bytes), " -> ", ByteText(other->second.bytes), "\n");
    }
  }
  for (const auto& [path, content] : after.files) {
    if (before.files.contains(path)) continue;
    absl::StrAppend(&text, "  + ", ForTerminal(path), "  ", ByteText(content.bytes), "\n");
  }
  return text;
}

std::string WeightsText(const WeightDifferences& differences) {
  std::string text;
  size_t shown = 0;
  for (const WeightDifference& one : differences.changed) {
    if (shown++ == kMaxWeights) {
      absl::StrAppend(&text, "  … and ", differences.changed.size() - kMaxWeights, " more\n");
      break;
    }
    const std::string name = ForTerminal(one.name);
    if (one.before.empty()) {
      absl::StrAppend(&text, "  + ", name, " ", one.after, "  ", ByteText(one.after_bytes), "\n");
    } else if (one.after.empty()) {
      absl::StrAppend(&text, "  - ", name, " ", one.before, "  ", ByteText(one.before_bytes), "\n");
    } else if (one.before != one.after) {
      absl::StrAppend(&text, "  ~ ", name, " ", one.before, " -> ", one.after, "\n");
    } else {
      absl::StrAppend(&text, "  ~ ", name, " ", one.before, "  ", one.different, " elements differ, by ",
                      absl::StrFormat("%.3g", one.max_absolute), " at most\n");
    }
  }
  return text;
}

}  // namespace

absl::Status RunHubDiff(const HubFlags& flags, const std::string& before, const std::string& after) {
  WeightStore weights;
  ASSIGN_OR_RETURN(const Side one, ReadSide(flags, before, weights));
  ASSIGN_OR_RETURN(const Side other, ReadSide(flags, after, weights));
  const bool same = one.package.digest == other.package.digest;
  std::string text =
      same ? absl::StrCat("digest ", one.package.digest.Short(), ": the same structure and weights\n")
           : absl::StrCat("digest ", one.package.digest.Short(), " -> ", other.package.digest.Short(), "\n");
  const std::vector<std::string> lines = SignatureDifferences(one.package.signatures, other.package.signatures);
  absl::StrAppend(&text, lines.empty() ? "signatures: the same, one can stand in for the other\n" : "signatures\n");
  for (const std::string& line : lines) absl::StrAppend(&text, "  ", ForTerminal(line), "\n");
  const WeightDifferences differences = CompareWeights(one.package.model, other.package.model);
  absl::StrAppend(&text, "weights: ", differences.same, " the same, ", differences.changed.size(), " not; ",
                  ByteText(one.package.model.weight_bytes()), " -> ", ByteText(other.package.model.weight_bytes()),
                  "\n", WeightsText(differences));
  const std::string files = FilesText(one, other);
  absl::StrAppend(&text, files.empty() ? "files: the same\n" : "files\n", files);
  std::fputs(text.c_str(), stdout);
  return absl::OkStatus();
}

}  // namespace portico
