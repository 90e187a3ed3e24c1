#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace portico {

/// The file in a group's folder that says which set of shards serves: their number, as text.
inline constexpr absl::string_view kCurrentShardsFile = "current";

/// The file of rows in a shard's version folder.
inline constexpr absl::string_view kShardFile = "table.shard";

/// Into how many shards the group in a folder is divided, as it serves: the number in its file `current`; without one,
/// the only N of which there are shard folders KofN. All shards of that number have a folder. NOT_FOUND where a folder
/// is missing; FAILED_PRECONDITION where there are sets of several numbers and no `current`, or where that says
/// nothing; both with a remedy.
///
/// Whoever reshards writes `current` with the old number first, then the new set beside the old one, then `current`
/// with the new number: whoever reads in between finds the old set, and a process that is killed leaves it.
absl::StatusOr<uint32_t> ServingShards(const std::string& group);

/// Has the set of `shards` serve from now on: `current` is there before this returns, whole, or as it was.
/// REQUIRES: 1 to ShardMap::kMaxShards.
absl::Status SetServingShards(const std::string& group, uint32_t shards);

/// The folder of a group's shard, below the group's own: "0of2".
std::string ShardFolder(uint32_t shard, uint32_t shards);
/// Reads "0of2"; false for any other name.
bool IsShardFolder(absl::string_view name, uint32_t* shard, uint32_t* shards);
/// The folder of one shard's versions: GROUP/KofN.
std::string ShardPathOf(const std::string& group, uint32_t shard, uint32_t shards);

}  // namespace portico
