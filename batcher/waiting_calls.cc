#include "batcher/waiting_calls.h"

#include <algorithm>
#include <limits>

namespace portico {
namespace {

/// Empty lanes are kept for the next call of their kind, up to so many.
constexpr size_t kMaxIdleLanes = 64;
/// The lane of calls that go alone.
constexpr uint64_t kAlone = 0;

bool IsDead(const WaitingCall& call, absl::Time now) {
  return call.context->cancelled.load(std::memory_order_relaxed) || now >= call.context->deadline.at();
}

}  // namespace

uint64_t WaitingCall::lane() const { return joinable ? std::max(hash, kAlone + 1) : kAlone; }

void WaitingCalls::Push(WaitingCall call, int64_t max_batch_rows) {
  const uint64_t id = call.lane();
  Lane& lane = lanes_[id];
  Unlist(id, lane);
  lane.weight += call.weight();
  weight_ += call.weight();
  const int32_t priority = std::clamp(call.context->priority, -kMaxPriority, kMaxPriority);
  if (lane.queues.size() == 1 && lane.queues[0].calls.empty()) lane.queues[0].priority = priority;
  auto queue = std::find_if(lane.queues.begin(), lane.queues.end(),
                            [&](const Queue& candidate) { return candidate.priority == priority; });
  if (queue == lane.queues.end()) queue = lane.queues.insert(queue, Queue{priority, {}});
  queue->calls.push_back(std::move(call));
  List(id, lane, max_batch_rows);
}

absl::Time WaitingCalls::RipeAt() const {
  if (empty()) return absl::InfiniteFuture();
  if (max_delay_ <= absl::ZeroDuration() || full_lanes_ > 0) return absl::InfinitePast();
  return by_age_.begin()->rank.first + max_delay_;
}

WaitingCalls::Queue& WaitingCalls::NextQueue(Lane& lane) {
  return *std::min_element(lane.queues.begin(), lane.queues.end(),
                           [](const Queue& a, const Queue& b) { return Urgency(a) < Urgency(b); });
}

WaitingCalls::Taken WaitingCalls::TakeBatch(absl::Time now, int64_t max_batch_rows, bool all) {
  Taken taken;
  auto place = by_urgency_.begin();
  if (!all && max_delay_ > absl::ZeroDuration()) {
    while (place != by_urgency_.end() && !IsRipe(lanes_.at(place->lane), now)) ++place;
  }
  if (place == by_urgency_.end()) return taken;
  const uint64_t id = place->lane;
  Lane& lane = lanes_.at(id);
  Unlist(id, lane);
  int64_t weight = 0;
  while (lane.weight > 0) {
    Queue& queue = NextQueue(lane);
    const WaitingCall& next = queue.calls.front();
    if (IsDead(next, now)) {
      taken.dead.push_back(Pop(lane, queue, queue.calls.begin()));
      continue;
    }
    if (!taken.calls.empty() && (!next.joinable || weight + next.weight() > max_batch_rows ||
                                 // Equal hashes do not make equal inputs; what differs starts the next run.
                                 !CanJoin(taken.calls.front().inputs, next.inputs, rule_))) {
      break;
    }
    weight += next.weight();
    taken.calls.push_back(Pop(lane, queue, queue.calls.begin()));
  }
  List(id, lane, max_batch_rows);
  return taken;
}

std::optional<WaitingCall> WaitingCalls::Remove(uint64_t lane_id, uint64_t ticket) {
  const auto found = lanes_.find(lane_id);
  if (found == lanes_.end()) return std::nullopt;
  Lane& lane = found->second;
  for (Queue& queue : lane.queues) {
    const auto call = std::find_if(queue.calls.begin(), queue.calls.end(),
                                   [&](const WaitingCall& candidate) { return candidate.ticket == ticket; });
    if (call == queue.calls.end()) continue;
    const bool was_full = lane.full;
    Unlist(lane_id, lane);
    WaitingCall removed = Pop(lane, queue, call);
    // A lane that was full may go early: its calls were promised no delay.
    List(lane_id, lane, was_full ? 0 : std::numeric_limits<int64_t>::max());
    return removed;
  }
  return std::nullopt;
}

std::vector<WaitingCall> WaitingCalls::TakeAll() {
  std::vector<WaitingCall> calls;
  for (auto& [id, lane] : lanes_) {
    while (lane.weight > 0) {
      Queue& queue = NextQueue(lane);
      calls.push_back(Pop(lane, queue, queue.calls.begin()));
    }
  }
  lanes_.clear();
  by_urgency_.clear();
  by_age_.clear();
  full_lanes_ = 0;
  return calls;
}

WaitingCall WaitingCalls::Pop(Lane& lane, Queue& queue, std::deque<WaitingCall>::iterator at) {
  WaitingCall call = std::move(*at);
  queue.calls.erase(at);
  lane.weight -= call.weight();
  weight_ -= call.weight();
  // The last queue stays for the next call.
  if (queue.calls.empty() && lane.queues.size() > 1) {
    if (&queue != &lane.queues.back()) std::swap(queue, lane.queues.back());
    lane.queues.pop_back();
  }
  return call;
}

void WaitingCalls::Unlist(uint64_t id, Lane& lane) {
  if (lane.weight == 0) return;
  by_urgency_.erase({lane.urgency, id});
  if (max_delay_ > absl::ZeroDuration()) by_age_.erase({lane.age, id});
  if (std::exchange(lane.full, false)) --full_lanes_;
}

void WaitingCalls::List(uint64_t id, Lane& lane, int64_t max_batch_rows) {
  if (lane.weight == 0) {
    if (lanes_.size() > kMaxIdleLanes) lanes_.erase(id);
    return;
  }
  lane.urgency = Urgency(NextQueue(lane));
  by_urgency_.insert({lane.urgency, id});
  if (max_delay_ <= absl::ZeroDuration()) return;
  lane.age = {absl::InfiniteFuture(), 0};
  for (const Queue& queue : lane.queues) {
    lane.age = std::min(lane.age, Rank(queue.calls.front().since, queue.calls.front().ticket));
  }
  by_age_.insert({lane.age, id});
  lane.full = lane.weight >= max_batch_rows || id == kAlone;
  if (lane.full) ++full_lanes_;
}

}  // namespace portico
