#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/digest.h"
#include "base/mutex.h"
#include "base/ref.h"
#include "result_cache/parked_call.h"

namespace portico {

/// The rows that are being computed, each by one call, its leader, and the calls that wait for them. Thread-safe;
/// calls nobody.
///
///   switch (flights.Join(row, priority, call, index)) {
///     case kLead:  compute it, then tell those that Land(row) returns;
///     case kWait:  somebody else does, and tells `call`;
///     case kAlone: compute it for yourself;
///   }
class RowFlights {
 public:
  /// Calls that may wait for one row; more compute it themselves.
  static constexpr size_t kMaxWaiting = 1024;

  enum class Role { kLead, kWait, kAlone };
  struct Waiting {
    Ref<ParkedCall> call;
    /// What Join() was given.
    size_t index = 0;
  };

  /// Who has a higher priority than the leader does not wait for it.
  Role Join(const Digest& row, int32_t priority, const Ref<ParkedCall>& call, size_t index);
  /// The row is not under way any more; whoever waited for it is to be told. REQUIRES: by its leader, once.
  std::vector<Waiting> Land(const Digest& row);

 private:
  struct Flight {
    int32_t priority = 0;
    std::vector<Waiting> waiting;
  };
  struct alignas(64) Shard {
    Mutex mutex;
    absl::flat_hash_map<Digest, Flight> flights ABSL_GUARDED_BY(mutex);
  };
  Shard& ShardOf(const Digest& row) { return shards_[row.bytes[31] % shards_.size()]; }

  std::array<Shard, 16> shards_;
};

}  // namespace portico
