#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace portico {

/// What a balancing policy sees of one replica that could take a call.
struct Candidate {
  /// Calls of ours in flight to it.
  int64_t in_flight = 0;
  /// Smoothed latency in seconds; 0 where nothing is known yet.
  double latency_seconds = 0;
  /// Of its URL: the same in every process.
  uint64_t hash = 0;
  /// How far away it is: 0 this process, 1 a socket file or memory of this host, 2 this host, 3 this zone, 4 elsewhere.
  int distance = 0;
  /// It has just refused a call for want of room.
  bool full = false;
};

/// What one call brings to its pick.
struct Draw {
  /// Uniform.
  uint64_t random = 0;
  /// Rises by one with each pick of the target; where the policy needs it.
  uint64_t turn = 0;
  /// The same for requests that should meet the same replica; where the policy needs it.
  uint64_t key = 0;
};

/// Picks one of several replicas. Pure: no clock, no state of the network: all it goes by is in its arguments.
/// Thread-safe.
class BalancePolicy {
 public:
  virtual ~BalancePolicy() = default;
  /// Index into `candidates`. REQUIRES: at least one.
  virtual size_t Pick(absl::Span<const Candidate> candidates, const Draw& draw) const = 0;
  virtual bool needs_turn() const { return false; }
  virtual bool needs_key() const { return false; }
};

/// By name: "p2c", "round_robin", "consistent_hash", "locality". INVALID_ARGUMENT with the known names otherwise.
absl::StatusOr<std::unique_ptr<BalancePolicy>> NewBalancePolicy(absl::string_view name);

// One factory per file of this folder.
std::unique_ptr<BalancePolicy> NewPowerOfTwoChoices();
std::unique_ptr<BalancePolicy> NewRoundRobin();
std::unique_ptr<BalancePolicy> NewConsistentHash();
std::unique_ptr<BalancePolicy> NewLocality();

}  // namespace portico
