#include "deploy/mesh_tables.h"

#include <algorithm>
#include <set>
#include <system_error>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "embedding/group_shards.h"
#include "embedding/shard_file.h"
#include "embedding/shard_map.h"
#include "embedding/table_group.h"
#include "models/package/shard_package.h"
#include "router/revision_model.h"
#include "router/revision_table.h"

namespace portico {
namespace {

/// Versions that every shard of the group has: of one that is just being written some shards have none yet.
absl::StatusOr<std::vector<int64_t>> CommonVersions(const Revision::Table& table) {
  ASSIGN_OR_RETURN(std::vector<int64_t> common, WholeVersions(table.path, table.shards));
  if (!common.empty()) return common;
  return absl::NotFoundError(absl::StrCat("path: got '", table.path, "' without a version that all ", table.shards,
                                          " shards have, want one such as '", ShardPathOf(table.path, 0, table.shards),
                                          "/1' of each"));
}

/// Whether what lies in a shard's version folder is that shard: dense ids are rows of it, so that another one would
/// answer with other rows.
absl::Status CheckShard(const std::string& folder, uint32_t shard, uint32_t shards) {
  ASSIGN_OR_RETURN(const TableLookupSpec package, ReadShardPackage(folder));
  ASSIGN_OR_RETURN(const std::string path, ShardPath(folder, package));
  ASSIGN_OR_RETURN(const std::unique_ptr<ShardFile> file, ShardFile::Open(path));
  if (file->layout().shard == shard && file->layout().shards == shards) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("shard file '", path, "': got shard ", file->layout().shard, " of ",
                                                    file->layout().shards, ", want ", shard, " of ", shards,
                                                    "; put the right one there"));
}

}  // namespace

absl::Status ReadTableGroup(const std::string& name, const YamlNode& from, const std::filesystem::path& folder,
                            Revision* revision) {
  const std::string subject = absl::StrCat("tables '", name, "'");
  RETURN_IF_ERROR(from.CheckMap(subject, {"path", "versions", "cache_mib"}));
  if (revision->FindModel(name) != nullptr || revision->FindExternal(name) != nullptr) {
    return from.Error(
        absl::StrCat(subject, ": got the name of a model or an external, want one of its own; rename it"));
  }
  const YamlNode* path = from.Find("path");
  if (path == nullptr) {
    return from.Error(
        absl::StrCat(subject, ": got no 'path', want the folder with the shards' folders; add {path: FOLDER}"));
  }
  ASSIGN_OR_RETURN(const std::string text, path->Text(absl::StrCat(subject, ": path")));
  std::error_code error;
  const auto absolute = std::filesystem::absolute(folder / text, error).lexically_normal();
  if (error || !std::filesystem::is_directory(absolute, error)) {
    return path->Error(absl::StrCat(subject, ": path: got '", text,
                                    "', which is no folder, want the folder with the shards' folders (",
                                    absolute.string(), "/0of2/1/model.onnx); relative paths start at the mesh file"));
  }
  Revision::Table table;
  table.name = name;
  table.path = absolute.string();
  const absl::StatusOr<uint32_t> shards = ServingShards(table.path);
  if (!shards.ok()) return path->Error(absl::StrCat(subject, ": path: ", shards.status().message()));
  table.shards = *shards;
  RETURN_IF_ERROR(ReadCacheSize(from, subject, &table));
  Revision::Model model;
  RETURN_IF_ERROR(ReadServedVersions(from, subject, &model));
  const absl::StatusOr<std::vector<int64_t>> common = CommonVersions(table);
  if (!common.ok()) return path->Error(absl::StrCat(subject, ": ", common.status().message()));
  const std::set<int64_t> served = ChooseVersions(model.versions, *common);
  if (served.empty()) {
    return from.Error(absl::StrCat(subject, ": versions: got none that all ", table.shards,
                                   " shards have, want one of ", absl::StrJoin(*common, ", ")));
  }
  model.versions = VersionPolicy();
  model.versions.kind = VersionPolicy::Kind::kSpecific;
  model.versions.versions.assign(served.begin(), served.end());
  for (uint32_t shard = 0; shard < table.shards; ++shard) {
    model.name = ShardName(name, shard, table.shards);
    if (revision->FindModel(model.name) != nullptr || revision->FindExternal(model.name) != nullptr ||
        revision->FindTable(model.name) != nullptr) {
      return from.Error(absl::StrCat(subject, ": got a shard '", model.name,
                                     "', which is a model, an external or tables, too; rename that"));
    }
    model.path = ShardPathOf(table.path, shard, table.shards);
    for (const int64_t version : served) {
      const absl::Status is_it = CheckShard(absl::StrCat(model.path, "/", version), shard, table.shards);
      if (!is_it.ok()) return path->Error(absl::StrCat(subject, ": path: ", is_it.message()));
    }
    revision->models.push_back(model);
  }
  revision->tables.push_back(std::move(table));
  return absl::OkStatus();
}

