#include "node/observe/memory_account.h"

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "codec/json_text.h"
#include "node/observe/process_memory.h"

namespace portico {
namespace {

Gauge& GaugeOf(MetricRegistry& metrics, absl::string_view what) {
  return metrics.NewGauge("portico_memory_bytes",
                          "Memory of this node: weights of loaded models, models being loaded, versions that are "
                          "unloaded but held by requests, inputs in flight, records that wait to be written, "
                          "tables of shards that are mapped, and what of them is in memory, answers that are kept by "
                          "row, and what the process holds.",
                          {{"of", std::string(what)}});
}

ServedShard::TableBytes BytesOfTables(const Servables& servables) {
  ServedShard::TableBytes all;
  // Versions of a shard share their base.
  absl::flat_hash_set<const ShardFile*> seen;
  for (const std::shared_ptr<const Servable>& servable : servables.Available()) {
    if (servable->shard() == nullptr || !seen.insert(&servable->shard()->file()).second) continue;
    for (const ServedShard::TableBytes& table : servable->shard()->Bytes()) {
      all.file += table.file;
      all.resident += table.resident;
    }
  }
  return all;
}

/// Of answers that are kept, and what they may come to.
struct KeptAnswers {
  explicit KeptAnswers(const Servables& servables) {
    for (const std::shared_ptr<const Servable>& servable : servables.Available()) {
      bytes += servable->result_cache_bytes();
      max_bytes += servable->max_result_cache_bytes();
    }
  }
  uint64_t bytes = 0;
  uint64_t max_bytes = 0;
};

}  // namespace

MemoryAccount::MemoryAccount(const Servables& servables, const Inference& inference, const RequestLog* request_log,
                             MetricRegistry& metrics)
    : servables_(servables),
      inference_(inference),
      request_log_(request_log),
      weights_(GaugeOf(metrics, "weights")),
      loading_(GaugeOf(metrics, "loading")),
      pinned_(GaugeOf(metrics, "pinned")),
      in_flight_(GaugeOf(metrics, "in_flight")),
      queued_(GaugeOf(metrics, "request_log")),
      resident_(GaugeOf(metrics, "resident")),
      allocated_(GaugeOf(metrics, "allocated")),
      kept_(GaugeOf(metrics, "kept")),
      tables_mapped_(GaugeOf(metrics, "tables_mapped")),
      tables_resident_(GaugeOf(metrics, "tables_resident")),
      answers_(GaugeOf(metrics, "result_cache")) {}

void MemoryAccount::Refresh() const {
  const ServablesMemory models = servables_.Memory();
  const ProcessMemory process = ReadProcessMemory();
  weights_.Set(static_cast<double>(models.weight_bytes));
  loading_.Set(static_cast<double>(models.loading_bytes));
  pinned_.Set(static_cast<double>(models.pinned_bytes));
  in_flight_.Set(static_cast<double>(inference_.bytes_in_flight()));
  queued_.Set(static_cast<double>(queued_bytes()));
  resident_.Set(static_cast<double>(process.resident_bytes));
  allocated_.Set(static_cast<double>(process.allocated_bytes));
  kept_.Set(static_cast<double>(process.kept_bytes));
  const ServedShard::TableBytes tables = BytesOfTables(servables_);
  tables_mapped_.Set(static_cast<double>(tables.file));
  tables_resident_.Set(static_cast<double>(tables.resident));
  answers_.Set(static_cast<double>(KeptAnswers(servables_).bytes));
}

std::string MemoryAccount::Json() const {
  const ServablesMemory models = servables_.Memory();
  const ProcessMemory process = ReadProcessMemory();
  std::string json = absl::StrCat(
      "{\"process\":{\"resident_bytes\":", process.resident_bytes, ",\"mapped_file_bytes\":", process.mapped_file_bytes,
      ",\"allocated_bytes\":", process.allocated_bytes, ",\"kept_bytes\":", process.kept_bytes, "}");
  absl::StrAppend(&json, ",\"in_flight\":{\"requests\":", inference_.in_flight(),
                  ",\"input_bytes\":", inference_.bytes_in_flight(), "}");
  absl::StrAppend(&json, ",\"request_log\":{\"queued_bytes\":", queued_bytes(), "}");
  const ServedShard::TableBytes tables = BytesOfTables(servables_);
  absl::StrAppend(&json, ",\"tables\":{\"mapped_bytes\":", tables.file, ",\"resident_bytes\":", tables.resident, "}");
  const KeptAnswers answers(servables_);
  absl::StrAppend(&json, ",\"result_cache\":{\"bytes\":", answers.bytes, ",\"max_bytes\":", answers.max_bytes, "}");
  absl::StrAppend(&json, ",\"models\":{\"weight_bytes\":", models.weight_bytes,
                  ",\"loading_bytes\":", models.loading_bytes, ",\"pinned_bytes\":", models.pinned_bytes,
                  ",\"budget_bytes\":", models.budget_bytes, ",\"waiting_requests\":", models.waiting_requests,
                  ",\"versions\":[");
  for (size_t i = 0; i < models.versions.size(); ++i) {
    const ServablesMemory::Version& version = models.versions[i];
    absl::StrAppend(&json, i == 0 ? "" : ",", "{\"model\":");
    AppendJsonString(version.model, &json);
    absl::StrAppend(&json, ",\"version\":", version.version, ",\"state\":\"", VersionStateName(version.state),
                    "\",\"bytes\":", version.bytes, "}");
  }
  absl::StrAppend(&json, "]}}\n");
  return json;
}

}  // namespace portico
