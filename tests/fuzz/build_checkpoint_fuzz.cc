// The checkpoint of a build, with a checksum that fits: what a broken or a hostile writer would leave. It is refused,
// or is what is written again.

#include <cstring>

#include "embedding/build_checkpoint.h"
#include "embedding/crc32c.h"
#include "embedding/shard_map.h"
#include "tests/fuzz/fuzz.h"

namespace portico {
namespace {

/// Input: all of the file but its checksum.
void FuzzOne(absl::string_view input) {
  std::string bytes(input);
  const uint32_t crc = Crc32c(bytes);
  bytes.append(reinterpret_cast<const char*>(&crc), sizeof(crc));
  (void)BuildCheckpoint::Decode(FuzzOrigin(input).bytes());
  const FuzzOrigin exact(bytes);
  const auto checkpoint = BuildCheckpoint::Decode(exact.bytes());
  if (!checkpoint.ok()) {
    FuzzCheck(absl::IsDataLoss(checkpoint.status()), "a build begins anew");
    return;
  }
  FuzzCheck(!checkpoint->shards.empty() && checkpoint->shards.size() <= ShardMap::kMaxShards, "shards are bounded");
  uint64_t rows = 0;
  for (const ShardWriter::Saved& shard : checkpoint->shards) {
    FuzzCheck(shard.rows <= kMaxTableRows && shard.strings_bytes <= kMaxStringBytes, "so is what they have");
    rows += shard.rows;
  }
  FuzzCheck(rows == checkpoint->position.rows, "rows are those of the shards");
  const auto again = BuildCheckpoint::Decode(checkpoint->Encode());
  FuzzCheckOk(again.status(), "it is read again");
  FuzzCheck(again->Encode() == checkpoint->Encode(), "as the same");
}

}  // namespace
}  // namespace portico

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  portico::FuzzOne({reinterpret_cast<const char*>(data), size});
  return 0;
}
