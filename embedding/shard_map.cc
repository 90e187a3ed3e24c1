#include "embedding/shard_map.h"

#include "absl/strings/str_cat.h"

namespace portico {

std::string ShardName(absl::string_view group, uint32_t shard, uint32_t shards) {
  return absl::StrCat(group, ".", shard, "of", shards);
}

}  // namespace portico
