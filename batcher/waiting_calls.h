#pragma once

#include <cstdint>
#include <deque>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "base/request_context.h"
#include "base/tensor.h"
#include "batcher/batcher.h"
#include "batcher/rows.h"

namespace portico {

/// A call between Submit() and its completion.
struct WaitingCall {
  Ref<const RequestContext> context;
  std::vector<Tensor> inputs;
  Batcher::Done done;
  /// Rows that it adds to a joined run; 1 where it can't be joined.
  int64_t rows = 1;
  bool joinable = false;
  /// JoinHash where joinable.
  uint64_t hash = 0;
  absl::Time since;

  /// What it counts against limits: a call without rows is not free.
  int64_t weight() const { return rows > 0 ? rows : 1; }
};

/// The calls in front of a batcher, in lanes: those of one lane may be joined. Within a lane first in, first out; of
/// the lanes that are ripe, the one whose first call has waited longest goes next. A lane is ripe once it is full or
/// its first call has waited for the delay. Not thread-safe: the batcher locks.
class WaitingCalls {
 public:
  WaitingCalls(RowInputs row_inputs, int64_t max_batch_rows, absl::Duration max_delay)
      : row_inputs_(std::move(row_inputs)), max_batch_rows_(max_batch_rows), max_delay_(max_delay) {}

  void Push(WaitingCall call);
  /// Sum of the weights of what waits.
  int64_t weight() const { return weight_; }
  bool empty() const { return by_age_.empty(); }
  /// When there is something to take: in the past when there is now, never while nothing waits.
  absl::Time RipeAt() const;

  /// The calls of the next run, and apart from them those met on the way that are cancelled or past their deadline.
  /// Both may be empty. With `all`, lanes count as ripe.
  struct Taken {
    std::vector<WaitingCall> calls;
    std::vector<WaitingCall> dead;
  };
  Taken TakeBatch(absl::Time now, bool all);
  /// Everything that waits.
  std::vector<WaitingCall> TakeAll();

 private:
  struct Entry {
    uint64_t number;
    WaitingCall call;
  };
  struct Lane {
    std::deque<Entry> entries;
    int64_t weight = 0;
    bool in_full = false;
  };
  /// Number of the first call, hash of the lane.
  using Place = std::pair<uint64_t, uint64_t>;

  bool IsFull(const Lane& lane) const;
  Entry PopFront(Lane& lane);
  /// Takes `lane` out of the orders, and puts it back in where it belongs.
  void Unlist(uint64_t hash, Lane& lane);
  void List(uint64_t hash, Lane& lane);

  const RowInputs row_inputs_;
  const int64_t max_batch_rows_;
  const absl::Duration max_delay_;
  uint64_t pushed_ = 0;
  int64_t weight_ = 0;
  absl::flat_hash_map<uint64_t, Lane> lanes_;
  /// The lanes with calls, and those of them that are full.
  std::set<Place> by_age_;
  std::set<Place> full_;
};

}  // namespace portico
