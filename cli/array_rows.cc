#include "cli/array_rows.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cli/npy.h"
#include "cli/number_file.h"
#include "cli/text_lines.h"

namespace portico {
namespace {

absl::StatusOr<NumberFile> OpenRows(const TableBuild& build) {
  if (build.raw.empty()) return NumberFile::OpenNpy(build.rows);
  if (build.dim == 0) return absl::InvalidArgumentError("--raw: got no --dim, want how many numbers a row has");
  ASSIGN_OR_RETURN(const DType dtype, DTypeFromName(build.raw));
  return NumberFile::OpenRaw(build.rows, dtype, build.dim);
}

/// The ids that go with rows, in their order.
class IdSource {
 public:
  static absl::StatusOr<IdSource> Open(const TableBuild& build, uint64_t rows) {
    IdSource source;
    if (!build.ids.empty() && !build.string_ids.empty())
      return absl::InvalidArgumentError("--ids: got --string-ids, too; want one of them");
    if (!build.ids.empty()) {
      ASSIGN_OR_RETURN(NumberFile numbers, build.raw.empty() ? NumberFile::OpenNpy(build.ids)
                                                             : NumberFile::OpenRaw(build.ids, DType::kInt64, 0));
      source.numbers_ = std::move(numbers);
      if (source.numbers_->shape() != Shape{static_cast<int64_t>(rows)}) {
        return absl::InvalidArgumentError(absl::StrCat("ids '", build.ids, "': got shape ",
                                                       ShapeString(source.numbers_->shape()), ", want [", rows,
                                                       "], one for each row"));
      }
    }
    if (!build.string_ids.empty()) {
      source.path_ = build.string_ids;
      ASSIGN_OR_RETURN(source.lines_, TextLines::Open(build.string_ids));
    }
    return source;
  }

  IdKind kind() const {
    return numbers_.has_value() ? IdKind::kSparse : lines_.has_value() ? IdKind::kString : IdKind::kDense;
  }
  /// Fills in the ids of the next `count` rows; they live until the next call.
  absl::Status Read(size_t count, ShardWriter::Rows* rows) {
    if (numbers_.has_value()) {
      ids_.resize(count);
      RETURN_IF_ERROR(numbers_->ReadIds(absl::MakeSpan(ids_)));
      rows->ids = ids_;
    }
    if (!lines_.has_value()) return absl::OkStatus();
    texts_.resize(count);
    for (std::string& text : texts_) {
      absl::string_view line;
      ASSIGN_OR_RETURN(const bool there, lines_->Next(&line));
      if (!there)
        return absl::InvalidArgumentError(absl::StrCat("ids '", path_, "': got fewer lines than there are rows"));
      text.assign(line.data(), line.size());
    }
    views_.assign(texts_.begin(), texts_.end());
    rows->strings = views_;
    return absl::OkStatus();
  }
  BuildCheckpoint::Position PositionAt(uint64_t row) const {
    if (!lines_.has_value()) return {.rows = row};
    return {.rows = row, .bytes = lines_->done(), .lines = lines_->count()};
  }
  absl::Status Seek(const BuildCheckpoint::Position& position) {
    if (numbers_.has_value()) return numbers_->Seek(position.rows);
    return lines_.has_value() ? lines_->Seek(position.bytes, position.lines) : absl::OkStatus();
  }
  absl::Status ExpectEnd() {
    if (!lines_.has_value()) return absl::OkStatus();
    absl::string_view line;
    ASSIGN_OR_RETURN(const bool more, lines_->Next(&line));
    if (!more) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("ids '", path_, "': got more lines than there are rows"));
  }

 private:
  std::string path_;
  std::optional<NumberFile> numbers_;
  std::optional<TextLines> lines_;
  std::vector<int64_t> ids_;
  std::vector<std::string> texts_;
  std::vector<absl::string_view> views_;
};

/// Rows of an array in a file, ids of another.
class ArrayRows final : public RowSource {
 public:
  static absl::StatusOr<std::unique_ptr<RowSource>> Open(const TableBuild& build, size_t piece_numbers) {
    ASSIGN_OR_RETURN(NumberFile values, OpenRows(build));
    const Shape& shape = values.shape();
    if (shape.size() != 2 || shape[1] < 1 || static_cast<uint64_t>(shape[1]) > kMaxDim) {
      return absl::InvalidArgumentError(absl::StrCat("rows '", build.rows, "': got shape ", ShapeString(shape),
                                                     ", want [rows, dim], dim from 1 to ", kMaxDim));
    }
    ASSIGN_OR_RETURN(IdSource ids, IdSource::Open(build, static_cast<uint64_t>(shape[0])));
    return std::make_unique<ArrayRows>(std::move(values), std::move(ids), piece_numbers);
  }
  ArrayRows(NumberFile values, IdSource ids, size_t piece_numbers)
      : values_(std::move(values)),
        ids_(std::move(ids)),
        rows_(static_cast<uint64_t>(values_.shape()[0])),
        dim_(static_cast<size_t>(values_.shape()[1])),
        piece_rows_(std::max<size_t>(1, piece_numbers / dim_)) {}

  size_t dim() const override { return dim_; }
  IdKind kind() const override { return ids_.kind(); }
  SourceProgress progress() const override { return {.position = ids_.PositionAt(done_), .done = done_, .all = rows_}; }
  absl::Status Seek(const BuildCheckpoint::Position& position) override {
    RETURN_IF_ERROR(values_.Seek(position.rows * dim_));
    done_ = position.rows;
    return ids_.Seek(position);
  }

  absl::Status Next(ShardWriter::Rows* rows) override {
    const auto count = static_cast<size_t>(std::min<uint64_t>(piece_rows_, rows_ - done_));
    if (count == 0) return ids_.ExpectEnd();
    piece_.resize(count * dim_);
    RETURN_IF_ERROR(values_.ReadFloats(absl::MakeSpan(piece_)));
    rows->values = piece_;
    RETURN_IF_ERROR(ids_.Read(count, rows));
    done_ += count;
    return absl::OkStatus();
  }

 private:
  NumberFile values_;
  IdSource ids_;
  const uint64_t rows_;
  const size_t dim_;
  const size_t piece_rows_;
  uint64_t done_ = 0;
  std::vector<float> piece_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<RowSource>> OpenArrayRows(const TableBuild& build, size_t piece_numbers) {
  return ArrayRows::Open(build, piece_numbers);
}

}  // namespace portico
