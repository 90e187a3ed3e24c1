#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/mutex.h"

namespace portico {

/// Rows [first, first + count) of a request.
struct RowRange {
  int64_t first = 0;
  int64_t count = 0;

  friend bool operator==(const RowRange&, const RowRange&) = default;
};

/// What became of some rows of a request at one portal.
struct RowNote {
  /// Its target.
  std::string portal;
  /// What stands in the rows: "cheap", "mark", "defaults", ...; one word.
  std::string kind;
  /// Why it is not the target's answer; never OK.
  absl::Status why;
  /// Ascending, none touching the next.
  std::vector<RowRange> rows;
};

/// Which rows of one request, here and at the hops behind, were answered by something else than the portal's target, or
/// not at all; other rows of the request are as they should be. Bounded: where there is more than fits, notes and
/// ranges are joined, so that a row may be named needlessly but none is left out. Thread-safe; empty for nearly all
/// requests, and then one load to find out.
class RowNotes {
 public:
  static constexpr size_t kMaxNotes = 16;
  /// Of one note.
  static constexpr size_t kMaxRanges = 4096;
  /// Longer messages and names are cut.
  static constexpr size_t kMaxMessage = 160;
  static constexpr size_t kMaxName = 128;
  /// Of Joined(): clients' libraries bound the headers of an answer.
  static constexpr size_t kMaxText = 2048;
  /// The kind of rows that nothing stands in: what is in them is no answer.
  static constexpr absl::string_view kMark = "mark";
  /// The portal of notes that were joined.
  static constexpr absl::string_view kSeveral = "*";

  /// `rows` ascending, each once. Adds nothing where there are none. REQUIRES: `why` is not OK.
  void Add(absl::string_view portal, absl::string_view kind, const absl::Status& why, absl::Span<const int64_t> rows);
  void Add(RowNote note);
  bool empty() const { return !any_.load(std::memory_order_acquire); }
  std::vector<RowNote> Notes() const;

  /// For a header: "0-3,7 hub/full=mark UNAVAILABLE: no replica is connected; 9 ...", printable ASCII; where the ranges
  /// of a note are too many, the number of further rows ("0-3,7,+120"), where the notes are, of further notes ("; +2").
  std::string Joined() const;

 private:
  std::atomic<bool> any_{false};
  mutable Mutex mutex_;
  std::vector<RowNote> notes_ ABSL_GUARDED_BY(mutex_);
};

/// `rows` (ascending, each once) as ranges.
std::vector<RowRange> RangesOf(absl::Span<const int64_t> rows);

/// Number of rows in all.
int64_t CountRows(absl::Span<const RowRange> ranges);

/// The rows that `ranges` name of a part that was made of `rows`: row i of the part is rows[i] of the whole. What is
/// beyond the part is left out.
std::vector<RowRange> RangesWithin(absl::Span<const int64_t> rows, absl::Span<const RowRange> ranges);

}  // namespace portico
