#include "remote_op/share_keys.h"

#include "embedding/id_hash.h"

namespace portico {

ShareKeys::ShareKeys(const EmbeddingSpec& spec, const LookupPlan::Share& share, uint32_t shards,
                     absl::Span<const uint32_t> tables)
    : spec_(spec), share_(share), map_(shards), tables_(tables), ids_(share.tensors[LookupCall::kIds].data<int64_t>()) {
  uint64_t numbers = 0, strings = 0;
  for (const LookupPlan::Entry& entry : share.entries) {
    uint64_t& next = spec.lookups[entry.lookup].id_kind == IdKind::kString ? strings : numbers;
    begins_.push_back(next);
    next += entry.ids;
  }
}

RowCache::Key ShareKeys::At(size_t entry, uint64_t index) const {
  const uint32_t lookup = share_.entries[entry].lookup;
  const uint64_t at = begins_[entry] + index;
  RowCache::Key key{tables_[lookup], 0, {}};
  switch (spec_.lookups[lookup].id_kind) {
    case IdKind::kDense:
      key.id = map_.DenseId(share_.shard, static_cast<uint64_t>(ids_[at]));
      break;
    case IdKind::kSparse:
      key.id = static_cast<uint64_t>(ids_[at]);
      break;
    case IdKind::kString:
      key.text = share_.tensors[LookupCall::kStrings].StringAt(at);
      key.id = HashId(key.text, ShardMap::kRoutingSeed);
      break;
  }
  return key;
}

}  // namespace portico
