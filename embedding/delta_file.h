#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/digest.h"
#include "embedding/shard_layout.h"
#include "embedding/updated_row.h"

namespace portico {

/// What a delta may be applied to: one version of one shard.
struct DeltaTarget {
  uint32_t shard = 0;
  uint32_t shards = 1;
  /// ShardLayout::content of its base.
  Digest base;
  /// StateDigest() of base and deltas so far.
  Digest state;
  /// That version's number; for messages.
  int64_t version = 0;
};

/// What the rows of a version are: its base, and the deltas on top in their order (SHA-256 of each file).
Digest StateDigest(const Digest& base, absl::Span<const Digest> deltas);

/// A delta file, read whole and checked whole (docs/shard_file.md): rows that take the place of those of a version, or
/// come beside them. Constant. DeltaWriter writes them.
struct DeltaFile {
  /// Beyond, compact the group instead: a delta is held in memory.
  static constexpr uint64_t kMaxBytes = uint64_t{16} << 30;

  struct Table {
    /// Name, dim, row type, kind of ids and seed; nothing else.
    TableSpec spec;
    /// Of a dense table, before and after; else 0.
    uint64_t rows_before = 0;
    uint64_t rows_after = 0;
    uint64_t rows = 0;
    std::vector<std::shared_ptr<const RowChunk>> chunks;
  };

  DeltaTarget target;
  /// SHA-256 of the file.
  Digest digest;
  std::vector<Table> tables;

  /// NOT_FOUND, INVALID_ARGUMENT (no delta file), DATA_LOSS (damaged: names the block); all name the file. Every number
  /// is checked before anything is taken by it.
  /// `want`: its digest where that is known; any other file is DATA_LOSS before anything in it is looked at.
  static absl::StatusOr<DeltaFile> Read(const std::string& path, const Digest* want = nullptr);
  /// DATA_LOSS where the file's digest is another. In memory while it is read, not afterwards.
  static absl::Status CheckDigest(const std::string& path, const Digest& want);
  /// How many rows a dense table has behind it, and so on, without the rows: only where the file is checked otherwise.
  static absl::StatusOr<std::vector<Table>> ReadTables(const std::string& path);
  /// FAILED_PRECONDITION where it is for another shard, base, version or table: says which.
  absl::Status CheckFits(const std::string& path, const ShardLayout& layout, const Digest& state) const;
};

// The format, for DeltaWriter and DeltaFile::Read() alone.
namespace delta_format {

inline constexpr absl::string_view kMagic = "PORTDELT";
inline constexpr uint32_t kFormat = 1;
/// Magic, format, four zeros; then the body.
inline constexpr uint64_t kHeadBytes = 16;
inline constexpr uint64_t kBlockBytes = 64 << 10;
/// Far beyond what the checksums of kMaxBytes take, and many tables.
inline constexpr uint64_t kMaxDirectoryBytes = 64 << 20;

struct TablePlace {
  TableSpec spec;
  uint64_t rows_before = 0;
  uint64_t rows_after = 0;
  uint64_t rows = 0;
  /// Offsets in the body.
  uint64_t rows_offset = 0;
  uint64_t strings_offset = 0;
  uint64_t strings_bytes = 0;
};
struct Directory {
  DeltaTarget target;
  std::vector<TablePlace> tables;
  uint64_t body_bytes = 0;
  /// CRC-32C of each kBlockBytes of the body.
  std::vector<uint32_t> checksums;
};
std::string EncodeDirectory(const Directory& directory);
/// Everything is inside the body. DATA_LOSS otherwise.
absl::StatusOr<Directory> DecodeDirectory(absl::string_view bytes);

/// The last bytes of the file.
struct Trailer {
  uint64_t file_bytes = 0;
  uint64_t directory_bytes = 0;
  uint32_t directory_crc = 0;
  /// Of the trailer, with zeros here.
  uint32_t crc = 0;
  char magic[8] = {};
};
static_assert(sizeof(Trailer) == 32);

}  // namespace delta_format
}  // namespace portico
