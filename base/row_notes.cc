#include "base/row_notes.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace portico {
namespace {

/// Appends rows to ascending ranges; what touches the last one, or lies in it, extends it.
void Append(RowRange range, std::vector<RowRange>* ranges) {
  if (range.count <= 0) return;
  if (!ranges->empty()) {
    RowRange& last = ranges->back();
    if (range.first <= last.first + last.count) {
      last.count = std::max(last.count, range.first + range.count - last.first);
      return;
    }
  }
  ranges->push_back(range);
}

/// All that is beyond the limit becomes one range with the last that fits.
void Bound(std::vector<RowRange>* ranges) {
  if (ranges->size() <= RowNotes::kMaxRanges) return;
  RowRange& last = (*ranges)[RowNotes::kMaxRanges - 1];
  last.count = ranges->back().first + ranges->back().count - last.first;
  ranges->resize(RowNotes::kMaxRanges);
}

std::vector<RowRange> Union(absl::Span<const RowRange> a, absl::Span<const RowRange> b) {
  std::vector<RowRange> all;
  all.reserve(a.size() + b.size());
  while (!a.empty() || !b.empty()) {
    absl::Span<const RowRange>& next = b.empty() || (!a.empty() && a.front().first <= b.front().first) ? a : b;
    Append(next.front(), &all);
    next.remove_prefix(1);
  }
  return all;
}

/// What may stand in a header; a semicolon would end the note.
void AppendPrintable(absl::string_view text, std::string* out) {
  for (const char c : text) out->push_back(c == ';' ? ',' : c >= ' ' && c <= '~' ? c : '?');
}

std::string TextOf(const RowNote& note) {
  constexpr size_t kMaxRangesText = 256;
  std::string text;
  int64_t left = CountRows(note.rows);
  for (const RowRange& range : note.rows) {
    if (text.size() > kMaxRangesText) {
      absl::StrAppend(&text, ",+", left);
      break;
    }
    absl::StrAppend(&text, text.empty() ? "" : ",", range.first);
    if (range.count > 1) absl::StrAppend(&text, "-", range.first + range.count - 1);
    left -= range.count;
  }
  text.push_back(' ');
  for (const char c : note.portal) text.push_back(c > ' ' && c <= '~' && c != ';' ? c : '?');
  text.push_back('=');
  AppendPrintable(note.kind, &text);
  absl::StrAppend(&text, " ", absl::StatusCodeToString(note.why.code()), ": ");
  AppendPrintable(note.why.message(), &text);
  return text;
}

}  // namespace

void RowNotes::Add(absl::string_view portal, absl::string_view kind, const absl::Status& why,
                   absl::Span<const int64_t> rows) {
  if (rows.empty()) return;
  Add(RowNote{std::string(portal), std::string(kind), why, RangesOf(rows)});
}

void RowNotes::Add(RowNote note) {
  if (note.rows.empty()) return;
  Bound(&note.rows);
  if (note.portal.size() > kMaxName) note.portal.resize(kMaxName);
  if (note.kind.size() > kMaxName) note.kind.resize(kMaxName);
  if (note.why.message().size() > kMaxMessage) {
    note.why = absl::Status(note.why.code(), note.why.message().substr(0, kMaxMessage));
  }
  MutexLock lock(&mutex_);
  any_.store(true, std::memory_order_release);
  auto into = std::find_if(notes_.begin(), notes_.end(), [&](const RowNote& known) {
    return known.portal == note.portal && known.kind == note.kind && known.why.code() == note.why.code();
  });
  if (into == notes_.end()) {
    if (notes_.size() < kMaxNotes) {
      notes_.push_back(std::move(note));
      return;
    }
    into = std::find_if(notes_.begin(), notes_.end(), [&](const RowNote& known) { return known.kind == note.kind; });
    if (into == notes_.end()) {
      into = std::prev(notes_.end());
      if (note.kind == kMark) into->kind = note.kind;
    }
    into->portal = std::string(kSeveral);
  }
  into->rows = Union(into->rows, note.rows);
  Bound(&into->rows);
}

std::vector<RowNote> RowNotes::Notes() const {
  if (empty()) return {};
  MutexLock lock(&mutex_);
  return notes_;
}

std::string RowNotes::Joined() const {
  // Room for the number of what is left out.
  constexpr size_t kMaxTail = 8;
  std::string text;
  const std::vector<RowNote> notes = Notes();
  for (size_t i = 0; i < notes.size(); ++i) {
    const std::string note = TextOf(notes[i]);
    if (text.size() + note.size() + kMaxTail > kMaxText) {
      absl::StrAppend(&text, "; +", notes.size() - i);
      break;
    }
    absl::StrAppend(&text, text.empty() ? "" : "; ", note);
  }
  return text;
}

std::vector<RowRange> RangesOf(absl::Span<const int64_t> rows) {
  std::vector<RowRange> ranges;
  for (const int64_t row : rows) Append({row, 1}, &ranges);
  return ranges;
}

int64_t CountRows(absl::Span<const RowRange> ranges) {
  int64_t count = 0;
  for (const RowRange& range : ranges) count += range.count;
  return count;
}

std::vector<RowRange> RangesWithin(absl::Span<const int64_t> rows, absl::Span<const RowRange> ranges) {
  std::vector<RowRange> within;
  const auto size = static_cast<int64_t>(rows.size());
  for (const RowRange& range : ranges) {
    const int64_t end = std::min(size, range.first + range.count);
    for (int64_t i = range.first; i < end; ++i) Append({rows[static_cast<size_t>(i)], 1}, &within);
  }
  return within;
}

}  // namespace portico
