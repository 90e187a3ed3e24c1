#include "embedding/row_overlay.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"

namespace portico {
namespace {

constexpr uint64_t kFilterBits = 12;
/// Chunks that may be less than half in use before their rows are moved together.
constexpr size_t kSpareChunks = 32;
/// How far ahead of a row the bucket of another is fetched.
constexpr uint32_t kAhead = 16;

}  // namespace

RowOverlay::RowOverlay(const TableSpec& spec, Parts parts)
    : seed_(spec.seed),
      stride_(UpdatedRow::Stride(spec)),
      parts_(std::move(parts)),
      index_(parts_.buckets.data(), parts_.buckets.size()) {
  for (const auto& chunk : parts_.chunks) rows_.push_back(chunk == nullptr ? nullptr : chunk->rows.get());
}

uint32_t RowOverlay::FindNumber(uint64_t id) const {
  const uint64_t hash = HashId(id, seed_);
  if (!MayHave(hash)) return BucketIndex::kNoRow;
  return index_.Find(hash, [&](uint32_t other) { return UpdatedRow::Id(RowAt(other)) == id; });
}

uint32_t RowOverlay::FindString(absl::string_view id) const {
  const uint64_t hash = HashId(id, seed_);
  if (!MayHave(hash)) return BucketIndex::kNoRow;
  return index_.Find(hash,
                     [&](uint32_t other) { return UpdatedRow::Id(RowAt(other)) == hash && StringOf(other) == id; });
}

absl::Status RowOverlay::ForEach(const std::function<absl::Status(uint32_t row)>& visit) const {
  for (const IndexBucket& bucket : parts_.buckets) {
    for (uint32_t slot = 0; slot < bucket.used; ++slot) RETURN_IF_ERROR(visit(bucket.rows[slot]));
  }
  return absl::OkStatus();
}

uint64_t RowOverlay::bytes() const {
  uint64_t bytes = sizeof(*this) + parts_.buckets.size() * sizeof(IndexBucket) + parts_.filter.size() * 8;
  for (const auto& chunk : parts_.chunks) bytes += chunk == nullptr ? 0 : chunk->bytes();
  return bytes;
}

OverlayBuilder::OverlayBuilder(const TableSpec& spec, uint64_t base_rows, const RowOverlay* from) : spec_(spec) {
  if (from != nullptr) parts_ = from->parts();
  if (from == nullptr) parts_.row_count = base_rows;
  for (size_t i = 0; i < parts_.chunks.size(); ++i) {
    if (parts_.chunks[i] == nullptr) free_chunks_.push_back(static_cast<uint32_t>(i));
  }
  is_fresh_.resize(parts_.chunks.size());
}

void OverlayBuilder::EndDelta(uint64_t row_count) {
  parts_.row_count = row_count;
  std::fill(is_fresh_.begin(), is_fresh_.end(), false);
}

absl::Status OverlayBuilder::Reserve(uint64_t ids) {
  const uint64_t want = parts_.ids + ids;
  return want > parts_.capacity ? Grow(std::max(want, parts_.capacity + parts_.capacity / 2)) : absl::OkStatus();
}

absl::Status OverlayBuilder::Grow(uint64_t capacity) {
  if (capacity > kMaxTableRows / 2) {
    return absl::ResourceExhaustedError(absl::StrCat("table '", spec_.name, "': got ", capacity,
                                                     " updated rows, want at most ", kMaxTableRows / 2,
                                                     "; compact the group"));
  }
  std::vector<IndexBucket> before = std::move(parts_.buckets);
  parts_.capacity = capacity;
  parts_.buckets.assign(BucketIndex::CountFor(capacity), IndexBucket{});
  parts_.filter.assign(capacity * kFilterBits / 64 + 1, 0);
  for (const IndexBucket& bucket : before) {
    for (uint32_t slot = 0; slot < bucket.used; ++slot) {
      const uint64_t hash = UpdatedRow::Hash(spec_, RowAt(bucket.rows[slot]));
      parts_.filter[RowOverlay::WordOf(hash, parts_.filter.size())] |= RowOverlay::BitsOf(hash);
      if (!InsertRow(absl::MakeSpan(parts_.buckets), 0, parts_.buckets.size(), hash, bucket.rows[slot])) {
        return absl::ResourceExhaustedError(absl::StrCat(
            "table '", spec_.name, "': got too many updated ids for one group of buckets; compact the group"));
      }
    }
  }
  return absl::OkStatus();
}

uint32_t* OverlayBuilder::SlotOf(const RowChunk& chunk, const char* row, uint64_t hash) {
  const uint64_t count = parts_.buckets.size();
  const uint64_t id = UpdatedRow::Id(row);
  uint64_t at = BucketIndex::HomeOf(hash, count);
  for (uint64_t left = std::min(BucketIndex::kGroup, count); left > 0; --left, at = BucketIndex::Next(at, count)) {
    IndexBucket& bucket = parts_.buckets[at];
    for (uint32_t mask = bucket.Match(BucketIndex::TagOf(hash)); mask != 0; mask &= mask - 1) {
      uint32_t* const slot = &bucket.rows[__builtin_ctz(mask)];
      const char* const other = RowAt(*slot);
      if (UpdatedRow::Id(other) != id) continue;
      if (spec_.id_kind != IdKind::kString ||
          parts_.chunks[*slot / RowChunk::kMaxRows]->StringOf(other) == chunk.StringOf(row)) {
        return slot;
      }
    }
    if (bucket.passed == 0) break;
  }
  return nullptr;
}

void OverlayBuilder::Count(const char* row, int by) {
  const int64_t until = UpdatedRow::Until(row);
  parts_.ids += static_cast<uint64_t>(by);
  if (until == UpdatedRow::kDeleted) parts_.deleted += static_cast<uint64_t>(by);
  if (until != UpdatedRow::kDeleted && until != UpdatedRow::kForever) parts_.expiring += static_cast<uint64_t>(by);
}

uint32_t OverlayBuilder::TakeChunk(std::shared_ptr<const RowChunk> chunk) {
  if (free_chunks_.empty()) {
    free_chunks_.push_back(static_cast<uint32_t>(parts_.chunks.size()));
    parts_.chunks.emplace_back();
    parts_.live.push_back(0);
    is_fresh_.push_back(false);
  }
  const uint32_t number = free_chunks_.back();
  free_chunks_.pop_back();
  parts_.chunks[number] = std::move(chunk);
  parts_.live[number] = 0;
  is_fresh_[number] = true;
  return number;
}

absl::Status OverlayBuilder::Insert(const RowChunk& chunk, uint32_t i, uint32_t number, uint64_t hash) {
  const char* const row = chunk.Row(i);
  if (uint32_t* const slot = SlotOf(chunk, row, hash)) {
    const uint32_t old = *slot / RowChunk::kMaxRows;
    if (is_fresh_[old]) {
      const std::string id = spec_.id_kind == IdKind::kString ? std::string(chunk.StringOf(row))
                                                              : absl::StrCat(static_cast<int64_t>(UpdatedRow::Id(row)));
      return absl::AlreadyExistsError(
          absl::StrCat("table '", spec_.name, "': got id '", id, "' twice, want each id once in a delta"));
    }
    Count(RowAt(*slot), -1);
    --parts_.live[old];
    *slot = number * RowChunk::kMaxRows + i;
  } else {
    parts_.filter[RowOverlay::WordOf(hash, parts_.filter.size())] |= RowOverlay::BitsOf(hash);
    if (!InsertRow(absl::MakeSpan(parts_.buckets), 0, parts_.buckets.size(), hash, number * RowChunk::kMaxRows + i)) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "table '", spec_.name, "': got too many updated ids for one group of buckets; compact the group"));
    }
  }
  ++parts_.live[number];
  Count(row, 1);
  return absl::OkStatus();
}

