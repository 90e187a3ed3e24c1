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
};

/// Picks one of several replicas. Pure: no clock, no state of the network; `random` is a uniform draw made by the
/// caller. Thread-safe.
class BalancePolicy {
 public:
  virtual ~BalancePolicy() = default;
  /// Index into `candidates`. REQUIRES: at least one.
  virtual size_t Pick(absl::Span<const Candidate> candidates, uint64_t random) const = 0;
};

/// By name: "p2c" (power of two choices). INVALID_ARGUMENT with the known names otherwise.
absl::StatusOr<std::unique_ptr<BalancePolicy>> NewBalancePolicy(absl::string_view name);

/// One factory per file of this folder.
std::unique_ptr<BalancePolicy> NewPowerOfTwoChoices();

}  // namespace portico
