#include "cli/split_embeddings.h"

#include <unistd.h>

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/byte_text.h"
#include "base/status_macros.h"
#include "cli/progress_line.h"
#include "cli/terminal.h"
#include "cli/text_table.h"
#include "embedding/shard_map.h"
#include "models/package/weight_store.h"

namespace portico {

std::string EmbeddingSplitText(const EmbeddingSplitReport& report, const EmbeddingSplit& split, size_t columns) {
  TextTable lines({"TABLE", "ROWS", "DIM", "BEFORE", "AFTER", "LARGEST ERROR", "ALLOWED"}, 1);
  uint64_t before = 0;
  uint64_t after = 0;
  for (const TableReport& table : report.tables) {
    before += table.weight_bytes;
    after += table.stored_bytes;
    lines.Add({table.name, absl::StrCat(table.rows), absl::StrCat(table.dim), ByteText(table.weight_bytes),
               ByteText(table.stored_bytes), absl::StrFormat("%.2g", table.error),
               absl::StrFormat("%.2g", table.bound)});
  }
  std::string text = lines.Print(columns);
  absl::StrAppend(&text, "group ", report.group, ": ", report.tables.size(),
                  report.tables.size() == 1 ? " table" : " tables", " of ", RowTypeName(split.options.row_type), " in ",
                  split.options.shards, split.options.shards == 1 ? " shard, " : " shards, ", ByteText(before), " -> ",
                  ByteText(after), "\n  at   ", report.group_folder, "/Kof", split.options.shards, "/", split.version,
                  "\n");
  absl::StrAppend(&text, "product ", split.product, ": ", report.lookups, report.lookups == 1 ? " lookup" : " lookups",
                  " in ", report.portals, report.portals == 1 ? " portal, " : " portals, ",
                  ByteText(report.product_bytes), " of weights\n  at   ", report.product_folder, "\n");
  for (const std::string& lookup : report.lookup_texts) absl::StrAppend(&text, "  lookup ", lookup, "\n");
  if (!report.mesh_file.empty()) absl::StrAppend(&text, "mesh at ", report.mesh_file, "\n");
  for (const std::string& note : report.notes) absl::StrAppend(&text, "note: ", note, "\n");
  absl::StrAppend(
      &text, "verified: ", report.rounds, report.rounds == 1 ? " run" : " runs",
      " of the rewritten graph over the original's weights equal to the unsplit model; every stored row read "
      "back\n");
  for (const auto& [output, difference] : report.differences) {
    absl::StrAppend(&text, "output ", output, ": over the stored rows the largest difference is ",
                    absl::StrFormat("%.2g", difference), "\n");
  }
  for (const std::string& skipped : report.skipped) {
    absl::StrAppend(&text, "not compared, as the unsplit model refuses it: ", skipped, "\n");
  }
  absl::StrAppend(&text, "ids below 0, which count from the end in the unsplit model, are refused by tables\n");
  return text;
}

absl::Status RunSplitEmbeddings(const std::string& path, EmbeddingSplit split) {
  WeightStore store;
  ASSIGN_OR_RETURN(const Model model, Model::Load(path, store));
  ASSIGN_OR_RETURN(split.provenance.source, ModelDigest(model));
  absl::StatusOr<EmbeddingSplitReport> report;
  {
    ProgressLine line("rows");
    report = SplitEmbeddings(model, split,
                             [&](absl::string_view, uint64_t done, uint64_t all) { line.Show(done, all, "rows"); });
  }
  if (!report.ok()) return WithContext(path, report.status());
  std::fputs(EmbeddingSplitText(*report, split, Terminal::Of(STDOUT_FILENO).columns).c_str(), stdout);
  return absl::OkStatus();
}

}  // namespace portico
