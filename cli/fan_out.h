#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace portico {

/// How long a request takes that waits for one answer of each of several shards: a simulation, event by event. Requests
/// arrive at random (Poisson); each asks every shard; a shard has replicas, each a queue in front of some cores; a call
/// goes to the less busy of two replicas drawn at random; where that is asked for, a call that has taken long is sent
/// to another replica as well, and the first answer counts (the other one leaves the queue, or is finished in vain).
struct FanOut {
  /// Of a call that waits for nobody: (share, seconds), both rising, shares from 0 to 1; straight lines in the
  /// logarithm of time in between.
  std::vector<std::pair<double, double>> service;
  int replicas = 2;
  int cores = 8;
  /// Share of the cores' time that calls take, hedges not counted.
  double busy = 0.4;
  int requests = 20'000;
  uint64_t seed = 1;

  absl::Status Validate() const;
};

/// Of requests, in seconds.
struct FanOutLatency {
  int shards = 0;
  double p50 = 0;
  double p99 = 0;
  double p999 = 0;
};

struct FanOutResult {
  std::vector<FanOutLatency> latencies;
  /// Hedges per call; 0 without.
  double hedged = 0;
};

/// "0=20us,0.5=35us,0.99=90us,1=2ms".
absl::StatusOr<std::vector<std::pair<double, double>>> ParseServiceTimes(absl::string_view text);

/// For each number of shards, rising. `hedge_after`: seconds; 0: never.
absl::StatusOr<FanOutResult> SimulateFanOut(const FanOut& fan_out, const std::vector<int>& shards, double hedge_after);

/// The latency of single calls at that share, as a hedge by percentile would see it.
absl::StatusOr<double> CallLatency(const FanOut& fan_out, double share);

}  // namespace portico
