#include "node/observe/table_report.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/byte_text.h"
#include "codec/json_text.h"
#include "node/observe/html.h"

namespace portico {
namespace {

TableReport ReportOf(const ShardVersion& version, size_t index, const ServedShard::TableBytes& bytes) {
  const ShardFile& file = version.base();
  const EmbeddingTable& table = *version.tables()[index];
  const ShardLayout::Table& layout = file.layout().tables[index];
  TableReport report;
  report.table = table.spec().name;
  report.row_type = std::string(RowTypeName(table.spec().row_type));
  report.id_kind = std::string(IdKindName(table.spec().id_kind));
  report.unknown = std::string(UnknownIdName(table.spec().unknown));
  report.dim = table.spec().dim;
  report.rows = table.memory().all_rows();
  report.ids = table.looked_up_ids();
  report.unknown_ids = table.unknown_ids();
  if (const RowOverlay* const overlay = version.overlays()[index].get()) {
    report.updated_rows = overlay->ids();
    report.update_bytes = overlay->bytes();
  }
  report.file_bytes = bytes.file;
  report.resident_bytes = bytes.resident;
  report.huge_page_bytes = bytes.huge;
  for (const ShardLayout::Section& section : {layout.rows, layout.index, layout.strings}) {
    const BlockVerifier::Counts counts = file.blocks().CountsOf(section);
    report.blocks += section.blocks();
    report.unverified_blocks += counts.unverified;
    report.broken_blocks += counts.broken;
  }
  return report;
}

/// What stands in quotes, in Prometheus' text.
std::string Escaped(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"\"", "\\\""}, {"\n", "\\n"}});
}

}  // namespace

std::vector<ShardReport> ReportShards(const std::vector<std::shared_ptr<const Servable>>& servables) {
  std::vector<ShardReport> reports;
  for (const std::shared_ptr<const Servable>& servable : servables) {
    if (servable->shard() == nullptr) continue;
    const ShardFile& file = servable->shard()->file();
    ShardReport report;
    report.model = servable->name();
    report.version = servable->version();
    report.path = file.path();
    report.shard = file.layout().shard;
    report.shards = file.layout().shards;
    const std::vector<ServedShard::TableBytes> bytes = servable->shard()->Bytes();
    for (size_t i = 0; i < file.tables().size(); ++i)
      report.tables.push_back(ReportOf(servable->shard()->version(), i, bytes[i]));
    reports.push_back(std::move(report));
  }
  return reports;
}

std::string TableMetricsText(const std::vector<ShardReport>& shards) {
  std::string out;
  if (shards.empty()) return out;
  const auto begin = [&](absl::string_view name, absl::string_view type, absl::string_view help) {
    absl::StrAppend(&out, "# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n");
  };
  const auto line = [&](absl::string_view name, const ShardReport& shard, const TableReport& table,
                        absl::string_view more, uint64_t value) {
    absl::StrAppend(&out, name, "{model=\"", Escaped(shard.model), "\",version=\"", shard.version, "\",table=\"",
                    Escaped(table.table), "\"", more, "} ", value, "\n");
  };
  const auto each = [&](absl::string_view name, absl::string_view type, absl::string_view help,
                        uint64_t TableReport::*value) {
    begin(name, type, help);
    for (const ShardReport& shard : shards) {
      for (const TableReport& table : shard.tables) line(name, shard, table, "", table.*value);
    }
  };
  each("portico_table_ids_total", "counter", "Ids looked up.", &TableReport::ids);
  each("portico_table_unknown_ids_total", "counter", "Ids looked up that the table does not have.",
       &TableReport::unknown_ids);
  each("portico_table_updated_rows", "gauge", "Ids whose rows deltas changed.", &TableReport::updated_rows);
  each("portico_table_rows", "gauge", "Rows of the table in this shard.", &TableReport::rows);
  begin("portico_table_bytes", "gauge",
        "Bytes of rows, index and string ids: in the file; of these, in memory; of these, on huge pages.");
  for (const ShardReport& shard : shards) {
    for (const TableReport& table : shard.tables) {
      line("portico_table_bytes", shard, table, ",tier=\"file\"", table.file_bytes);
      line("portico_table_bytes", shard, table, ",tier=\"resident\"", table.resident_bytes);
      line("portico_table_bytes", shard, table, ",tier=\"huge_pages\"", table.huge_page_bytes);
      line("portico_table_bytes", shard, table, ",tier=\"updates\"", table.update_bytes);
    }
  }
  each("portico_table_unverified_blocks", "gauge", "Blocks of 64 KB that nobody has read since the shard was opened.",
       &TableReport::unverified_blocks);
  each("portico_table_broken_blocks", "gauge", "Blocks that are not as they were written; their rows are errors here.",
       &TableReport::broken_blocks);
  return out;
}

