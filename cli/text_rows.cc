#include "cli/text_rows.h"

#include <algorithm>
#include <charconv>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/charconv.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "cli/text_lines.h"

namespace portico {
namespace {

class TextRows final : public RowSource {
 public:
  TextRows(TextLines lines, TextForm form, IdKind kind, size_t piece_numbers)
      : lines_(std::move(lines)), form_(form), kind_(kind), piece_numbers_(piece_numbers) {}

  /// Reads the first row, which says what the others are.
  absl::Status Begin() {
    absl::string_view line;
    while (true) {
      ASSIGN_OR_RETURN(const bool more, lines_.Next(&line));
      if (!more) return lines_.Wrong("got the end, want a row");
      if (line.empty()) continue;
      const absl::Status added = AddLine(line);
      if (added.ok()) break;
      if (form_ != TextForm::kCsv || header_ || !IsHeader(line)) return added;
      header_ = true;
      Clear();
    }
    dim_ = values_.size();
    if (dim_ < 1 || dim_ > kMaxDim)
      return lines_.Wrong(absl::StrCat("got ", dim_, " numbers in the row, want 1 to ", kMaxDim));
    return absl::OkStatus();
  }

  size_t dim() const override { return dim_; }
  IdKind kind() const override { return kind_; }
  SourceProgress progress() const override {
    return {.position = {.rows = rows_, .bytes = lines_.done(), .lines = lines_.count()},
            .done = lines_.done(),
            .all = lines_.bytes()};
  }
  absl::Status Seek(const BuildCheckpoint::Position& position) override {
    Clear();
    first_ = false;
    rows_ = position.rows;
    return lines_.Seek(position.bytes, position.lines);
  }

  absl::Status Next(ShardWriter::Rows* rows) override {
    // The first row is here already, the first time.
    if (!first_) Clear();
    first_ = false;
    absl::string_view line;
    while (values_.size() < piece_numbers_) {
      ASSIGN_OR_RETURN(const bool more, lines_.Next(&line));
      if (!more) break;
      if (line.empty()) continue;
      const size_t before = values_.size();
      RETURN_IF_ERROR(AddLine(line));
      if (values_.size() - before != dim_) {
        return lines_.Wrong(
            absl::StrCat("got ", values_.size() - before, " numbers, want ", dim_, " as in the first row"));
      }
    }
    strings_.assign(texts_.begin(), texts_.end());
    rows->ids = ids_;
    rows->strings = strings_;
    rows->values = values_;
    return absl::OkStatus();
  }

 private:
  /// A header names columns: nothing in it is a number.
  bool IsHeader(absl::string_view line) const {
    std::string quoted;
    absl::string_view id;
    double number = 0;
    if (!TakeId(&line, &id, &quoted).ok() || absl::SimpleAtod(id, &number)) return false;
    for (const absl::string_view name : absl::StrSplit(line, ',')) {
      if (absl::SimpleAtod(name, &number)) return false;
    }
    return true;
  }

  /// As std::from_chars(), but what is too small for a float32 is the nearest there is, 0 mostly.
  static std::from_chars_result ReadNumber(absl::string_view text, float* value) {
    std::from_chars_result result = std::from_chars(text.data(), text.data() + text.size(), *value);
    if (result.ec != std::errc::result_out_of_range) return result;
    const bool negative = absl::ConsumePrefix(&text, "-");
    float nearest = 0;
    absl::from_chars(text.data(), text.data() + text.size(), nearest);
    if (nearest >= 1) return result;
    *value = negative ? -nearest : nearest;
    result.ec = std::errc();
    return result;
  }

  void Clear() {
    ids_.clear();
    texts_.clear();
    values_.clear();
  }

  absl::Status AddLine(absl::string_view line) {
    std::string quoted;
    absl::string_view id;
    RETURN_IF_ERROR(TakeId(&line, &id, &quoted));
    const uint64_t row = rows_;
    RETURN_IF_ERROR(AddValues(line));
    if (kind_ == IdKind::kString) {
      texts_.emplace_back(id);
    } else {
      int64_t number = 0;
      if (!absl::SimpleAtoi(id, &number))
        return lines_.Wrong(absl::StrCat("got id '", id, "', want a number; or --id-kind string"));
      if (kind_ == IdKind::kSparse) ids_.push_back(number);
      if (kind_ == IdKind::kDense && static_cast<uint64_t>(number) != row)
        return lines_.Wrong(
            absl::StrCat("got id ", number, ", want ", row, ", as dense ids stand in order; or --id-kind sparse"));
    }
    ++rows_;
    return absl::OkStatus();
  }

  /// Cuts the id and what is behind it off `line`.
  absl::Status TakeId(absl::string_view* line, absl::string_view* id, std::string* quoted) const {
    const char separator = form_ == TextForm::kCsv ? ',' : '\t';
    if (form_ == TextForm::kCsv && absl::ConsumePrefix(line, "\"")) {
      while (true) {
        const size_t end = line->find('"');
        if (end == absl::string_view::npos) return lines_.Wrong("got an id without its closing quote");
        absl::StrAppend(quoted, line->substr(0, end));
        line->remove_prefix(end + 1);
        if (!absl::ConsumePrefix(line, "\"")) break;
        quoted->push_back('"');
      }
      *id = *quoted;
      if (!absl::ConsumePrefix(line, ",")) return lines_.Wrong("got no comma behind the id");
      return absl::OkStatus();
    }
    const size_t end = line->find(separator);
    if (end == absl::string_view::npos)
      return lines_.Wrong(absl::StrCat("got no ", separator == ',' ? "comma" : "tab", ", want one behind the id"));
    *id = line->substr(0, end);
    line->remove_prefix(end + 1);
    return absl::OkStatus();
  }

  absl::Status AddValues(absl::string_view line) {
    const char separator = form_ == TextForm::kCsv ? ',' : ' ';
    while (true) {
      line = absl::StripLeadingAsciiWhitespace(line);
      float value = 0;
      const auto [end, error] = ReadNumber(line, &value);
      if (error != std::errc()) {
        return lines_.Wrong(absl::StrCat("number ", values_.size() % std::max<size_t>(dim_, 1), ": got '",
                                         line.substr(0, std::min(line.find(separator), size_t{40})),
                                         "', want a number of float32"));
      }
      values_.push_back(value);
      line = absl::StripAsciiWhitespace(line.substr(static_cast<size_t>(end - line.data())));
      if (line.empty()) return absl::OkStatus();
      if (separator == ',' && !absl::ConsumePrefix(&line, ",")) return lines_.Wrong("got no comma between numbers");
    }
  }

  TextLines lines_;
  const TextForm form_;
  const IdKind kind_;
  const size_t piece_numbers_;
  size_t dim_ = 0;
  bool header_ = false;
  bool first_ = true;
  uint64_t rows_ = 0;
  std::vector<int64_t> ids_;
  std::vector<std::string> texts_;
  std::vector<absl::string_view> strings_;
  std::vector<float> values_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<RowSource>> OpenTextRows(const std::string& path, TextForm form, IdKind kind,
                                                        size_t piece_numbers) {
  ASSIGN_OR_RETURN(TextLines lines, TextLines::Open(path));
  auto rows = std::make_unique<TextRows>(std::move(lines), form, kind, piece_numbers);
  RETURN_IF_ERROR(rows->Begin());
  return rows;
}

}  // namespace portico
