#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "embedding/bucket_index.h"
#include "embedding/updated_row.h"

namespace portico {

/// The rows of a table that are other than its base has them, as of one version: a lookup asks here first. Ids that
/// were never updated cost a look into a filter of 12 bits an id, of which one in fifty goes on to the index.
///
/// Constant once made, so that readers take no lock, wait for nothing, and see one version whatever comes next.
/// Versions share the chunks of rows that both have; a chunk goes with the last version that has it. Thread-safe.
class RowOverlay {
 public:
  struct Parts {
    uint64_t capacity = 0;
    std::vector<IndexBucket> buckets;
    std::vector<uint64_t> filter;
    /// Row number r is row r % kMaxRows of chunk r / kMaxRows. Null: none of its rows is in the index.
    std::vector<std::shared_ptr<const RowChunk>> chunks;
    /// How many rows of each chunk are in the index.
    std::vector<uint32_t> live;
    /// Of a dense table, base included; of others, of the base alone.
    uint64_t row_count = 0;
    uint64_t ids = 0;
    /// Of these.
    uint64_t deleted = 0;
    uint64_t expiring = 0;
  };

  RowOverlay(const TableSpec& spec, Parts parts);

  // For RowFinder, hash by hash:
  const void* FilterAt(uint64_t hash) const { return &parts_.filter[WordOf(hash, parts_.filter.size())]; }
  bool MayHave(uint64_t hash) const {
    const uint64_t bits = BitsOf(hash);
    return (parts_.filter[WordOf(hash, parts_.filter.size())] & bits) == bits;
  }
  const BucketIndex& index() const { return index_; }
  const char* RowAt(uint32_t row) const { return rows_[row / RowChunk::kMaxRows] + row % RowChunk::kMaxRows * stride_; }
  absl::string_view StringOf(uint32_t row) const {
    return parts_.chunks[row / RowChunk::kMaxRows]->StringOf(RowAt(row));
  }
  size_t stride() const { return stride_; }

  /// The number of an id's row, deleted and expired ones too; kNoRow where the base says what it is.
  uint32_t FindNumber(uint64_t id) const;
  uint32_t FindString(absl::string_view id) const;
  /// The numbers of all rows, in no order, until `visit` returns an error.
  absl::Status ForEach(const std::function<absl::Status(uint32_t row)>& visit) const;

  /// Rows of a dense table, base included; of others, of the base alone.
  uint64_t row_count() const { return parts_.row_count; }
  uint64_t ids() const { return parts_.ids; }
  uint64_t deleted() const { return parts_.deleted; }
  /// Rows that end at some time: without any, nobody need know what time it is.
  uint64_t expiring() const { return parts_.expiring; }
  /// Of memory, all that it shares included.
  uint64_t bytes() const;
  const Parts& parts() const { return parts_; }

  static uint64_t WordOf(uint64_t hash, uint64_t words) {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(hash) * words) >> 64);
  }
  /// Three bits of a word; none of those that are the tag.
  static uint64_t BitsOf(uint64_t hash) {
    return uint64_t{1} << (hash >> 16 & 63) | uint64_t{1} << (hash >> 22 & 63) | uint64_t{1} << (hash >> 28 & 63);
  }

 private:
  const uint64_t seed_;
  const size_t stride_;
  const Parts parts_;
  const BucketIndex index_;
  /// Where the rows of each chunk begin.
  std::vector<const char*> rows_;
};

/// Makes the next overlay of a table from the one before and what deltas bring. Costs a copy of index and filter, 11
/// bytes an updated id, and the new rows. For one thread; readers of the one before notice nothing.
class OverlayBuilder {
 public:
  /// `from`: null for none. `base_rows`: of the base. Borrows `spec`.
  OverlayBuilder(const TableSpec& spec, uint64_t base_rows, const RowOverlay* from);

  /// Takes so many more ids without growing on the way.
  absl::Status Reserve(uint64_t ids);
  /// Rows of a delta, checked (DeltaFile). ALREADY_EXISTS where the delta has an id twice.
  absl::Status Add(std::shared_ptr<const RowChunk> chunk);
  /// What comes from here on is of another delta: it may have the same ids. `row_count`: of a dense table by now.
  void EndDelta(uint64_t row_count);
  /// Of a dense table, by now.
  uint64_t row_count() const { return parts_.row_count; }
  /// Last.
  absl::StatusOr<std::shared_ptr<const RowOverlay>> Finish();

 private:
  const char* RowAt(uint32_t row) const {
    return parts_.chunks[row / RowChunk::kMaxRows]->Row(row % RowChunk::kMaxRows);
  }
  /// The slot of the index that has the id of `row`, which stands in `chunk`; null where none has.
  uint32_t* SlotOf(const RowChunk& chunk, const char* row, uint64_t hash);
  absl::Status Insert(const RowChunk& chunk, uint32_t i, uint32_t number, uint64_t hash);
  absl::Status Grow(uint64_t capacity);
  uint32_t TakeChunk(std::shared_ptr<const RowChunk> chunk);
  void Count(const char* row, int by);
  /// Writes the rows of chunks that are less than half in use to new ones, where they are many.
  void MoveSparseChunks();

  const TableSpec& spec_;
  RowOverlay::Parts parts_;
  std::vector<uint32_t> free_chunks_;
  /// Of the delta that is being added.
  std::vector<bool> is_fresh_;
};

}  // namespace portico
