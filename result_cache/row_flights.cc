#include "result_cache/row_flights.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "base/check.h"

namespace portico {

bool RowFlights::MayWait(const Standing& standing, const Standing& leader) const {
  return standing.priority <= leader.priority && standing.product == leader.product &&
         leader.rows <= std::max(batch_rows_, kMaxTimesOwn * standing.rows);
}

RowFlights::Role RowFlights::Join(const Digest& row, const Standing& standing, const Ref<ParkedCall>& call,
                                  size_t index) {
  Shard& shard = ShardOf(row);
  MutexLock lock(&shard.mutex);
  const auto [found, is_new] = shard.flights.try_emplace(row);
  Flight& flight = found->second;
  if (is_new) {
    flight.leader = standing;
    return Role::kLead;
  }
  if (!MayWait(standing, flight.leader) || flight.waiting.size() >= kMaxWaiting) return Role::kAlone;
  flight.waiting.push_back({call, index});
  return Role::kWait;
}

void RowFlights::Leave(const Digest& row, const ParkedCall& call) {
  Ref<ParkedCall> left;  // Freed outside the lock.
  Shard& shard = ShardOf(row);
  MutexLock lock(&shard.mutex);
  const auto flight = shard.flights.find(row);
  if (flight == shard.flights.end()) return;
  std::vector<Waiting>& waiting = flight->second.waiting;
  const auto found = absl::c_find_if(waiting, [&](const Waiting& one) { return one.call.get() == &call; });
  if (found == waiting.end()) return;
  left = std::move(found->call);
  waiting.erase(found);
}

std::vector<RowFlights::Waiting> RowFlights::Land(const Digest& row) {
  Shard& shard = ShardOf(row);
  MutexLock lock(&shard.mutex);
  const auto found = shard.flights.find(row);
  PORTICO_CHECK(found != shard.flights.end());
  std::vector<Waiting> waiting = std::move(found->second.waiting);
  shard.flights.erase(found);
  return waiting;
}

}  // namespace portico
