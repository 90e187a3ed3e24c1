#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/mutex.h"
#include "transport/transport.h"

namespace portico {

/// The calls in flight of one channel, in shards with a lock each, so that callers and the thread that reads replies
/// rarely meet. Thread-safe; runs no callback.
class CallTable {
 public:
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

  struct Waiting {
    Channel::Done done;
    int64_t deadline_ns = kNever;
    uint64_t bytes = 0;
    /// Number of its message in the outbox.
    uint64_t message = 0;
  };

  /// Calls `add`, which returns a StatusOr<Waiting>, under the lock that TakeIf() takes for this call: it is either
  /// seen there, or sees what was changed before.
  template <typename Add>
  absl::Status Insert(uint64_t call_id, Add add) {
    Shard& shard = ShardOf(call_id);
    MutexLock lock(&shard.mutex);
    absl::StatusOr<Waiting> waiting = add();
    if (!waiting.ok()) return waiting.status();
    shard.calls.emplace(call_id, *std::move(waiting));
    return absl::OkStatus();
  }

  /// Removes it; nothing where it is not in flight.
  std::optional<Waiting> Take(uint64_t call_id) {
    Shard& shard = ShardOf(call_id);
    MutexLock lock(&shard.mutex);
    const auto found = shard.calls.find(call_id);
    if (found == shard.calls.end()) return std::nullopt;
    Waiting waiting = std::move(found->second);
    shard.calls.erase(found);
    return waiting;
  }

  /// Removes those that `wanted(call_id, waiting)` accepts, which may move from them.
  template <typename Wanted>
  void TakeIf(Wanted wanted) {
    for (Shard& shard : shards_) {
      MutexLock lock(&shard.mutex);
      for (auto at = shard.calls.begin(); at != shard.calls.end();) {
        const auto call = at++;
        if (wanted(call->first, call->second)) shard.calls.erase(call);
      }
    }
  }

 private:
  struct alignas(64) Shard {
    Mutex mutex;
    absl::flat_hash_map<uint64_t, Waiting> calls ABSL_GUARDED_BY(mutex);
  };
  Shard& ShardOf(uint64_t call_id) { return shards_[call_id % shards_.size()]; }

  std::array<Shard, 8> shards_;
};

}  // namespace portico
