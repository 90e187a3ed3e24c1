#include "deploy/table_defaults.h"

#include <cmath>
#include <memory>
#include <set>
#include <string>

#include "absl/algorithm/container.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "embedding/shard_file.h"
#include "embedding/shard_map.h"
#include "embedding/table_group.h"
#include "models/package/shard_package.h"

namespace portico {
namespace {

/// Of all versions that are served; all shards have the same.
absl::StatusOr<std::set<std::string>> TableNames(const Revision& revision, const Revision::Table& table) {
  std::set<std::string> names;
  const Revision::Model* const shard = revision.FindModel(ShardName(table.name, 0, table.shards));
  for (const int64_t version : shard->versions.versions) {
    const std::string folder = VersionFolderOf(table.path, 0, table.shards, version);
    ASSIGN_OR_RETURN(const TableLookupSpec package, ReadShardPackage(folder));
    ASSIGN_OR_RETURN(const std::string path, ShardPath(folder, package));
    ASSIGN_OR_RETURN(const std::unique_ptr<ShardFile> file, ShardFile::Open(path));
    for (const auto& one : file->tables()) names.insert(one->spec().name);
  }
  return names;
}

absl::Status CheckDefaults(const Revision& revision, const Revision::Table& table, const YamlNode& defaults,
                           const std::string& subject) {
  const absl::StatusOr<std::set<std::string>> names = TableNames(revision, table);
  if (!names.ok()) return defaults.Error(absl::StrCat(subject, ": ", names.status().message()));
  for (const YamlEntry& entry : defaults.entries()) {
    if (names->count(entry.key) == 0) {
      return entry.value.Error(absl::StrCat(subject, ": got '", entry.key, "', which is no table of '", table.name,
                                            "', want one of ", absl::StrJoin(*names, ", "), "; mend the name"));
    }
    ASSIGN_OR_RETURN(const std::string text, entry.value.Text(absl::StrCat(subject, ": ", entry.key)));
    float number = 0;
    if (!absl::SimpleAtof(text, &number) || !std::isfinite(number)) {
      return entry.value.Error(absl::StrCat(subject, ": ", entry.key, ": got '", text,
                                            "', want a finite number that a float32 holds, such as 0 or 0.5"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckTablePolicy(const Revision& revision, const Revision::Table& table, const YamlNode& policy,
                              absl::string_view subject) {
  const YamlNode* const on_error = policy.Find("on_error");
  // What 'default' says is for targets of all kinds.
  if (on_error == nullptr) return absl::OkStatus();
  const std::string own = absl::StrCat(subject, ": on_error: ");
  if (const YamlNode* defaults = on_error->Find("defaults"))
    RETURN_IF_ERROR(CheckDefaults(revision, table, *defaults, absl::StrCat(own, "defaults")));
  const YamlNode* const last_known = on_error->Find("last_known");
  const YamlNode* const max_mib = last_known == nullptr ? nullptr : last_known->Find("max_mib");
  if (max_mib == nullptr) return absl::OkStatus();
  return max_mib->Error(absl::StrCat(own,
                                     "last_known: got max_mib for tables, want max_age alone: rows that are kept "
                                     "stand in, as many as the cache_mib of '",
                                     table.name, "' in 'tables' says"));
}

}  // namespace portico