absl::Status OverlayBuilder::Add(std::shared_ptr<const RowChunk> chunk) {
  PORTICO_CHECK(chunk->stride == UpdatedRow::Stride(spec_) && chunk->count <= RowChunk::kMaxRows);
  RETURN_IF_ERROR(Reserve(chunk->count));
  const RowChunk& rows = *chunk;
  const uint32_t number = TakeChunk(std::move(chunk));
  const uint64_t count = parts_.buckets.size();
  uint64_t hashes[kAhead];
  for (uint32_t i = 0; i < rows.count + kAhead; ++i) {
    // Hash number i - kAhead makes room for number i, which is fetched.
    if (i >= kAhead) RETURN_IF_ERROR(Insert(rows, i - kAhead, number, hashes[i % kAhead]));
    if (i >= rows.count) continue;
    hashes[i % kAhead] = UpdatedRow::Hash(spec_, rows.Row(i));
    __builtin_prefetch(&parts_.buckets[BucketIndex::HomeOf(hashes[i % kAhead], count)]);
  }
  return absl::OkStatus();
}

void OverlayBuilder::MoveSparseChunks() {
  size_t used = 0;
  for (size_t i = 0; i < parts_.chunks.size(); ++i) {
    if (parts_.chunks[i] != nullptr && parts_.live[i] == 0) parts_.chunks[i] = nullptr;
    used += parts_.chunks[i] != nullptr ? 1 : 0;
  }
  if (used <= kSpareChunks + 2 * parts_.ids / RowChunk::kMaxRows) return;
  free_chunks_.clear();
  std::vector<std::shared_ptr<const RowChunk>> sparse;
  std::vector<uint32_t> numbers;
  uint64_t rows_left = 0;
  for (size_t i = 0; i < parts_.chunks.size(); ++i) {
    if (parts_.chunks[i] == nullptr) {
      free_chunks_.push_back(static_cast<uint32_t>(i));
    } else if (parts_.live[i] <= RowChunk::kMaxRows / 2) {
      sparse.push_back(parts_.chunks[i]);
      numbers.push_back(static_cast<uint32_t>(i));
      rows_left += parts_.live[i];
    }
  }
  std::shared_ptr<RowChunk> to;
  uint32_t to_number = 0, to_rows = 0;
  for (size_t s = 0; s < sparse.size(); ++s) {
    for (uint32_t i = 0; i < sparse[s]->count; ++i) {
      const char* const row = sparse[s]->Row(i);
      uint32_t* const slot = SlotOf(*sparse[s], row, UpdatedRow::Hash(spec_, row));
      if (slot == nullptr || *slot != numbers[s] * RowChunk::kMaxRows + i) continue;
      if (to == nullptr || to_rows == to->count) {
        to = std::make_shared<RowChunk>(sparse[s]->stride,
                                        static_cast<uint32_t>(std::min<uint64_t>(RowChunk::kMaxRows, rows_left)));
        to_number = TakeChunk(to);
        to_rows = 0;
      }
      char* const moved = to->rows.get() + to_rows * to->stride;
      std::memcpy(moved, row, to->stride);
      if (spec_.id_kind == IdKind::kString) {
        const absl::string_view id = sparse[s]->StringOf(row);
        const uint64_t place = StringPlace(to->strings.size(), id.size());
        std::memcpy(moved + 2 * sizeof(place), &place, sizeof(place));
        to->strings.append(id.data(), id.size());
      }
      *slot = to_number * RowChunk::kMaxRows + to_rows++;
      ++parts_.live[to_number];
      --rows_left;
    }
    parts_.chunks[numbers[s]] = nullptr;
    parts_.live[numbers[s]] = 0;
  }
}

absl::StatusOr<std::shared_ptr<const RowOverlay>> OverlayBuilder::Finish() {
  if (parts_.capacity == 0) RETURN_IF_ERROR(Grow(1));
  MoveSparseChunks();
  return std::make_shared<const RowOverlay>(spec_, std::move(parts_));
}

}  // namespace portico
