#include "result_cache/row_flights.h"

#include <utility>

#include "base/check.h"

namespace portico {

RowFlights::Role RowFlights::Join(const Digest& row, int32_t priority, const Ref<ParkedCall>& call, size_t index) {
  Shard& shard = ShardOf(row);
  MutexLock lock(&shard.mutex);
  const auto [found, is_new] = shard.flights.try_emplace(row);
  Flight& flight = found->second;
  if (is_new) {
    flight.priority = priority;
    return Role::kLead;
  }
  if (priority > flight.priority || flight.waiting.size() >= kMaxWaiting) return Role::kAlone;
  flight.waiting.push_back({call, index});
  return Role::kWait;
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
