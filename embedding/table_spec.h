#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "embedding/row_type.h"

namespace portico {

/// How a row is found. The numbers stand in shard files: never reuse one.
enum class IdKind : uint8_t {
  /// 0 to rows - 1, in place: no index.
  kDense = 0,
  /// Any 64 bits, through an index.
  kSparse = 1,
  /// Bytes, through an index.
  kString = 2,
};
inline constexpr int kIdKinds = 3;
/// Of a string id.
inline constexpr size_t kMaxIdBytes = 4096;

/// What stands for an id that the table does not have; it is counted whatever stands. The numbers stand in shard files.
enum class UnknownId : uint8_t { kError = 0, kZeros = 1, kDefaultRow = 2 };
inline constexpr int kUnknownIds = 3;

absl::string_view IdKindName(IdKind kind);
absl::string_view UnknownIdName(UnknownId unknown);
/// Of the names: "dense", "sparse", "string"; "error", "zeros", "default".
absl::StatusOr<IdKind> IdKindFromName(absl::string_view name);
absl::StatusOr<UnknownId> UnknownIdFromName(absl::string_view name);

/// What a table is, whatever its rows hold.
struct TableSpec {
  /// 1 to 255 bytes.
  std::string name;
  /// Numbers of a row, 1 to kMaxDim.
  size_t dim = 0;
  RowType row_type = RowType::kFloat32;
  IdKind id_kind = IdKind::kDense;
  UnknownId unknown = UnknownId::kError;
  /// `dim` finite numbers with UnknownId::kDefaultRow, none otherwise.
  std::vector<float> default_row;
  /// Of the ids' hash.
  uint64_t seed = 0;

  absl::Status Validate() const;
};

/// Most rows of one table of one shard.
inline constexpr uint64_t kMaxTableRows = 0xfffffffe;

/// What stands in front of a row's numbers: the id (kSparse), or its hash and where its bytes are (kString).
constexpr size_t RowHeadBytes(IdKind kind) { return kind == IdKind::kDense ? 0 : kind == IdKind::kSparse ? 8 : 16; }
/// Where the bytes of a string id are: from that byte of the strings on.
constexpr uint64_t StringPlace(uint64_t offset, uint64_t bytes) { return offset << 16 | bytes; }
/// Bytes of the strings of a table that a place can name.
inline constexpr uint64_t kMaxStringBytes = uint64_t{1} << 48;

/// Bytes from one row to the next: packed to 8 bytes, or whole cache lines where those cost less, bytes times lines
/// that one row touches.
size_t RowStride(const TableSpec& spec);

}  // namespace portico
