#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "base/metric_scope.h"
#include "remote_op/lookup_plan.h"

namespace portico {

/// The figures of one `EmbeddingBag`, by portal and group; they go with it. Calls and their latencies the router counts
/// for each shard. Thread-safe, lock-free but for failures.
class EmbeddingMetrics {
 public:
  /// `registry` is not owned and must outlive this.
  EmbeddingMetrics(MetricRegistry& registry, const std::string& portal, const std::string& group)
      : scope_(registry),
        labels_{{"portal", portal}, {"tables", group}},
        requests_(scope_.NewCounter("portico_embedding_requests_total", "Requests that came to a portal of tables.",
                                    labels_)),
        ids_(scope_.NewCounter("portico_embedding_ids_total", "Ids that came to a portal of tables, without padding.",
                               labels_)),
        sent_(scope_.NewCounter("portico_embedding_ids_sent_total",
                                "Ids that a portal of tables asked its shards for: where rows come back, each once.",
                                labels_)),
        unknown_(
            scope_.NewCounter("portico_embedding_ids_unknown_total", "Ids sent that the tables do not have.", labels_)),
        sums_bytes_(NewBytes("sums")),
        rows_bytes_(NewBytes("rows")),
        kept_(NewKept("hit")),
        not_kept_(NewKept("miss")),
        evicted_(scope_.NewCounter("portico_embedding_cache_evictions_total",
                                   "Kept rows that made room for others that are asked for more often.",
                                   {{"tables", group}})),
        cache_bytes_(scope_.NewGauge("portico_embedding_cache_bytes",
                                     "Memory that rows of the group are kept in, with what finds them.",
                                     {{"tables", group}})) {}

  void Came() { requests_.Increment(); }
  void Planned(const LookupPlan::Counts& counts) {
    ids_.Add(static_cast<double>(counts.ids));
    sent_.Add(static_cast<double>(counts.sent));
    if (counts.looked == 0) return;
    kept_.Add(static_cast<double>(counts.kept));
    not_kept_.Add(static_cast<double>(counts.looked - counts.kept));
  }
  /// Of the group's cache: its size now, 0 without one, and rows that have left since this was said last.
  void Kept(uint64_t bytes, uint64_t evicted) {
    if (told_bytes_.load(std::memory_order_relaxed) != bytes) {
      told_bytes_.store(bytes, std::memory_order_relaxed);
      cache_bytes_.Set(static_cast<double>(bytes));
    }
    if (evicted > 0) evicted_.Add(static_cast<double>(evicted));
  }
  /// An answer came.
  void Answered(uint64_t sums_bytes, uint64_t rows_bytes, uint64_t unknown) {
    if (sums_bytes > 0) sums_bytes_.Add(static_cast<double>(sums_bytes));
    if (rows_bytes > 0) rows_bytes_.Add(static_cast<double>(rows_bytes));
    if (unknown > 0) unknown_.Add(static_cast<double>(unknown));
  }
  /// Something else stands in bags, for rows of a shard that gave none. `kind`: one of a few words.
  void Touched(uint64_t bags, absl::string_view kind) {
    MetricLabels labels = labels_;
    labels.emplace_back("kind", std::string(kind));
    scope_
        .NewCounter("portico_embedding_bags_touched_total",
                    "Bags in which something else stands for rows of a shard that gave none.", labels)
        .Add(static_cast<double>(bags));
  }

 private:
  Counter& NewBytes(const char* form) {
    MetricLabels labels = labels_;
    labels.emplace_back("form", form);
    return scope_.NewCounter("portico_embedding_bytes_total", "Bytes of sums and of rows that shards answered.",
                             labels);
  }

  Counter& NewKept(const char* came) {
    MetricLabels labels = labels_;
    labels.emplace_back("came", came);
    return scope_.NewCounter("portico_embedding_cache_ids_total",
                             "Distinct ids of lookups that got rows, by whether the row was kept here.", labels);
  }

  MetricScope scope_;
  const MetricLabels labels_;
  Counter& requests_;
  Counter& ids_;
  Counter& sent_;
  Counter& unknown_;
  Counter& sums_bytes_;
  Counter& rows_bytes_;
  Counter& kept_;
  Counter& not_kept_;
  Counter& evicted_;
  Gauge& cache_bytes_;
  std::atomic<uint64_t> told_bytes_{UINT64_MAX};
};

}  // namespace portico
