#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "embedding/id_hash.h"
#include "embedding/table_spec.h"

namespace portico {

/// A row that a delta brings, as it stands in delta files and in memory (little-endian):
///
///     until   i64         it is there while this is later than now, in seconds since 1970
///     id      u64         dense and sparse ids; of string ids their hash
///     place   u64         of string ids alone: StringPlace() in its chunk's strings
///     numbers             as in the base; zeros where the row was deleted
///                         zeros up to a multiple of 8
struct UpdatedRow {
  static constexpr int64_t kForever = std::numeric_limits<int64_t>::max();
  /// Never later than now: it hides what the base has.
  static constexpr int64_t kDeleted = std::numeric_limits<int64_t>::min();

  static constexpr size_t HeadBytes(IdKind kind) { return kind == IdKind::kString ? 24 : 16; }
  static constexpr size_t Stride(IdKind kind, RowType type, size_t dim) {
    return (HeadBytes(kind) + EncodedBytes(type, dim) + 7) / 8 * 8;
  }
  static size_t Stride(const TableSpec& spec) { return Stride(spec.id_kind, spec.row_type, spec.dim); }

  static int64_t Until(const char* row) { return static_cast<int64_t>(Word(row, 0)); }
  static uint64_t Id(const char* row) { return Word(row, 1); }
  static uint64_t Place(const char* row) { return Word(row, 2); }
  /// What an index finds it by.
  static uint64_t Hash(const TableSpec& spec, const char* row) {
    return spec.id_kind == IdKind::kString ? Id(row) : HashId(Id(row), spec.seed);
  }

 private:
  static uint64_t Word(const char* row, size_t i) {
    uint64_t word;
    std::memcpy(&word, row + i * sizeof(word), sizeof(word));
    return word;
  }
};

/// Up to kMaxRows updated rows of one table, one behind the other. Constant once made; shared by the versions of the
/// table that have any of them.
struct RowChunk {
  static constexpr uint32_t kMaxRows = 4096;

  RowChunk(size_t row_stride, uint32_t row_count)
      : stride(row_stride), count(row_count), rows(new char[row_stride * row_count]()) {}

  const char* Row(uint32_t i) const { return rows.get() + i * stride; }
  /// REQUIRES: a place inside `strings`, as those of checked rows are.
  absl::string_view StringOf(const char* row) const {
    const uint64_t place = UpdatedRow::Place(row);
    return absl::string_view(strings).substr(place >> 16, place & 0xffff);
  }
  size_t bytes() const { return sizeof(*this) + stride * count + strings.size(); }

  const size_t stride;
  const uint32_t count;
  const std::unique_ptr<char[]> rows;
  /// Bytes of string ids.
  std::string strings;
};

}  // namespace portico
