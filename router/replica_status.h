#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "router/endpoint.h"
#include "router/resolver.h"

namespace portico {

/// How long calls took, in the buckets of base/metric.h's LatencyBuckets() and one for what took longer. Thread-safe,
/// lock-free.
class LatencyCounts {
 public:
  static constexpr size_t kBuckets = 18;
  struct Snapshot {
    std::array<uint64_t, kBuckets> buckets{};
    absl::Duration sum;
  };

  void Add(absl::Duration latency);
  Snapshot Read() const;

 private:
  std::array<std::atomic<uint64_t>, kBuckets> buckets_{};
  std::atomic<int64_t> sum_ns_{0};
};

/// What calls to one target know of one replica of it.
struct ReplicaStatus {
  std::string target;
  /// Of what is wanted of the target; empty: any.
  std::string digest;
  std::string endpoint;
  /// What it calls itself; empty before it said so.
  std::string node;
  Standing standing = Standing::kUnknown;
  RevisionSpan revisions;
  /// Calls of ours to the endpoint, for all targets.
  int64_t in_flight = 0;
  /// Answers, and how many of them were faults of the replica or that it was full.
  LatencyCounts::Snapshot answers;
  uint64_t failures = 0;
  /// How often it was put aside, and for how long it still is.
  uint64_t ejections = 0;
  absl::Duration ejected_for;
};

/// Prometheus' text format of at most 256 replicas; those beyond are counted in portico_replicas_untold.
std::string ReplicaMetricsText(const std::vector<ReplicaStatus>& replicas);

}  // namespace portico
