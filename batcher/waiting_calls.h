#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
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
  /// Names the call within its batcher.
  uint64_t ticket = 0;
  /// Of a piece of a larger call that may be traced: the span of the whole.
  uint64_t span_id = 0;

  /// What it counts against limits: a call without rows is not free.
  int64_t weight() const { return rows > 0 ? rows : 1; }
  /// The lane it waits in.
  uint64_t lane() const;
};

/// The calls in front of a batcher, in lanes: those of one lane may be joined. Within a lane and a priority first in,
/// first out. Of calls of different priority, and of the first calls of the lanes that are ripe, the one that has
/// waited longest goes next, where each step of priority counts as kHeadStart of waiting: so higher priorities go
/// first, and low ones don't wait for ever. A lane is ripe once it is full or its first call has waited for the delay.
/// Not thread-safe: the batcher locks.
class WaitingCalls {
 public:
  /// What a step of priority is worth. Priorities count from −kMaxPriority to kMaxPriority.
  static constexpr absl::Duration kHeadStart = absl::Milliseconds(100);
  static constexpr int32_t kMaxPriority = 4;

  WaitingCalls(JoinRule rule, absl::Duration max_delay) : rule_(std::move(rule)), max_delay_(max_delay) {}

  /// `max_batch_rows`, here and below: the rows that fill a lane, and that a run may hold.
  void Push(WaitingCall call, int64_t max_batch_rows);
  /// Sum of the weights of what waits.
  int64_t weight() const { return weight_; }
  bool empty() const { return weight_ == 0; }
  /// When there is something to take: in the past when there is now, never while nothing waits.
  absl::Time RipeAt() const;

  /// The calls of the next run, and apart from them those met on the way that are cancelled or past their deadline.
  /// Both may be empty. With `all`, lanes count as ripe.
  struct Taken {
    std::vector<WaitingCall> calls;
    std::vector<WaitingCall> dead;
  };
  Taken TakeBatch(absl::Time now, int64_t max_batch_rows, bool all);
  /// The call of that ticket, if it still waits in that lane.
  std::optional<WaitingCall> Remove(uint64_t lane, uint64_t ticket);
  /// Everything that waits.
  std::vector<WaitingCall> TakeAll();

 private:
  /// Calls of one priority, in the order they came. May be empty where it is the only one of its lane.
  struct Queue {
    int32_t priority;
    std::deque<WaitingCall> calls;
  };
  /// A time, and the ticket that decides between equal ones.
  using Rank = std::pair<absl::Time, uint64_t>;
  struct Lane {
    absl::InlinedVector<Queue, 1> queues;
    /// 0: no calls.
    int64_t weight = 0;
    bool full = false;
    /// Where it stands in the orders below.
    Rank urgency;
    Rank age;
  };
  struct Place {
    Rank rank;
    uint64_t lane;
    friend bool operator<(const Place& a, const Place& b) {
      return std::tie(a.rank, a.lane) < std::tie(b.rank, b.lane);
    }
  };

  static Rank Urgency(const Queue& queue) {
    const WaitingCall& first = queue.calls.front();
    return {first.since - queue.priority * kHeadStart, first.ticket};
  }
  /// The queue whose first call goes next. REQUIRES: not empty.
  static Queue& NextQueue(Lane& lane);
  WaitingCall Pop(Lane& lane, Queue& queue, std::deque<WaitingCall>::iterator at);
  bool IsRipe(const Lane& lane, absl::Time now) const { return lane.full || lane.age.first + max_delay_ <= now; }
  /// Takes `lane` out of the orders, and puts it back in where it belongs.
  void Unlist(uint64_t id, Lane& lane);
  void List(uint64_t id, Lane& lane, int64_t max_batch_rows);

  const JoinRule rule_;
  const absl::Duration max_delay_;
  int64_t weight_ = 0;
  absl::flat_hash_map<uint64_t, Lane> lanes_;
  /// The lanes with calls: by what goes next, and by the oldest call (only where there is a delay).
  std::set<Place> by_urgency_;
  std::set<Place> by_age_;
  size_t full_lanes_ = 0;
};

}  // namespace portico
