#include "batcher/waiting_calls.h"

#include <algorithm>

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

void WaitingCalls::Push(WaitingCall call) {
  const uint64_t hash = call.joinable ? std::max(call.hash, kAlone + 1) : kAlone;
  Lane& lane = lanes_[hash];
  const bool was_empty = lane.entries.empty();
  lane.weight += call.weight();
  weight_ += call.weight();
  lane.entries.push_back({pushed_++, std::move(call)});
  const Place place(lane.entries.front().number, hash);
  if (was_empty) by_age_.insert(place);
  if (!lane.in_full && IsFull(lane)) {
    full_.insert(place);
    lane.in_full = true;
  }
}

bool WaitingCalls::IsFull(const Lane& lane) const {
  return lane.weight >= max_batch_rows_ || !lane.entries.front().call.joinable;
}

absl::Time WaitingCalls::RipeAt() const {
  if (by_age_.empty()) return absl::InfiniteFuture();
  if (max_delay_ <= absl::ZeroDuration() || !full_.empty()) return absl::InfinitePast();
  return lanes_.at(by_age_.begin()->second).entries.front().call.since + max_delay_;
}

WaitingCalls::Taken WaitingCalls::TakeBatch(absl::Time now, bool all) {
  Taken taken;
  if (by_age_.empty()) return taken;
  Place place = *by_age_.begin();
  if (!all && lanes_.at(place.second).entries.front().call.since + max_delay_ > now) {
    if (full_.empty()) return taken;
    place = *full_.begin();
  }
  const uint64_t hash = place.second;
  Lane& lane = lanes_.at(hash);
  Unlist(hash, lane);
  int64_t weight = 0;
  while (!lane.entries.empty()) {
    const WaitingCall& next = lane.entries.front().call;
    if (IsDead(next, now)) {
      taken.dead.push_back(PopFront(lane).call);
      continue;
    }
    if (!taken.calls.empty() && (!next.joinable || weight + next.weight() > max_batch_rows_ ||
                                 // Equal hashes do not make equal inputs; what differs starts the next run.
                                 !CanJoin(taken.calls.front().inputs, next.inputs, row_inputs_))) {
      break;
    }
    weight += next.weight();
    taken.calls.push_back(PopFront(lane).call);
  }
  List(hash, lane);
  return taken;
}

std::vector<WaitingCall> WaitingCalls::TakeAll() {
  std::vector<WaitingCall> calls;
  for (auto& [hash, lane] : lanes_) {
    while (!lane.entries.empty()) calls.push_back(PopFront(lane).call);
  }
  lanes_.clear();
  by_age_.clear();
  full_.clear();
  return calls;
}

WaitingCalls::Entry WaitingCalls::PopFront(Lane& lane) {
  Entry entry = std::move(lane.entries.front());
  lane.entries.pop_front();
  lane.weight -= entry.call.weight();
  weight_ -= entry.call.weight();
  return entry;
}

void WaitingCalls::Unlist(uint64_t hash, Lane& lane) {
  const Place place(lane.entries.front().number, hash);
  by_age_.erase(place);
  if (lane.in_full) full_.erase(place);
  lane.in_full = false;
}

void WaitingCalls::List(uint64_t hash, Lane& lane) {
  if (lane.entries.empty()) {
    if (lanes_.size() > kMaxIdleLanes) lanes_.erase(hash);
    return;
  }
  const Place place(lane.entries.front().number, hash);
  by_age_.insert(place);
  lane.in_full = IsFull(lane);
  if (lane.in_full) full_.insert(place);
}

}  // namespace portico
