#include "embedding/group_shards.h"

#include <filesystem>
#include <map>
#include <set>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "embedding/shard_map.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxCurrentBytes = 64;

std::string CurrentFile(const std::string& group) { return absl::StrCat(group, "/", kCurrentShardsFile); }

/// The number in `current`; 0 where there is no such file.
absl::StatusOr<uint32_t> ReadCurrent(const std::string& group) {
  const absl::StatusOr<std::string> text = ReadFile(CurrentFile(group), kMaxCurrentBytes);
  if (absl::IsNotFound(text.status())) return 0;
  RETURN_IF_ERROR(text.status());
  uint32_t shards = 0;
  if (absl::SimpleAtoi(absl::StripAsciiWhitespace(*text), &shards) && shards >= 1 && shards <= ShardMap::kMaxShards) {
    return shards;
  }
  return absl::FailedPreconditionError(absl::StrCat("file '", CurrentFile(group), "': got '", *text,
                                                    "', want the number of shards, 1 to ", ShardMap::kMaxShards));
}

}  // namespace

std::string ShardFolder(uint32_t shard, uint32_t shards) { return absl::StrCat(shard, "of", shards); }

bool IsShardFolder(absl::string_view name, uint32_t* shard, uint32_t* shards) {
  const size_t of = name.find("of");
  return of != absl::string_view::npos && absl::SimpleAtoi(name.substr(0, of), shard) &&
         absl::SimpleAtoi(name.substr(of + 2), shards) && *shard < *shards && *shards <= ShardMap::kMaxShards &&
         name == ShardFolder(*shard, *shards);
}

std::string ShardPathOf(const std::string& group, uint32_t shard, uint32_t shards) {
  return (fs::path(group) / ShardFolder(shard, shards)).string();
}

absl::StatusOr<uint32_t> ServingShards(const std::string& group) {
  ASSIGN_OR_RETURN(uint32_t current, ReadCurrent(group));
  // By number of shards, which there are.
  std::map<uint32_t, std::set<uint32_t>> sets;
  std::error_code error;
  for (fs::directory_iterator entry(group, error), end; !error && entry != end; entry.increment(error)) {
    uint32_t shard = 0, shards = 0;
    if (IsShardFolder(entry->path().filename().string(), &shard, &shards)) sets[shards].insert(shard);
  }
  if (error) return ErrnoStatus(error.value(), "list folder", group);
  if (current == 0) {
    if (sets.empty()) {
      return absl::NotFoundError(absl::StrCat("folder '", group, "': got no shard, want folders such as '",
                                              ShardPathOf(group, 0, 2), "'; write tables there"));
    }
    if (sets.size() > 1) {
      return absl::FailedPreconditionError(absl::StrCat("folder '", group, "': got sets of ", sets.begin()->first,
                                                        " and of ", sets.rbegin()->first,
                                                        " shards, want one, or the number of those that serve in '",
                                                        CurrentFile(group), "'; write it or remove one"));
    }
    current = sets.begin()->first;
  }
  for (uint32_t shard = 0; shard < current; ++shard) {
    if (sets[current].contains(shard)) continue;
    return absl::NotFoundError(absl::StrCat("folder '", ShardPathOf(group, shard, current),
                                            "': got none, want one for each of ", current, " shards"));
  }
  return current;
}

absl::Status SetServingShards(const std::string& group, uint32_t shards) {
  return WriteFileAtomically(CurrentFile(group), absl::StrCat(shards, "\n"));
}

}  // namespace portico
