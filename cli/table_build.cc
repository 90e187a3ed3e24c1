#include "cli/table_build.h"

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "cli/npy.h"
#include "cli/number_file.h"
#include "embedding/shard_writer.h"

namespace portico {
namespace {

/// Numbers read at a time.
constexpr size_t kPieceNumbers = 1 << 20;

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
      source.lines_.open(build.string_ids);
      if (!source.lines_) return ErrnoStatus(errno, "open", build.string_ids);
    }
    return source;
  }

  IdKind kind() const {
    return numbers_.has_value() ? IdKind::kSparse : lines_.is_open() ? IdKind::kString : IdKind::kDense;
  }
  /// Fills in the ids of the next `count` rows; they live until the next call.
  absl::Status Read(size_t count, ShardWriter::Rows* rows) {
    if (numbers_.has_value()) {
      ids_.resize(count);
      RETURN_IF_ERROR(numbers_->ReadIds(absl::MakeSpan(ids_)));
      rows->ids = ids_;
    }
    if (!lines_.is_open()) return absl::OkStatus();
    texts_.resize(count);
    for (std::string& text : texts_) {
      if (!std::getline(lines_, text))
        return absl::InvalidArgumentError(absl::StrCat("ids '", path_, "': got fewer lines than there are rows"));
    }
    views_.assign(texts_.begin(), texts_.end());
    rows->strings = views_;
    return absl::OkStatus();
  }
  absl::Status ExpectEnd() {
    std::string more;
    if (!lines_.is_open() || !std::getline(lines_, more)) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("ids '", path_, "': got more lines than there are rows"));
  }

 private:
  std::string path_;
  std::optional<NumberFile> numbers_;
  std::ifstream lines_;
  std::vector<int64_t> ids_;
  std::vector<std::string> texts_;
  std::vector<absl::string_view> views_;
};

absl::StatusOr<TableSpec> SpecOf(const TableBuild& build, size_t dim, IdKind kind) {
  TableSpec spec;
  spec.name = build.name;
  spec.dim = dim;
  spec.id_kind = kind;
  ASSIGN_OR_RETURN(spec.row_type, RowTypeFromName(build.type));
  ASSIGN_OR_RETURN(spec.unknown, UnknownIdFromName(build.unknown));
  if (!build.default_row.empty()) {
    ASSIGN_OR_RETURN(NumberFile row, NumberFile::OpenNpy(build.default_row));
    if (row.shape() != Shape{static_cast<int64_t>(dim)}) {
      return absl::InvalidArgumentError(absl::StrCat("default row '", build.default_row, "': got shape ",
                                                     ShapeString(row.shape()), ", want [", dim, "]"));
    }
    spec.default_row.resize(dim);
    RETURN_IF_ERROR(row.ReadFloats(absl::MakeSpan(spec.default_row)));
  }
  RETURN_IF_ERROR(spec.Validate());
  return spec;
}

}  // namespace

absl::StatusOr<uint64_t> BuildTable(const TableBuild& build, const BuildProgress& progress) {
  ASSIGN_OR_RETURN(NumberFile values, OpenRows(build));
  const Shape& shape = values.shape();
  if (shape.size() != 2 || shape[1] < 1 || static_cast<uint64_t>(shape[1]) > kMaxDim) {
    return absl::InvalidArgumentError(absl::StrCat("rows '", build.rows, "': got shape ", ShapeString(shape),
                                                   ", want [rows, dim], dim from 1 to ", kMaxDim));
  }
  if (build.dim != 0 && build.dim != static_cast<uint64_t>(shape[1])) {
    return absl::InvalidArgumentError(
        absl::StrCat("rows '", build.rows, "': got ", shape[1], " numbers a row, want ", build.dim, " (--dim)"));
  }
  const auto all = static_cast<uint64_t>(shape[0]);
  const auto dim = static_cast<size_t>(shape[1]);
  ASSIGN_OR_RETURN(IdSource ids, IdSource::Open(build, all));
  ASSIGN_OR_RETURN(TableSpec spec, SpecOf(build, dim, ids.kind()));
  ShardWriter::Options options;
  options.memory_bytes = build.memory_bytes;
  ASSIGN_OR_RETURN(const auto writer, ShardWriter::Create(build.out, options));
  RETURN_IF_ERROR(writer->BeginTable(std::move(spec)));
  const size_t piece_rows = std::max<size_t>(1, kPieceNumbers / dim);
  std::vector<float> piece;
  for (uint64_t done = 0; done < all;) {
    const auto count = static_cast<size_t>(std::min<uint64_t>(piece_rows, all - done));
    piece.resize(count * dim);
    RETURN_IF_ERROR(values.ReadFloats(absl::MakeSpan(piece)));
    ShardWriter::Rows rows;
    rows.values = piece;
    RETURN_IF_ERROR(ids.Read(count, &rows));
    RETURN_IF_ERROR(writer->Add(rows));
    done += count;
    progress(done, all);
  }
  RETURN_IF_ERROR(ids.ExpectEnd());
  RETURN_IF_ERROR(writer->EndTable());
  RETURN_IF_ERROR(writer->Commit());
  return all;
}

}  // namespace portico
