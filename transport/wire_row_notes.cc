#include "transport/wire_row_notes.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/wire.h"

namespace portico {
namespace {

/// More rows than any tensor has.
constexpr uint64_t kMaxRow = uint64_t{1} << 59;

absl::StatusOr<std::vector<RowRange>> ReadRanges(const RowStatus& status) {
  std::vector<RowRange> ranges;
  uint64_t next = 0;
  for (absl::string_view bytes = status.ranges; !bytes.empty();) {
    uint64_t gap = 0, count = 0;
    if (!ConsumeVarint(&bytes, &gap) || !ConsumeVarint(&bytes, &count)) {
      return absl::InvalidArgumentError("row status: got ranges that are no pairs of numbers");
    }
    if (gap > kMaxRow || count > kMaxRow || next + gap + count > kMaxRow || count == 0) {
      return absl::InvalidArgumentError(absl::StrCat("row status: got a range of ", count, " rows, ", gap,
                                                     " behind row ", next, ", want some, at most 2^59 in all"));
    }
    if (ranges.size() >= RowNotes::kMaxRanges) {
      return absl::InvalidArgumentError(
          absl::StrCat("row status: got more ranges than ", RowNotes::kMaxRanges, ", want at most so many"));
    }
    ranges.push_back({static_cast<int64_t>(next + gap), static_cast<int64_t>(count)});
    next += gap + count;
  }
  if (!ranges.empty()) return ranges;
  if (status.row >= kMaxRow) return absl::InvalidArgumentError(absl::StrCat("row status: got row ", status.row));
  return std::vector<RowRange>{{static_cast<int64_t>(status.row), 1}};
}

absl::Status WhyOf(const RowStatus& status) {
  const bool known = status.code != 0 && status.code <= static_cast<uint32_t>(absl::StatusCode::kUnauthenticated);
  return absl::Status(known ? static_cast<absl::StatusCode>(status.code) : absl::StatusCode::kUnknown, status.message);
}

}  // namespace

void WireRowNotes::Put(const std::vector<RowNote>& notes, PeerHeader* header) {
  ranges_.reserve(ranges_.size() + notes.size());  // Views of short strings stay where they are.
  for (const RowNote& note : notes) {
    std::string& ranges = ranges_.emplace_back();
    WireWriter writer(&ranges);
    int64_t next = 0;
    for (const RowRange& range : note.rows) {
      writer.RawVarint(static_cast<uint64_t>(range.first - next));
      writer.RawVarint(static_cast<uint64_t>(range.count));
      next = range.first + range.count;
    }
    RowStatus& status = header->row_status.emplace_back();
    status.row = static_cast<uint64_t>(note.rows.front().first);
    status.code = static_cast<uint32_t>(note.why.code());
    status.message = note.why.message();
    status.ranges = ranges;
    status.portal = note.portal;
    status.kind = note.kind;
  }
}

absl::StatusOr<std::vector<RowNote>> RowNotesOf(const PeerHeader& header) {
  if (header.row_status.size() > RowNotes::kMaxNotes) {
    return absl::InvalidArgumentError(
        absl::StrCat("row status: got ", header.row_status.size(), ", want at most ", RowNotes::kMaxNotes));
  }
  std::vector<RowNote> notes;
  notes.reserve(header.row_status.size());
  for (const RowStatus& status : header.row_status) {
    ASSIGN_OR_RETURN(std::vector<RowRange> ranges, ReadRanges(status));
    notes.push_back({std::string(status.portal), std::string(status.kind), WhyOf(status), std::move(ranges)});
  }
  return notes;
}

}  // namespace portico