std::string TablesJson(const std::vector<ShardReport>& shards) {
  std::string json = "{\"shards\":[";
  const auto text = [&](absl::string_view key, absl::string_view value) {
    absl::StrAppend(&json, "\"", key, "\":");
    AppendJsonString(value, &json);
    json.push_back(',');
  };
  for (size_t i = 0; i < shards.size(); ++i) {
    const ShardReport& shard = shards[i];
    json.append(i == 0 ? "{" : ",{");
    text("model", shard.model);
    absl::StrAppend(&json, "\"version\":", shard.version, ",");
    text("path", shard.path);
    absl::StrAppend(&json, "\"shard\":", shard.shard, ",\"shards\":", shard.shards, ",\"tables\":[");
    for (size_t t = 0; t < shard.tables.size(); ++t) {
      const TableReport& table = shard.tables[t];
      json.append(t == 0 ? "{" : ",{");
      text("table", table.table);
      text("row_type", table.row_type);
      text("ids", table.id_kind);
      text("unknown", table.unknown);
      absl::StrAppend(&json, "\"dim\":", table.dim, ",\"rows\":", table.rows, ",\"looked_up_ids\":", table.ids,
                      ",\"unknown_ids\":", table.unknown_ids, ",\"updated_rows\":", table.updated_rows,
                      ",\"update_bytes\":", table.update_bytes, ",\"file_bytes\":", table.file_bytes,
                      ",\"resident_bytes\":", table.resident_bytes, ",\"huge_page_bytes\":", table.huge_page_bytes,
                      ",\"blocks\":", table.blocks, ",\"unverified_blocks\":", table.unverified_blocks,
                      ",\"broken_blocks\":", table.broken_blocks, "}");
    }
    json.append("]}");
  }
  json.append("]}\n");
  return json;
}

std::string TablesHtml(const std::vector<ShardReport>& shards) {
  std::string html =
      "<!DOCTYPE html><html><head><meta charset=\"utf-8\"><title>Tables</title><style>body{font-family:sans-serif}"
      "table{border-collapse:collapse}th,td{padding:2px 12px;text-align:right;border-bottom:1px solid #ddd}"
      "th:first-child,td:first-child{text-align:left}.bad{color:#b00;font-weight:bold}</style></head><body>"
      "<h1>Tables</h1>\n";
  if (shards.empty()) html.append("<p>This node serves no shard.</p>\n");
  for (const ShardReport& shard : shards) {
    absl::StrAppend(&html, "<h2>", HtmlText(shard.model), " version ", shard.version, "</h2><p>shard ", shard.shard,
                    " of ", shard.shards, ", ", HtmlText(shard.path),
                    "</p>\n<table><tr><th>table</th><th>type</th><th>ids</th><th>unknown ids give</th><th>dim</th>"
                    "<th>rows</th><th>looked up</th><th>unknown</th><th>updated</th><th>updates</th><th>in the "
                    "file</th><th>in memory</th><th>huge pages</th>"
                    "<th>blocks</th><th>verified</th><th>broken</th></tr>\n");
    for (const TableReport& table : shard.tables) {
      absl::StrAppend(&html, "<tr><td>", HtmlText(table.table), "</td>");
      for (const std::string& cell :
           {table.row_type, table.id_kind, table.unknown, absl::StrCat(table.dim), absl::StrCat(table.rows),
            absl::StrCat(table.ids), absl::StrCat(table.unknown_ids), absl::StrCat(table.updated_rows),
            ByteText(table.update_bytes), ByteText(table.file_bytes), ByteText(table.resident_bytes),
            ByteText(table.huge_page_bytes), absl::StrCat(table.blocks),
            absl::StrCat(table.blocks - table.unverified_blocks - table.broken_blocks)}) {
        absl::StrAppend(&html, "<td>", cell, "</td>");
      }
      absl::StrAppend(&html, table.broken_blocks == 0 ? "<td>" : "<td class=\"bad\">", table.broken_blocks,
                      "</td></tr>\n");
    }
    html.append("</table>\n");
  }
  html.append("</body></html>\n");
  return html;
}

}  // namespace portico
