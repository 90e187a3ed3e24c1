#include "remote_op/shard_routes.h"

#include "embedding/lookup_call.h"

namespace portico {

ShardRoutes::ShardRoutes(const std::string& group, uint32_t shards) {
  const ShardMap map(shards);
  for (uint32_t bucket = 0; bucket < ShardMap::kBuckets; ++bucket) {
    shard_[bucket] = static_cast<uint16_t>(map.ShardOfDense(bucket));
    first_[bucket] = static_cast<uint16_t>(map.LocalRow(bucket));
  }
  WantedOutput rows;
  rows.name = std::string(LookupCall::kOutputNames[LookupCall::kRows]);
  rows.dtype = DType::kUint8;
  rows.shape = {-1};
  WantedOutput found;
  found.name = std::string(LookupCall::kOutputNames[LookupCall::kFound]);
  found.dtype = DType::kInt64;
  found.shape = {-1, LookupCall::kFoundColumns};
  for (uint32_t shard = 0; shard < shards; ++shard) {
    RouteTarget& target = targets_.emplace_back();
    target.servable.name = ShardName(group, shard, shards);
    target.signature = std::string(LookupCall::kSignature);
    for (const absl::string_view name : LookupCall::kInputNames) target.input_names.emplace_back(name);
    target.outputs = {rows, found};
    buckets_of_.push_back(map.BucketsOf(shard));
  }
}

const ShardRoutes& GroupRoutes::For(uint32_t shards) {
  const ShardRoutes* last = last_.load(std::memory_order_acquire);
  if (last != nullptr && last->shards() == shards) return *last;
  MutexLock lock(&mutex_);
  const ShardRoutes* wanted = nullptr;
  for (const auto& one : all_) {
    if (one->shards() == shards) wanted = one.get();
  }
  if (wanted == nullptr) wanted = all_.emplace_back(std::make_unique<const ShardRoutes>(group_, shards)).get();
  last_.store(wanted, std::memory_order_release);
  return *wanted;
}

}  // namespace portico
