#include "embedding/build_checkpoint.h"

#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "base/sync_folder.h"
#include "base/wire.h"
#include "embedding/crc32c.h"
#include "embedding/shard_map.h"

namespace portico {
namespace {

constexpr absl::string_view kMagic = "PORTCKPT";

enum Field : uint32_t { kFact = 1, kRows = 2, kBytes = 3, kLines = 4, kShard = 5, kDone = 6, kAll = 7 };
enum FactField : uint32_t { kWhat = 1, kValue = 2 };
enum ShardField : uint32_t { kShardRows = 1, kStringsBytes = 2, kChecksum = 3 };

std::string PathIn(const std::string& folder) { return absl::StrCat(folder, "/", kCheckpointFile); }

absl::Status Wrong(absl::string_view what) { return absl::DataLossError(absl::StrCat("checkpoint: ", what)); }

bool DecodeFact(absl::string_view bytes, BuildCheckpoint::Fact* fact) {
  WireReader in(bytes);
  while (in.Next()) {
    if (in.field() == kWhat) fact->what = std::string(in.Bytes());
    if (in.field() == kValue) fact->value = std::string(in.Bytes());
  }
  return !in.failed();
}

bool DecodeShard(absl::string_view bytes, ShardWriter::Saved* shard) {
  WireReader in(bytes);
  while (in.Next()) {
    if (in.field() == kShardRows) shard->rows = in.Varint();
    if (in.field() == kStringsBytes) shard->strings_bytes = in.Varint();
    if (in.field() == kChecksum) shard->checksum = in.Fixed32();
  }
  return !in.failed() && shard->rows <= kMaxTableRows && shard->strings_bytes <= kMaxStringBytes;
}

}  // namespace

std::string BuildCheckpoint::Encode() const {
  std::string bytes(kMagic);
  WireWriter out(&bytes);
  for (const Fact& fact : facts) {
    std::string inner;
    WireWriter writer(&inner);
    writer.Bytes(kWhat, fact.what);
    writer.Bytes(kValue, fact.value);
    out.Bytes(kFact, inner);
  }
  out.Varint(kRows, position.rows);
  out.Varint(kBytes, position.bytes);
  out.Varint(kLines, position.lines);
  out.Varint(kDone, done);
  out.Varint(kAll, all);
  for (const ShardWriter::Saved& shard : shards) {
    std::string inner;
    WireWriter writer(&inner);
    writer.Varint(kShardRows, shard.rows);
    writer.Varint(kStringsBytes, shard.strings_bytes);
    writer.Fixed32(kChecksum, shard.checksum);
    out.Bytes(kShard, inner);
  }
  const uint32_t crc = Crc32c(bytes);
  bytes.append(reinterpret_cast<const char*>(&crc), sizeof(crc));
  return bytes;
}

absl::StatusOr<BuildCheckpoint> BuildCheckpoint::Decode(absl::string_view bytes) {
  uint32_t want = 0;
  if (bytes.size() < kMagic.size() + sizeof(want) || bytes.substr(0, kMagic.size()) != kMagic)
    return Wrong(absl::StrCat("got ", bytes.size(), " bytes of something else"));
  std::memcpy(&want, bytes.data() + bytes.size() - sizeof(want), sizeof(want));
  bytes.remove_suffix(sizeof(want));
  if (const uint32_t got = Crc32c(bytes); got != want) {
    return Wrong(
        absl::StrCat("got CRC-32C ", absl::Hex(got, absl::kZeroPad8), ", want ", absl::Hex(want, absl::kZeroPad8)));
  }
  BuildCheckpoint checkpoint;
  bool whole = true;
  WireReader in(bytes.substr(kMagic.size()));
  while (whole && in.Next()) {
    switch (in.field()) {
      case kFact:
        whole = DecodeFact(in.Bytes(), &checkpoint.facts.emplace_back());
        break;
      case kRows:
        checkpoint.position.rows = in.Varint();
        break;
      case kBytes:
        checkpoint.position.bytes = in.Varint();
        break;
      case kLines:
        checkpoint.position.lines = in.Varint();
        break;
      case kDone:
        checkpoint.done = in.Varint();
        break;
      case kAll:
        checkpoint.all = in.Varint();
        break;
      case kShard:
        whole = DecodeShard(in.Bytes(), &checkpoint.shards.emplace_back());
        break;
      default:
        break;
    }
  }
  if (!whole || in.failed()) return Wrong("malformed");
  if (checkpoint.shards.empty() || checkpoint.shards.size() > ShardMap::kMaxShards)
    return Wrong(absl::StrCat("got ", checkpoint.shards.size(), " shards, want 1 to ", ShardMap::kMaxShards));
  uint64_t rows = 0;
  for (const ShardWriter::Saved& shard : checkpoint.shards) rows += shard.rows;
  if (rows != checkpoint.position.rows)
    return Wrong(absl::StrCat("got ", rows, " rows in the shards, want ", checkpoint.position.rows));
  return checkpoint;
}

absl::Status BuildCheckpoint::Write(const std::string& folder) const {
  RETURN_IF_ERROR(WriteFileAtomically(PathIn(folder), Encode()));
  return SyncFolder(std::filesystem::absolute(folder).parent_path().string());
}

absl::StatusOr<BuildCheckpoint> BuildCheckpoint::Read(const std::string& folder) {
  const absl::StatusOr<std::string> bytes = ReadFile(PathIn(folder), kMaxBytes);
  // Too long, or no plain file.
  if (absl::IsInvalidArgument(bytes.status())) return absl::DataLossError(bytes.status().message());
  RETURN_IF_ERROR(bytes.status());
  absl::StatusOr<BuildCheckpoint> checkpoint = Decode(*bytes);
  if (!checkpoint.ok()) return WithContext(absl::StrCat("file '", PathIn(folder), "'"), checkpoint.status());
  return checkpoint;
}

absl::Status BuildCheckpoint::Remove(const std::string& folder) {
  std::error_code error;
  std::filesystem::remove(PathIn(folder), error);
  return error ? ErrnoStatus(error.value(), "remove", PathIn(folder)) : absl::OkStatus();
}

}  // namespace portico
