#include "cli/text_rows.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace portico {
namespace {

constexpr size_t kReadBytes = 1 << 20;
/// Of a line: an id and kMaxDim numbers in 32 bytes each.
constexpr size_t kMaxLineBytes = 2 * kMaxIdBytes + 32 * kMaxDim;

/// Lines of a file, none of them longer than kMaxLineBytes.
class Lines {
 public:
  static absl::StatusOr<Lines> Open(const std::string& path) {
    Lines lines;
    lines.path_ = path;
    lines.file_.reset(std::fopen(path.c_str(), "rbe"));
    if (lines.file_ == nullptr) return ErrnoStatus(errno, "open", path);
    if (std::fseek(lines.file_.get(), 0, SEEK_END) != 0) return ErrnoStatus(errno, "seek in", path);
    lines.bytes_ = static_cast<uint64_t>(std::max(0L, std::ftell(lines.file_.get())));
    std::rewind(lines.file_.get());
    return lines;
  }

  /// False at the end. The line lives until the next call.
  absl::StatusOr<bool> Next(absl::string_view* line) {
    while (true) {
      const absl::string_view left = absl::string_view(buffer_).substr(begin_);
      size_t end = left.find('\n', searched_);
      if (end == absl::string_view::npos && at_end_ && !left.empty()) end = left.size();
      if (end != absl::string_view::npos) {
        *line = left.substr(0, end);
        begin_ += std::min(end + 1, left.size());
        searched_ = 0;
        ++number_;
        absl::ConsumeSuffix(line, "\r");
        return true;
      }
      if (at_end_) return false;
      if (left.size() > kMaxLineBytes)
        return absl::InvalidArgumentError(absl::StrCat(path_, ":", number_ + 1, ": got a line of more than ",
                                                       kMaxLineBytes, " bytes, want an id and at most ", kMaxDim,
                                                       " numbers"));
      searched_ = left.size();
      RETURN_IF_ERROR(Read());
    }
  }
  absl::Status Wrong(absl::string_view what) const {
    return absl::InvalidArgumentError(absl::StrCat(path_, ":", number_, ": ", what));
  }
  uint64_t done() const { return read_ - (buffer_.size() - begin_); }
  uint64_t bytes() const { return bytes_; }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  absl::Status Read() {
    buffer_.erase(0, std::exchange(begin_, 0));
    const size_t had = buffer_.size();
    buffer_.resize(had + kReadBytes);
    const size_t got = std::fread(buffer_.data() + had, 1, kReadBytes, file_.get());
    buffer_.resize(had + got);
    read_ += got;
    if (got == kReadBytes) return absl::OkStatus();
    if (std::ferror(file_.get()) != 0) return ErrnoStatus(errno, "read", path_);
    at_end_ = true;
    return absl::OkStatus();
  }

  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
  std::string buffer_;
  /// Of the first line that was not handed out yet, and how much of it has no end.
  size_t begin_ = 0;
  size_t searched_ = 0;
  bool at_end_ = false;
  uint64_t number_ = 0;
  uint64_t read_ = 0;
  uint64_t bytes_ = 0;
};

class TextRows final : public RowSource {
 public:
  TextRows(Lines lines, TextForm form, IdKind kind) : lines_(std::move(lines)), form_(form), kind_(kind) {}

  /// Reads the first row, which says what the others are.
  absl::Status Begin() {
    absl::string_view line;
    while (true) {
      ASSIGN_OR_RETURN(const bool more, lines_.Next(&line));
      if (!more) return lines_.Wrong("got the end, want a row");
      if (line.empty()) continue;
      const absl::Status added = AddLine(line);
      // A header names columns.
      if (added.ok()) break;
      if (form_ != TextForm::kCsv || header_) return added;
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
  uint64_t done() const override { return lines_.done(); }
  uint64_t all() const override { return lines_.bytes(); }

  absl::Status Next(ShardWriter::Rows* rows) override {
    // The first row is here already, the first time.
    if (!first_) Clear();
    first_ = false;
    absl::string_view line;
    while (values_.size() < kRowSourceNumbers) {
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
      const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), value);
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

  Lines lines_;
  const TextForm form_;
  const IdKind kind_;
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

absl::StatusOr<std::unique_ptr<RowSource>> OpenTextRows(const std::string& path, TextForm form, IdKind kind) {
  ASSIGN_OR_RETURN(Lines lines, Lines::Open(path));
  auto rows = std::make_unique<TextRows>(std::move(lines), form, kind);
  RETURN_IF_ERROR(rows->Begin());
  return rows;
}

}  // namespace portico
