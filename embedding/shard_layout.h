#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/digest.h"
#include "embedding/table_spec.h"

namespace portico {

/// What is where in a shard file (docs/shard_file.md). All numbers are little-endian.
///
///     0       superblock
///     4 KB    the same again
///     2 MB    rows, strings, index of the first table, each from a multiple of 2 MB on, filled up to 64 KB
///     ...     those of the others
///     ...     checksums: CRC-32C of each 64 KB of the file so far
///     ...     directory: protobuf's wire format, at the end of the file
struct ShardLayout {
  static constexpr uint64_t kBlockBytes = 64 << 10;
  static constexpr uint64_t kSectionAlignment = 2 << 20;
  static constexpr uint64_t kSuperblockBytes = 4096;
  static constexpr uint64_t kMaxDirectoryBytes = 64 << 20;
  static constexpr uint64_t kChecksumsPerBlock = kBlockBytes / sizeof(uint32_t);

  struct Section {
    uint64_t offset = 0;
    uint64_t bytes = 0;

    uint64_t first_block() const { return offset / kBlockBytes; }
    uint64_t blocks() const { return (bytes + kBlockBytes - 1) / kBlockBytes; }
    bool Holds(uint64_t block) const { return block >= first_block() && block - first_block() < blocks(); }
  };
  struct Table {
    TableSpec spec;
    uint64_t row_count = 0;
    uint64_t stride = 0;
    Section rows;
    /// Empty with dense ids.
    Section index;
    /// Empty but with string ids.
    Section strings;
  };

  /// Which shard of how many: 0 of 1 where nobody said.
  uint32_t shard = 0;
  uint32_t shards = 1;
  uint64_t file_bytes = 0;
  std::vector<Table> tables;
  Section checksums;
  /// CRC-32C of each block of the checksums.
  std::vector<uint32_t> roots;
  /// SHA-256 of superblock and directory, as ReadShardLayout() found them. The directory has the checksums of all
  /// blocks' checksums: another row, another content.
  Digest content;

  /// "rows of table 'users'"; for messages.
  std::string NameOf(uint64_t block) const;
  /// All sections but empty ones, checksums first.
  std::vector<Section> Sections() const;
};

/// What stands at both beginnings.
struct Superblock {
  uint64_t file_bytes = 0;
  ShardLayout::Section directory;
  uint32_t directory_crc = 0;

  std::string Encode() const;
  /// DATA_LOSS or INVALID_ARGUMENT for anything but what Encode() writes. REQUIRES: kSuperblockBytes bytes.
  static absl::StatusOr<Superblock> Decode(absl::string_view bytes);
};

std::string EncodeDirectory(const ShardLayout& layout);
/// Every place is inside the file and large enough for what is said to be there. DATA_LOSS otherwise.
absl::StatusOr<ShardLayout> DecodeDirectory(absl::string_view bytes, uint64_t file_bytes);

}  // namespace portico
