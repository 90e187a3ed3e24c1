#include "router/revision_table.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "embedding/shard_map.h"
#include "router/yaml_node.h"
#include "yaml-cpp/yaml.h"

namespace portico {
namespace {

/// 1 TiB.
constexpr int64_t kMaxCacheMib = int64_t{1} << 20;

absl::StatusOr<Revision::Table> ReadTable(const YamlNode& from) {
  RETURN_IF_ERROR(from.CheckMap("table", {"name", "path", "shards", "cache_mib"}));
  for (const absl::string_view key : {"name", "path", "shards"}) {
    if (from.Find(key) == nullptr) return from.Error(absl::StrCat("table: got no '", key, "', want one"));
  }
  Revision::Table table;
  ASSIGN_OR_RETURN(table.name, from.Find("name")->Text("table: name"));
  const std::string subject = absl::StrCat("table '", table.name, "'");
  ASSIGN_OR_RETURN(table.path, from.Find("path")->Text(absl::StrCat(subject, ": path")));
  ASSIGN_OR_RETURN(const int64_t shards,
                   from.Find("shards")->Integer(absl::StrCat(subject, ": shards"), 1, ShardMap::kMaxShards));
  table.shards = static_cast<uint32_t>(shards);
  RETURN_IF_ERROR(ReadCacheSize(from, subject, &table));
  return table;
}

}  // namespace

absl::Status ReadCacheSize(const YamlNode& from, absl::string_view subject, Revision::Table* table) {
  const YamlNode* mib = from.Find("cache_mib");
  if (mib == nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(const int64_t size, mib->Integer(absl::StrCat(subject, ": cache_mib"), 0, kMaxCacheMib));
  table->cache_bytes = static_cast<uint64_t>(size) << 20;
  return absl::OkStatus();
}

absl::Status ReadTables(const YamlNode& from, Revision* revision) {
  RETURN_IF_ERROR(from.CheckList("tables"));
  for (const YamlNode& item : from.items()) {
    ASSIGN_OR_RETURN(Revision::Table table, ReadTable(item));
    if (revision->FindTable(table.name) != nullptr) {
      return item.Error(absl::StrCat("table '", table.name, "': is there twice"));
    }
    for (uint32_t shard = 0; shard < table.shards; ++shard) {
      const std::string name = ShardName(table.name, shard, table.shards);
      if (revision->FindModel(name) != nullptr) continue;
      return item.Error(absl::StrCat("table '", table.name, "': got no model '", name, "', want one for each shard"));
    }
    revision->tables.push_back(std::move(table));
  }
  return absl::OkStatus();
}

void EmitTables(const std::vector<Revision::Table>& tables, YAML::Emitter& out) {
  out << YAML::BeginSeq;
  for (const Revision::Table& table : tables) {
    out << YAML::Flow << YAML::BeginMap << YAML::Key << "name" << YAML::Value << table.name;
    out << YAML::Key << "path" << YAML::Value << table.path;
    out << YAML::Key << "shards" << YAML::Value << table.shards;
    if (table.cache_bytes != 0) out << YAML::Key << "cache_mib" << YAML::Value << (table.cache_bytes >> 20);
    out << YAML::EndMap;
  }
  out << YAML::EndSeq;
}

}  // namespace portico
