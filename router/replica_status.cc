#include "router/replica_status.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/types/span.h"
#include "base/metric.h"

namespace portico {
namespace {

constexpr size_t kMaxTold = 256;

std::string Escaped(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"\"", "\\\""}, {"\n", "\\n"}});
}

std::string Labels(const ReplicaStatus& replica) {
  return absl::StrCat("target=\"", Escaped(replica.target), "\",digest=\"", replica.digest, "\",endpoint=\"",
                      Escaped(replica.endpoint), "\"");
}

const char* StateOf(const ReplicaStatus& replica) {
  if (replica.standing == Standing::kAway) return "away";
  if (replica.standing == Standing::kUnknown) return "connecting";
  return replica.ejected_for > absl::ZeroDuration() ? "ejected" : "here";
}

void Begin(absl::string_view name, absl::string_view type, absl::string_view help, std::string* out) {
  absl::StrAppend(out, "# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n");
}

void AppendAnswers(const ReplicaStatus& replica, std::string* out) {
  constexpr absl::string_view kName = "portico_replica_latency_seconds";
  const std::string labels = Labels(replica);
  const std::vector<double>& bounds = LatencyBuckets();
  uint64_t count = 0;
  for (size_t i = 0; i < replica.answers.buckets.size(); ++i) {
    count += replica.answers.buckets[i];
    const std::string bound = i < bounds.size() ? absl::StrCat(bounds[i]) : "+Inf";
    absl::StrAppend(out, kName, "_bucket{", labels, ",le=\"", bound, "\"} ", count, "\n");
  }
  absl::StrAppend(out, kName, "_sum{", labels, "} ", absl::ToDoubleSeconds(replica.answers.sum), "\n");
  absl::StrAppend(out, kName, "_count{", labels, "} ", count, "\n");
}

}  // namespace

void LatencyCounts::Add(absl::Duration latency) {
  const std::vector<double>& bounds = LatencyBuckets();
  const auto bound = std::lower_bound(bounds.begin(), bounds.end(), absl::ToDoubleSeconds(latency));
  const auto index = std::min(static_cast<size_t>(bound - bounds.begin()), kBuckets - 1);
  buckets_[index].fetch_add(1, std::memory_order_relaxed);
  sum_ns_.fetch_add(absl::ToInt64Nanoseconds(latency), std::memory_order_relaxed);
}

LatencyCounts::Snapshot LatencyCounts::Read() const {
  Snapshot snapshot;
  for (size_t i = 0; i < kBuckets; ++i) snapshot.buckets[i] = buckets_[i].load(std::memory_order_relaxed);
  snapshot.sum = absl::Nanoseconds(sum_ns_.load(std::memory_order_relaxed));
  return snapshot;
}

std::string ReplicaMetricsText(const std::vector<ReplicaStatus>& replicas) {
  const auto told = absl::MakeConstSpan(replicas).subspan(0, kMaxTold);
  std::string out;
  if (told.empty()) return out;
  Begin("portico_replica_latency_seconds", "histogram", "Time from a call of a replica to its answer.", &out);
  for (const ReplicaStatus& replica : told) AppendAnswers(replica, &out);
  const auto each = [&](absl::string_view name, absl::string_view type, absl::string_view help, auto value) {
    Begin(name, type, help, &out);
    for (const ReplicaStatus& replica : told)
      absl::StrAppend(&out, name, "{", Labels(replica), "} ", value(replica), "\n");
  };
  each("portico_replica_failures_total", "counter", "Answers that were a replica's fault, or that it was full.",
       [](const ReplicaStatus& replica) { return replica.failures; });
  each("portico_replica_calls_in_flight", "gauge", "Calls to the replica's endpoint that wait for their answer.",
       [](const ReplicaStatus& replica) { return replica.in_flight; });
  each("portico_replica_ejections_total", "counter", "Times the replica was put aside.",
       [](const ReplicaStatus& replica) { return replica.ejections; });
  each("portico_replica_ejected_seconds", "gauge", "For how long it is still put aside.",
       [](const ReplicaStatus& replica) { return absl::ToDoubleSeconds(replica.ejected_for); });
  Begin("portico_replica_state", "gauge", "1 for the state that the replica is in, and the node it is.", &out);
  for (const ReplicaStatus& replica : told) {
    absl::StrAppend(&out, "portico_replica_state{", Labels(replica), ",node=\"", Escaped(replica.node), "\",state=\"",
                    StateOf(replica), "\"} 1\n");
  }
  Begin("portico_replicas_untold", "gauge", "Replicas beyond those told here.", &out);
  absl::StrAppend(&out, "portico_replicas_untold ", replicas.size() - told.size(), "\n");
  return out;
}

}  // namespace portico
