#include "embedding/shard_layout.h"

#include <algorithm>
#include <cstring>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/wire.h"
#include "embedding/bucket_index.h"
#include "embedding/crc32c.h"

namespace portico {
namespace {

constexpr absl::string_view kMagic("PORTSHRD", 8);
constexpr uint32_t kFormat = 1;

/// As it stands in the file; zeros behind it up to kSuperblockBytes.
struct RawSuperblock {
  char magic[8];
  uint32_t format;
  /// Of all bytes of the superblock, with zeros here.
  uint32_t crc;
  uint64_t file_bytes;
  uint64_t directory_offset;
  uint64_t directory_bytes;
  uint32_t directory_crc;
  uint32_t zero;
};

enum DirectoryField : uint32_t {
  kShard = 1,
  kShards = 2,
  kTable = 3,
  kChecksumOffset = 4,
  kChecksumBytes = 5,
  kRoots = 6
};
enum TableField : uint32_t {
  kName = 1,
  kDim = 2,
  kRowType = 3,
  kIdKindField = 4,
  kUnknown = 5,
  kDefaultRowField = 6,
  kSeed = 7,
  kRowCount = 8,
  kStride = 9,
  kRowsOffset = 10,
  kRowsBytes = 11,
  kIndexOffset = 12,
  kIndexBytes = 13,
  kStringsOffset = 14,
  kStringsBytes = 15,
};

template <typename T>
absl::string_view BytesOf(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

template <typename T>
bool ValuesOf(absl::string_view bytes, std::vector<T>* values) {
  if (bytes.size() % sizeof(T) != 0) return false;
  values->resize(bytes.size() / sizeof(T));
  if (!bytes.empty()) std::memcpy(values->data(), bytes.data(), bytes.size());
  return true;
}

absl::Status Wrong(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("directory: ", what, "; build the file again"));
}

std::string EncodeTable(const ShardLayout::Table& table) {
  std::string bytes;
  WireWriter out(&bytes);
  out.Bytes(kName, table.spec.name);
  out.Varint(kDim, table.spec.dim);
  out.Varint(kRowType, static_cast<uint64_t>(table.spec.row_type));
  out.Varint(kIdKindField, static_cast<uint64_t>(table.spec.id_kind));
  out.Varint(kUnknown, static_cast<uint64_t>(table.spec.unknown));
  out.Bytes(kDefaultRowField, BytesOf(table.spec.default_row));
  out.Fixed64(kSeed, table.spec.seed);
  out.Varint(kRowCount, table.row_count);
  out.Varint(kStride, table.stride);
  out.Varint(kRowsOffset, table.rows.offset);
  out.Varint(kRowsBytes, table.rows.bytes);
  out.Varint(kIndexOffset, table.index.offset);
  out.Varint(kIndexBytes, table.index.bytes);
  out.Varint(kStringsOffset, table.strings.offset);
  out.Varint(kStringsBytes, table.strings.bytes);
  return bytes;
}

absl::StatusOr<ShardLayout::Table> DecodeTable(absl::string_view bytes) {
  ShardLayout::Table table;
  uint64_t row_type = 0, id_kind = 0, unknown = 0;
  bool whole = true;
  WireReader in(bytes);
  while (in.Next()) {
    switch (in.field()) {
      case kName:
        table.spec.name = std::string(in.Bytes());
        break;
      case kDim:
        table.spec.dim = in.Varint();
        break;
      case kRowType:
        row_type = in.Varint();
        break;
      case kIdKindField:
        id_kind = in.Varint();
        break;
      case kUnknown:
        unknown = in.Varint();
        break;
      case kDefaultRowField:
        whole &= ValuesOf(in.Bytes(), &table.spec.default_row);
        break;
      case kSeed:
        table.spec.seed = in.Fixed64();
        break;
      case kRowCount:
        table.row_count = in.Varint();
        break;
      case kStride:
        table.stride = in.Varint();
        break;
      case kRowsOffset:
        table.rows.offset = in.Varint();
        break;
      case kRowsBytes:
        table.rows.bytes = in.Varint();
        break;
      case kIndexOffset:
        table.index.offset = in.Varint();
        break;
      case kIndexBytes:
        table.index.bytes = in.Varint();
        break;
      case kStringsOffset:
        table.strings.offset = in.Varint();
        break;
      case kStringsBytes:
        table.strings.bytes = in.Varint();
        break;
      default:
        break;
    }
  }
  if (in.failed() || !whole) return Wrong("got a malformed table");
  if (row_type >= kRowTypes || id_kind >= kIdKinds || unknown >= kUnknownIds) {
    return Wrong(absl::StrCat("table '", table.spec.name, "': got row type ", row_type, ", ids ", id_kind,
                              ", unknown ids ", unknown, ", which this version of Portico does not know"));
  }
  table.spec.row_type = static_cast<RowType>(row_type);
  table.spec.id_kind = static_cast<IdKind>(id_kind);
  table.spec.unknown = static_cast<UnknownId>(unknown);
  return table;
}

/// Where sections can be: whole blocks in front of the checksums.
absl::Status CheckPlace(const ShardLayout::Section& section, uint64_t end, absl::string_view what) {
  if (section.bytes == 0) return absl::OkStatus();
  if (section.offset % ShardLayout::kSectionAlignment == 0 && section.offset >= ShardLayout::kSectionAlignment &&
      section.offset < end && section.bytes <= end - section.offset) {
    return absl::OkStatus();
  }
  return Wrong(absl::StrCat(what, ": got ", section.bytes, " bytes at ", section.offset, ", want them in front of ",
                            end, ", from a multiple of ", ShardLayout::kSectionAlignment, " on"));
}

absl::Status CheckTable(const ShardLayout::Table& table, uint64_t end) {
  RETURN_IF_ERROR(table.spec.Validate());
  RETURN_IF_ERROR(CheckPlace(table.rows, end, "rows"));
  RETURN_IF_ERROR(CheckPlace(table.index, end, "index"));
  RETURN_IF_ERROR(CheckPlace(table.strings, end, "strings"));
  const size_t row_bytes = RowHeadBytes(table.spec.id_kind) + EncodedBytes(table.spec.row_type, table.spec.dim);
  if (table.row_count > kMaxTableRows || table.stride < row_bytes || table.stride > row_bytes + 64 ||
      table.rows.bytes != table.row_count * table.stride) {
    return Wrong(absl::StrCat("got ", table.row_count, " rows of ", table.stride, " bytes in ", table.rows.bytes,
                              " bytes, want rows of ", row_bytes, " bytes or a little more that fill them"));
  }
  const uint64_t buckets = table.spec.id_kind == IdKind::kDense ? 0 : BucketIndex::CountFor(table.row_count);
  if (table.index.bytes != buckets * sizeof(IndexBucket)) {
    return Wrong(absl::StrCat("got an index of ", table.index.bytes, " bytes, want ", buckets * sizeof(IndexBucket)));
  }
  return absl::OkStatus();
}

}  // namespace

std::string ShardLayout::NameOf(uint64_t block) const {
  for (const Table& table : tables) {
    if (table.rows.Holds(block)) return absl::StrCat("rows of table '", table.spec.name, "'");
    if (table.index.Holds(block)) return absl::StrCat("index of table '", table.spec.name, "'");
    if (table.strings.Holds(block)) return absl::StrCat("string ids of table '", table.spec.name, "'");
  }
  return checksums.Holds(block) ? "checksums" : "no section";
}

std::vector<ShardLayout::Section> ShardLayout::Sections() const {
  std::vector<Section> sections = {checksums};
  for (const Table& table : tables) {
    for (const Section& section : {table.index, table.rows, table.strings}) {
      if (section.bytes > 0) sections.push_back(section);
    }
  }
  return sections;
}

std::string Superblock::Encode() const {
  RawSuperblock raw{};
  std::memcpy(raw.magic, kMagic.data(), kMagic.size());
  raw.format = kFormat;
  raw.file_bytes = file_bytes;
  raw.directory_offset = directory.offset;
  raw.directory_bytes = directory.bytes;
  raw.directory_crc = directory_crc;
  std::string bytes(ShardLayout::kSuperblockBytes, '\0');
  std::memcpy(bytes.data(), &raw, sizeof(raw));
  raw.crc = Crc32c(bytes);
  std::memcpy(bytes.data(), &raw, sizeof(raw));
  return bytes;
}

absl::StatusOr<Superblock> Superblock::Decode(absl::string_view bytes) {
  RawSuperblock raw;
  std::memcpy(&raw, bytes.data(), sizeof(raw));
  if (absl::string_view(raw.magic, sizeof(raw.magic)) != kMagic) {
    return absl::InvalidArgumentError("got no shard file, want what 'portico table build' writes");
  }
  std::string zeroed(bytes);
  const uint32_t zero = 0;
  std::memcpy(zeroed.data() + offsetof(RawSuperblock, crc), &zero, sizeof(zero));
  const uint32_t crc = Crc32c(zeroed);
  if (crc != raw.crc) {
    return absl::DataLossError(absl::StrCat("superblock: got CRC-32C ", absl::Hex(crc, absl::kZeroPad8), ", want ",
                                            absl::Hex(raw.crc, absl::kZeroPad8)));
  }
  if (raw.format != kFormat) {
    return absl::InvalidArgumentError(
        absl::StrCat("superblock: got format ", raw.format, ", want ", kFormat, "; a newer Portico reads it"));
  }
  Superblock block;
  block.file_bytes = raw.file_bytes;
  block.directory = {raw.directory_offset, raw.directory_bytes};
  block.directory_crc = raw.directory_crc;
  return block;
}

std::string EncodeDirectory(const ShardLayout& layout) {
  std::string bytes;
  WireWriter out(&bytes);
  out.Varint(kShard, layout.shard);
  out.Varint(kShards, layout.shards);
  for (const ShardLayout::Table& table : layout.tables) out.Bytes(kTable, EncodeTable(table));
  out.Varint(kChecksumOffset, layout.checksums.offset);
  out.Varint(kChecksumBytes, layout.checksums.bytes);
  out.Bytes(kRoots, BytesOf(layout.roots));
  return bytes;
}

absl::StatusOr<ShardLayout> DecodeDirectory(absl::string_view bytes, uint64_t file_bytes) {
  ShardLayout layout;
  layout.file_bytes = file_bytes;
  bool whole = true;
  WireReader in(bytes);
  while (in.Next()) {
    switch (in.field()) {
      case kShard:
        layout.shard = static_cast<uint32_t>(in.Varint());
        break;
      case kShards:
        layout.shards = static_cast<uint32_t>(in.Varint());
        break;
      case kTable: {
        ASSIGN_OR_RETURN(layout.tables.emplace_back(), DecodeTable(in.Bytes()));
        break;
      }
      case kChecksumOffset:
        layout.checksums.offset = in.Varint();
        break;
      case kChecksumBytes:
        layout.checksums.bytes = in.Varint();
        break;
      case kRoots:
        whole &= ValuesOf(in.Bytes(), &layout.roots);
        break;
      default:
        break;
    }
  }
  if (in.failed() || !whole) return Wrong("malformed");
  if (layout.shard >= layout.shards) return Wrong(absl::StrCat("got shard ", layout.shard, " of ", layout.shards));
  RETURN_IF_ERROR(CheckPlace(layout.checksums, file_bytes, "checksums"));
  const ShardLayout::Section& sums = layout.checksums;
  if (sums.bytes == 0 || sums.bytes % ShardLayout::kBlockBytes != 0 || layout.roots.size() != sums.blocks() ||
      sums.blocks() * ShardLayout::kChecksumsPerBlock < sums.first_block()) {
    return Wrong(absl::StrCat("got ", sums.bytes, " bytes of checksums and ", layout.roots.size(), " of those, want ",
                              sums.first_block(), " checksums in whole blocks"));
  }
  absl::flat_hash_set<absl::string_view> names;
  for (const ShardLayout::Table& table : layout.tables) {
    RETURN_IF_ERROR(WithContext(absl::StrCat("table '", table.spec.name, "'"), CheckTable(table, sums.offset)));
    if (!names.insert(table.spec.name).second) return Wrong(absl::StrCat("got table '", table.spec.name, "' twice"));
  }
  return layout;
}

}  // namespace portico