std::vector<std::string> ServedNames(const Revision& revision, const std::string& name) {
  const Revision::Table* table = revision.FindTable(name);
  if (table == nullptr) return {name};
  std::vector<std::string> names;
  for (uint32_t shard = 0; shard < table->shards; ++shard) names.push_back(ShardName(name, shard, table->shards));
  return names;
}

const Revision::Table* GroupOf(const Revision& revision, absl::string_view model) {
  for (const Revision::Table& table : revision.tables) {
    if (!absl::StartsWith(model, absl::StrCat(table.name, "."))) continue;
    if (absl::c_linear_search(ServedNames(revision, table.name), model)) return &table;
  }
  return nullptr;
}

void SpreadPolicies(Revision* revision) {
  for (const Revision::Table& table : revision->tables) {
    const auto policy = revision->policies.find(table.name);
    if (policy == revision->policies.end()) continue;
    for (std::string& shard : ServedNames(*revision, table.name)) {
      revision->policies.emplace(std::move(shard), policy->second);
    }
  }
}

absl::Status CheckServed(const Revision& revision, const YamlNode& tables) {
  for (const Revision::Table& table : revision.tables) {
    for (const std::string& shard : ServedNames(revision, table.name)) {
      if (absl::c_any_of(revision.nodes,
                         [&](const Revision::Node& node) { return absl::c_linear_search(node.serve, shard); })) {
        continue;
      }
      return tables.Find(table.name)
          ->Error(absl::StrCat("tables '", table.name, "': got shard '", shard, "', which no node serves; add it, or '",
                               table.name, "' for all of them, to the 'serve' of a node"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckTablesOf(const PortalSpec& portal, const std::string& folder) {
  ASSIGN_OR_RETURN(const TableLookupSpec package, ReadShardPackage(folder));
  const Digest& source = portal.embedding->source;
  if (!source.empty() && !package.source.empty() && source != package.source) {
    return absl::FailedPreconditionError(absl::StrCat(
        "got tables '", portal.target, "' in version ", std::filesystem::path(folder).filename().string(),
        ", which were taken out of model ", package.source.Short(), ", want those of model ", source.Short(),
        ", as this version's are: its answers would be wrong; serve the versions of one split (a 'portico split' that "
        "was killed goes on when it is run again; 'versions' of models and tables say which), or split models into "
        "groups of their own"));
  }
  ASSIGN_OR_RETURN(const std::string path, ShardPath(folder, package));
  ASSIGN_OR_RETURN(const std::unique_ptr<ShardFile> file, ShardFile::Open(path));
  for (const EmbeddingSpec::Lookup& lookup : portal.embedding->lookups) {
    const auto bad = [&](const auto&... what) {
      return absl::InvalidArgumentError(
          absl::StrCat("got ", what..., "; use the tables that were split off this model"));
    };
    const EmbeddingTable* table = file->Find(lookup.table);
    if (table == nullptr) {
      return bad(
          "table '", lookup.table, "', want one of tables '", portal.target, "' (",
          absl::StrJoin(file->tables(), ", ", [](std::string* out, const auto& one) { out->append(one->spec().name); }),
          ")");
    }
    if (table->spec().dim != lookup.dim) {
      return bad(lookup.dim, " numbers a row of table '", lookup.table, "', want ", table->spec().dim,
                 " as it has in tables '", portal.target, "'");
    }
    if (table->spec().id_kind != lookup.id_kind) {
      return bad(IdKindName(lookup.id_kind), " ids of table '", lookup.table, "', want ",
                 IdKindName(table->spec().id_kind), " as it has in tables '", portal.target, "'");
    }
  }
  return absl::OkStatus();
}

std::string LookAtGroup(const Revision::Table& table) {
  const absl::StatusOr<uint32_t> shards = ServingShards(table.path);
  return absl::StrCat("\n", table.name, " ", shards.ok() ? absl::StrCat(*shards) : shards.status().message());
}

}  // namespace portico
