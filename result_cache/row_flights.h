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
///   switch (flights.Join(row, standing, call, index)) {
///     case kLead:  compute it, then tell those that Land(row) returns;
///     case kWait:  somebody else does, and tells `call`;
///     case kAlone: compute it for yourself;
///   }
class RowFlights {
 public:
  /// Calls that may wait for one row; more compute it themselves.
  static constexpr size_t kMaxWaiting = 1024;

  /// Rows of a leader's run that those who wait for it wait along with, where they ask for few: as many as one batch
  /// may hold, or kMaxTimesOwn times their own.
  static constexpr size_t kMaxTimesOwn = 4;

  enum class Role { kLead, kWait, kAlone };
  /// Of a call, what decides whether it is served as well by another call's run as by its own.
  struct Standing {
    int32_t priority = 0;
    /// Names its product; products have runs of their own.
    uint64_t product = 0;
    /// Rows that it asks for at once.
    size_t rows = 1;
  };
  struct Waiting {
    Ref<ParkedCall> call;
    /// What Join() was given.
    size_t index = 0;
  };

  /// `batch_rows`: rows that one run holds.
  explicit RowFlights(size_t batch_rows) : batch_rows_(batch_rows) {}

  /// Who has a higher priority than the leader does not wait for it, nor who is of another product, nor who asks for
  /// far fewer rows.
  Role Join(const Digest& row, const Standing& standing, const Ref<ParkedCall>& call, size_t index);
  /// `call` waits for the row no more, and another may in its place. Does nothing where it does not wait.
  void Leave(const Digest& row, const ParkedCall& call);
  /// The row is not under way any more; whoever waited for it is to be told. REQUIRES: by its leader, once.
  std::vector<Waiting> Land(const Digest& row);

 private:
  struct Flight {
    Standing leader;
    std::vector<Waiting> waiting;
  };
  struct alignas(64) Shard {
    Mutex mutex;
    absl::flat_hash_map<Digest, Flight> flights ABSL_GUARDED_BY(mutex);
  };
  Shard& ShardOf(const Digest& row) { return shards_[row.bytes[31] % shards_.size()]; }

  bool MayWait(const Standing& standing, const Standing& leader) const;

  const size_t batch_rows_;
  std::array<Shard, 16> shards_;
};

}  // namespace portico
