#include "embedding/table_scan.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace portico {

TableScan::TableScan(const EmbeddingTable& table, int64_t now)
    : table_(table),
      memory_(table.memory()),
      now_(now),
      faults_(table.gate() == nullptr ? 0 : table.gate()->Faults()),
      seen_(memory_.overlay == nullptr ? 0 : memory_.overlay->parts().chunks.size() * RowChunk::kMaxRows) {}

absl::Status TableScan::Ensure(const char* at, size_t bytes) {
  return table_.gate() == nullptr ? absl::OkStatus() : table_.gate()->Ensure(at, bytes);
}

bool TableScan::ReadUpdated(uint32_t number, Row* row) const {
  const char* const at = memory_.overlay->RowAt(number);
  const TableSpec& spec = table_.spec();
  row->until = UpdatedRow::Until(at);
  row->number = static_cast<int64_t>(UpdatedRow::Id(at));
  row->string = spec.id_kind == IdKind::kString ? memory_.overlay->StringOf(number) : absl::string_view();
  row->numbers = {at + UpdatedRow::HeadBytes(spec.id_kind), EncodedBytes(spec.row_type, spec.dim)};
  return row->until > now_;
}

absl::StatusOr<bool> TableScan::ReadBase(uint64_t number, Row* row) {
  const TableSpec& spec = table_.spec();
  const char* const at = memory_.rows + number * memory_.stride;
  const size_t head_bytes = RowHeadBytes(spec.id_kind), row_bytes = EncodedBytes(spec.row_type, spec.dim);
  RETURN_IF_ERROR(Ensure(at, head_bytes + row_bytes));
  uint64_t head[2] = {number, 0};
  std::memcpy(head, at, head_bytes);
  row->until = UpdatedRow::kForever;
  row->number = static_cast<int64_t>(head[0]);
  row->string = {};
  row->numbers = {at + head_bytes, row_bytes};
  if (spec.id_kind == IdKind::kString) {
    const uint64_t offset = head[1] >> 16, bytes = head[1] & 0xffff;
    if (offset > memory_.strings.size() || bytes > memory_.strings.size() - offset)
      return absl::DataLossError(absl::StrCat("row ", number, ": got an id outside the strings; build the file again"));
    row->string = memory_.strings.substr(offset, bytes);
    RETURN_IF_ERROR(Ensure(row->string.data(), row->string.size()));
  }
  if (memory_.overlay == nullptr) return true;
  const uint32_t updated =
      spec.id_kind == IdKind::kString ? memory_.overlay->FindString(row->string) : memory_.overlay->FindNumber(head[0]);
  if (updated == BucketIndex::kNoRow) return true;
  seen_[updated] = true;
  return ReadUpdated(updated, row);
}

absl::StatusOr<bool> TableScan::Next(Row* row) {
  while (at_ < memory_.row_count) {
    absl::StatusOr<bool> read = ReadBase(at_++, row);
    if (!read.ok()) return WithContext(absl::StrCat("table '", table_.spec().name, "'"), read.status());
    if (*read) return true;
  }
  if (table_.gate() != nullptr && table_.gate()->Faults() != faults_)
    return absl::DataLossError(
        absl::StrCat("table '", table_.spec().name, "': memory went away while it was read; restore the file"));
  if (memory_.overlay == nullptr) return false;
  if (table_.spec().id_kind == IdKind::kDense) {
    if (at_ >= memory_.all_rows()) return false;
    // A delta that adds rows has all of them.
    return ReadUpdated(memory_.overlay->FindNumber(at_++), row);
  }
  const std::vector<IndexBucket>& buckets = memory_.overlay->parts().buckets;
  for (; bucket_ < buckets.size(); ++bucket_, slot_ = 0) {
    while (slot_ < buckets[bucket_].used) {
      const uint32_t number = buckets[bucket_].rows[slot_++];
      if (!seen_[number] && ReadUpdated(number, row)) return true;
    }
  }
  return false;
}

}  // namespace portico
