#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "node/servables/servable.h"

namespace portico {

/// What a node has and has done of a table of a shard that it serves.
struct TableReport {
  std::string table;
  std::string row_type;
  std::string id_kind;
  std::string unknown;
  uint64_t dim = 0;
  uint64_t rows = 0;
  /// Since the shard was opened.
  uint64_t ids = 0;
  uint64_t unknown_ids = 0;
  /// Ids that deltas changed, and the memory that takes; versions share most of it.
  uint64_t updated_rows = 0;
  uint64_t update_bytes = 0;
  uint64_t file_bytes = 0;
  uint64_t resident_bytes = 0;
  uint64_t huge_page_bytes = 0;
  uint64_t blocks = 0;
  uint64_t unverified_blocks = 0;
  uint64_t broken_blocks = 0;
};
struct ShardReport {
  std::string model;
  int64_t version = 0;
  std::string path;
  uint32_t shard = 0;
  uint32_t shards = 1;
  std::vector<TableReport> tables;
};

/// Of the shards among what is served.
std::vector<ShardReport> ReportShards(const std::vector<std::shared_ptr<const Servable>>& servables);

/// As Prometheus' text: `portico_table_...`. Empty where no shard is served.
std::string TableMetricsText(const std::vector<ShardReport>& shards);
/// What /debug/tables says, for programs and for people.
std::string TablesJson(const std::vector<ShardReport>& shards);
std::string TablesHtml(const std::vector<ShardReport>& shards);

}  // namespace portico
