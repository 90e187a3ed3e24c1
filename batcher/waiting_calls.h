#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "absl/time/time.h"
#include "batcher/call_queue.h"
#include "batcher/deadline_index.h"
#include "batcher/products.h"
#include "batcher/rows.h"
#include "batcher/waiting_call.h"

namespace portico {

/// The calls in front of a batcher, in lanes: those of one lane may be joined. A lane is ripe once it is full or its
/// first call has waited for the delay. Not thread-safe: the batcher locks.
///
/// Within a product the call that has waited longest goes next, where each step of priority counts as kHeadStart of
/// waiting: higher priorities go first, and low ones don't wait for ever. Of several products, the one goes next that
/// has had the fewest rows by its share (start-time fair queueing: each has a virtual time, that of its rows so far by
/// its share; one that comes anew begins where the others are, so that nobody saves up for later). A product whose next
/// call has a lower priority than another's does not take part until that call has waited for the difference: then it
/// counts as much, and no more. What a product does not use goes to the others. O(log calls + products) a call.
class WaitingCalls {
 public:
  /// What a step of priority is worth. Priorities count from −kMaxPriority to kMaxPriority.
  static constexpr absl::Duration kHeadStart = absl::Milliseconds(100);
  static constexpr int32_t kMaxPriority = 4;

  WaitingCalls(JoinRule rule, absl::Duration max_delay) : rule_(std::move(rule)), max_delay_(max_delay) {}

  /// `max_batch_rows`, here and below: the rows that fill a lane, and that a run may hold. REQUIRES: it has a product.
  void Push(WaitingCall call, int64_t max_batch_rows);
  /// Sum of the weights of what waits.
  int64_t weight() const { return weight_; }
  int64_t WeightOf(const Product& product) const;
  bool empty() const { return weight_ == 0; }
  /// How much of `max_rows` a product may have waiting beside those that wait now.
  int64_t RoomOf(const Product& product, int64_t max_rows) const;
  /// When there is something to take: in the past when there is now, never while nothing waits.
  absl::Time RipeAt() const;

  /// The calls of the next run, and apart from them those met on the way that are cancelled or past their deadline.
  /// Both may be empty. With `all`, lanes count as ripe.
  struct Taken {
    std::vector<WaitingCall> calls;
    std::vector<WaitingCall> dead;
  };
  Taken TakeBatch(absl::Time now, int64_t max_batch_rows, bool all);
  /// The call of that ticket, if it still waits in that lane. O(log calls + products).
  std::optional<WaitingCall> Remove(uint64_t lane, uint64_t ticket);
  /// No call's deadline is sooner. O(1).
  absl::Time soonest_deadline() const { return deadlines_.soonest(); }
  /// Takes calls whose deadline has passed, wherever they are in the order. Looks at `most` deadlines: where more may
  /// have passed, soonest_deadline() still has.
  std::vector<WaitingCall> TakeLate(absl::Time now, size_t most);
  /// Everything that waits.
  std::vector<WaitingCall> TakeAll();

 private:
  /// Calls of one priority, in the order they came. May be empty where it is the only one of its flow.
  struct Queue {
    int32_t priority = 0;
    CallQueue calls;
  };
  /// A time, and the ticket that decides between equal ones.
  using Rank = std::pair<absl::Time, uint64_t>;
  /// A call that may go next.
  struct Head {
    Rank urgency;
    int32_t priority = 0;
  };
  /// The calls of one product in a lane. May be empty, and is any product's then.
  struct Flow {
    size_t product = 0;
    absl::InlinedVector<Queue, 1> queues;
    int64_t weight = 0;
    /// What of it goes next; where it has calls.
    Head head;
    /// Whether its product's by_urgency has it, with that head.
    bool listed = false;
  };
  struct Lane {
    absl::InlinedVector<Flow, 1> flows;
    /// 0: no calls.
    int64_t weight = 0;
    bool full = false;
    /// Where it stands in by_age_.
    Rank age;
  };
  struct Place {
    Rank rank;
    uint64_t lane;
    int32_t priority = 0;
    friend bool operator<(const Place& a, const Place& b) {
      return std::tie(a.rank, a.lane) < std::tie(b.rank, b.lane);
    }
  };
  /// What a product has waiting and what it has had.
  struct Account {
    const Product* product = nullptr;
    int64_t weight = 0;
    /// Virtual time of its next call.
    double due = 0;
    /// The lanes with its calls, by what goes next.
    std::set<Place> by_urgency;
  };

  static Rank Urgency(const Queue& queue) {
    const WaitingCall& first = queue.calls.front();
    return {first.since - queue.priority * kHeadStart, first.ticket};
  }
  Account& AccountOf(const Product& product);
  /// A product's next call in virtual time: what it did not take while others could is gone, but for a run of rows.
  double DueOf(size_t product, int64_t max_batch_rows) const {
    const Account& account = accounts_[product];
    const double run = static_cast<double>(max_batch_rows) / static_cast<double>(account.product->share);
    return std::max(account.due, virtual_now_ - run);
  }
  /// Whether the next call of one product goes before that of another. `urgent`: how urgent a call must be to take part
  /// beside the highest priority.
  bool GoesBefore(const Head& a, size_t a_product, const Head& b, size_t b_product, absl::Time urgent,
                  int64_t max_batch_rows) const;
  /// The lane that the next run is from; null: none is ripe.
  const uint64_t* NextLane(absl::Time now, int64_t max_batch_rows, bool all) const;
  /// The flow whose head goes next. REQUIRES: the lane has calls.
  Flow& NextFlow(Lane& lane, absl::Time now, int64_t max_batch_rows) const;
  /// The queue whose first call is the flow's head. REQUIRES: not empty.
  static Queue& NextQueue(Flow& flow);
  /// `call` has left `queue`. Flow and queue may be gone then.
  void Forget(const WaitingCall& call, Lane& lane, Flow& flow, Queue& queue);
  /// Takes the head of `flow`, which may be gone then.
  WaitingCall PopHead(uint64_t id, Lane& lane, Flow& flow);
  /// It has had so many rows more.
  void Charge(size_t product, int64_t weight, int64_t max_batch_rows);
  bool IsRipe(const Lane& lane, absl::Time now) const { return lane.full || lane.age.first + max_delay_ <= now; }
  /// Takes a flow out of its product's order.
  void Unlist(uint64_t id, Flow& flow);
  /// Takes a lane out of by_age_.
  void UnlistAge(uint64_t id, Lane& lane);
  /// Puts a lane, and those of its flows that were taken out, back in where they belong.
  void List(uint64_t id, Lane& lane, int64_t max_batch_rows);

  const JoinRule rule_;
  const absl::Duration max_delay_;
  int64_t weight_ = 0;
  absl::flat_hash_map<uint64_t, Lane> lanes_;
  DeadlineIndex deadlines_;
  /// By Product::index.
  std::vector<Account> accounts_;
  /// Indexes of those that have something waiting.
  std::vector<size_t> active_;
  /// Virtual time: of the call that was taken last.
  double virtual_now_ = 0;
  /// The latest of all accounts' due.
  double latest_due_ = 0;
  /// The lanes with calls by the oldest call (only where there is a delay).
  std::set<Place> by_age_;
  size_t full_lanes_ = 0;
};

}  // namespace portico
