#include "batcher/waiting_calls.h"

#include <algorithm>
#include <limits>

namespace portico {
namespace {

/// Empty lanes are kept for the next call of their kind, up to so many.
constexpr size_t kMaxIdleLanes = 64;
/// The same for flows of a lane.
constexpr size_t kMaxIdleFlows = 8;
/// The lane of calls that go alone.
constexpr uint64_t kAlone = 0;

bool IsDead(const WaitingCall& call, absl::Time now) {
  return call.context->cancelled.load(std::memory_order_relaxed) || now >= call.context->deadline.at();
}

}  // namespace

uint64_t WaitingCall::lane() const { return joinable ? std::max(hash, kAlone + 1) : kAlone; }

WaitingCalls::Account& WaitingCalls::AccountOf(const Product& product) {
  if (product.index >= accounts_.size()) accounts_.resize(product.index + 1);
  Account& account = accounts_[product.index];
  account.product = &product;
  return account;
}

int64_t WaitingCalls::WeightOf(const Product& product) const {
  return product.index < accounts_.size() ? accounts_[product.index].weight : 0;
}

int64_t WaitingCalls::RoomOf(const Product& product, int64_t max_rows) const {
  int64_t shares = WeightOf(product) > 0 ? 0 : product.share;
  for (const size_t index : active_) shares += accounts_[index].product->share;
  return static_cast<int64_t>(static_cast<double>(max_rows) * static_cast<double>(product.share) /
                              static_cast<double>(shares));
}

void WaitingCalls::Push(WaitingCall call, int64_t max_batch_rows) {
  const uint64_t id = call.lane();
  const int64_t weight = call.weight();
  Account& account = AccountOf(*call.product);
  const size_t product = call.product->index;
  if (account.weight == 0) {
    // Where nothing waited, nobody owes anything: what one had then kept nobody else waiting.
    if (active_.empty()) virtual_now_ = std::max(virtual_now_, latest_due_);
    account.due = std::max(account.due, virtual_now_);
    active_.push_back(product);
  }
  Lane& lane = lanes_[id];
  UnlistAge(id, lane);
  const auto find_flow = [&](auto wanted) { return std::find_if(lane.flows.begin(), lane.flows.end(), wanted); };
  auto flow = find_flow([&](const Flow& candidate) { return candidate.product == product; });
  if (flow == lane.flows.end()) flow = find_flow([](const Flow& candidate) { return candidate.weight == 0; });
  if (flow == lane.flows.end()) flow = lane.flows.insert(flow, Flow());
  flow->product = product;
  const int32_t priority = std::clamp(call.context->priority, -kMaxPriority, kMaxPriority);
  auto queue = flow->queues.begin();
  if (flow->weight == 0 && !flow->queues.empty()) queue->priority = priority;
  queue =
      std::find_if(queue, flow->queues.end(), [&](const Queue& candidate) { return candidate.priority == priority; });
  if (queue == flow->queues.end()) queue = flow->queues.insert(queue, Queue{priority, {}});
  if (!call.context->deadline.infinite()) {
    call.deadline_place = deadlines_.Add({call.context->deadline.at(), id, call.ticket});
  }
  queue->calls.Push(std::move(call));
  if (flow->weight == 0 || Urgency(*queue) < flow->head.urgency) Unlist(id, *flow);
  flow->weight += weight;
  lane.weight += weight;
  account.weight += weight;
  weight_ += weight;
  List(id, lane, max_batch_rows);
}

absl::Time WaitingCalls::RipeAt() const {
  if (empty()) return absl::InfiniteFuture();
  if (max_delay_ <= absl::ZeroDuration() || full_lanes_ > 0) return absl::InfinitePast();
  return by_age_.begin()->rank.first + max_delay_;
}

WaitingCalls::Queue& WaitingCalls::NextQueue(Flow& flow) {
  if (flow.queues.size() == 1) return flow.queues[0];
  return *std::min_element(flow.queues.begin(), flow.queues.end(), [](const Queue& a, const Queue& b) {
    return !a.calls.empty() && (b.calls.empty() || Urgency(a) < Urgency(b));
  });
}

const uint64_t* WaitingCalls::NextLane(absl::Time now, int64_t max_batch_rows, bool all) const {
  // Each product's next call in a lane that is ripe, and the highest priority among them.
  absl::InlinedVector<std::pair<size_t, const Place*>, 8> heads;
  int32_t highest = -kMaxPriority;
  for (const size_t product : active_) {
    const std::set<Place>& places = accounts_[product].by_urgency;
    auto place = places.begin();
    if (!all && max_delay_ > absl::ZeroDuration()) {
      while (place != places.end() && !IsRipe(lanes_.at(place->lane), now)) ++place;
    }
    if (place == places.end()) continue;
    heads.emplace_back(product, &*place);
    highest = std::max(highest, place->priority);
  }
  const auto first = std::min_element(heads.begin(), heads.end(), [&](const auto& a, const auto& b) {
    return GoesBefore({a.second->rank, a.second->priority}, a.first, {b.second->rank, b.second->priority}, b.first,
                      now - highest * kHeadStart, max_batch_rows);
  });
  return first == heads.end() ? nullptr : &first->second->lane;
}

WaitingCalls::Flow& WaitingCalls::NextFlow(Lane& lane, absl::Time now, int64_t max_batch_rows) const {
  if (lane.flows.size() == 1) return lane.flows[0];
  int32_t highest = -kMaxPriority;
  for (const Flow& flow : lane.flows) {
    if (flow.weight > 0) highest = std::max(highest, flow.head.priority);
  }
  return *std::min_element(lane.flows.begin(), lane.flows.end(), [&](const Flow& a, const Flow& b) {
    if (a.weight == 0 || b.weight == 0) return a.weight > 0 && b.weight == 0;
    return GoesBefore(a.head, a.product, b.head, b.product, now - highest * kHeadStart, max_batch_rows);
  });
}

bool WaitingCalls::GoesBefore(const Head& a, size_t a_product, const Head& b, size_t b_product, absl::Time urgent,
                              int64_t max_batch_rows) const {
  const bool a_late = a.urgency.first > urgent, b_late = b.urgency.first > urgent;
  if (a_late != b_late) return b_late;
  const double a_due = DueOf(a_product, max_batch_rows), b_due = DueOf(b_product, max_batch_rows);
  return a_due != b_due ? a_due < b_due : a.urgency < b.urgency;
}

WaitingCalls::Taken WaitingCalls::TakeBatch(absl::Time now, int64_t max_batch_rows, bool all) {
  Taken taken;
  const uint64_t* const next_lane = NextLane(now, max_batch_rows, all);
  if (next_lane == nullptr) return taken;
  const uint64_t id = *next_lane;
  Lane& lane = lanes_.at(id);
  UnlistAge(id, lane);
  int64_t weight = 0;
  while (lane.weight > 0) {
    Flow& flow = NextFlow(lane, now, max_batch_rows);
    const WaitingCall& next = NextQueue(flow).calls.front();
    if (IsDead(next, now)) {
      taken.dead.push_back(PopHead(id, lane, flow));
      continue;
    }
    if (!taken.calls.empty() && (!next.joinable || weight + next.weight() > max_batch_rows ||
                                 // Equal hashes do not make equal inputs; what differs starts the next run.
                                 !CanJoin(taken.calls.front().inputs, next.inputs, rule_))) {
      break;
    }
    weight += next.weight();
    Charge(flow.product, next.weight(), max_batch_rows);
    taken.calls.push_back(PopHead(id, lane, flow));
  }
  List(id, lane, max_batch_rows);
  return taken;
}

void WaitingCalls::Charge(size_t product, int64_t weight, int64_t max_batch_rows) {
  Account& account = accounts_[product];
  const double due = DueOf(product, max_batch_rows);
  virtual_now_ = std::max(virtual_now_, due);
  account.due = due + static_cast<double>(weight) / static_cast<double>(account.product->share);
  latest_due_ = std::max(latest_due_, account.due);
}

std::optional<WaitingCall> WaitingCalls::Remove(uint64_t lane_id, uint64_t ticket) {
  const auto found = lanes_.find(lane_id);
  if (found == lanes_.end()) return std::nullopt;
  Lane& lane = found->second;
  for (Flow& flow : lane.flows) {
    for (Queue& queue : flow.queues) {
      std::optional<WaitingCall> call = queue.calls.Take(ticket);
      if (!call.has_value()) continue;
      const bool was_full = lane.full;
      UnlistAge(lane_id, lane);
      Unlist(lane_id, flow);
      Forget(*call, lane, flow, queue);
      // A lane that was full may go early: its calls were promised no delay.
      List(lane_id, lane, was_full ? 0 : std::numeric_limits<int64_t>::max());
      return call;
    }
  }
  return std::nullopt;
}

std::vector<WaitingCall> WaitingCalls::TakeLate(absl::Time now, size_t most) {
  std::vector<WaitingCall> late;
  for (const DeadlineIndex::Entry& passed : deadlines_.TakePassed(now, most)) {
    if (auto call = Remove(passed.lane, passed.ticket)) late.push_back(*std::move(call));
  }
  return late;
}

std::vector<WaitingCall> WaitingCalls::TakeAll() {
  std::vector<WaitingCall> calls;
  for (auto& [id, lane] : lanes_) {
    while (lane.weight > 0) {
      Flow& flow = *std::find_if(lane.flows.begin(), lane.flows.end(), [](const Flow& one) { return one.weight > 0; });
      calls.push_back(PopHead(id, lane, flow));
    }
  }
  lanes_.clear();
  by_age_.clear();
  full_lanes_ = 0;
  return calls;
}

WaitingCall WaitingCalls::PopHead(uint64_t id, Lane& lane, Flow& flow) {
  Unlist(id, flow);
  Queue& queue = NextQueue(flow);
  WaitingCall call = queue.calls.PopFront();
  Forget(call, lane, flow, queue);
  return call;
}

void WaitingCalls::Forget(const WaitingCall& call, Lane& lane, Flow& flow, Queue& queue) {
  if (call.deadline_place != DeadlineIndex::kNone) deadlines_.Drop(call.deadline_place);
  const size_t product = flow.product;
  flow.weight -= call.weight();
  lane.weight -= call.weight();
  weight_ -= call.weight();
  // The last queue stays for the next call, and so do a few flows.
  if (queue.calls.empty() && flow.queues.size() > 1) {
    if (&queue != &flow.queues.back()) std::swap(queue, flow.queues.back());
    flow.queues.pop_back();
  }
  if (flow.weight > 0) {
    const Queue& next = NextQueue(flow);
    flow.head = {Urgency(next), next.priority};
  } else if (lane.flows.size() > kMaxIdleFlows) {
    if (&flow != &lane.flows.back()) std::swap(flow, lane.flows.back());
    lane.flows.pop_back();
  }
  if ((accounts_[product].weight -= call.weight()) == 0) {
    active_.erase(std::find(active_.begin(), active_.end(), product));
  }
}

void WaitingCalls::Unlist(uint64_t id, Flow& flow) {
  if (std::exchange(flow.listed, false)) {
    accounts_[flow.product].by_urgency.erase({flow.head.urgency, id});
  }
}

void WaitingCalls::UnlistAge(uint64_t id, Lane& lane) {
  if (lane.weight == 0 || max_delay_ <= absl::ZeroDuration()) return;
  by_age_.erase({lane.age, id});
  if (std::exchange(lane.full, false)) --full_lanes_;
}

void WaitingCalls::List(uint64_t id, Lane& lane, int64_t max_batch_rows) {
  if (lane.weight == 0) {
    if (lanes_.size() > kMaxIdleLanes) lanes_.erase(id);
    return;
  }
  for (Flow& flow : lane.flows) {
    if (flow.listed || flow.weight == 0) continue;
    const Queue& next = NextQueue(flow);
    flow.head = {Urgency(next), next.priority};
    accounts_[flow.product].by_urgency.insert({flow.head.urgency, id, flow.head.priority});
    flow.listed = true;
  }
  if (max_delay_ <= absl::ZeroDuration()) return;
  lane.age = {absl::InfiniteFuture(), 0};
  for (const Flow& flow : lane.flows) {
    for (const Queue& queue : flow.queues) {
      if (queue.calls.empty()) continue;
      lane.age = std::min(lane.age, Rank(queue.calls.front().since, queue.calls.front().ticket));
    }
  }
  by_age_.insert({lane.age, id});
  lane.full = lane.weight >= max_batch_rows || id == kAlone;
  if (lane.full) ++full_lanes_;
}

}  // namespace portico
