#include "cli/table_build.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cli/npy.h"
#include "cli/number_file.h"
#include "cli/row_source.h"
#include "cli/text_lines.h"
#include "cli/text_rows.h"
#include "embedding/group_writer.h"
#include "embedding/shard_writer.h"
#include "models/package/shard_package.h"

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
  static absl::StatusOr<std::unique_ptr<RowSource>> Open(const TableBuild& build) {
    ASSIGN_OR_RETURN(NumberFile values, OpenRows(build));
    const Shape& shape = values.shape();
    if (shape.size() != 2 || shape[1] < 1 || static_cast<uint64_t>(shape[1]) > kMaxDim) {
      return absl::InvalidArgumentError(absl::StrCat("rows '", build.rows, "': got shape ", ShapeString(shape),
                                                     ", want [rows, dim], dim from 1 to ", kMaxDim));
    }
    ASSIGN_OR_RETURN(IdSource ids, IdSource::Open(build, static_cast<uint64_t>(shape[0])));
    return std::make_unique<ArrayRows>(std::move(values), std::move(ids));
  }
  ArrayRows(NumberFile values, IdSource ids)
      : values_(std::move(values)),
        ids_(std::move(ids)),
        rows_(static_cast<uint64_t>(values_.shape()[0])),
        dim_(static_cast<size_t>(values_.shape()[1])) {}

  size_t dim() const override { return dim_; }
  IdKind kind() const override { return ids_.kind(); }
  uint64_t done() const override { return done_; }
  uint64_t all() const override { return rows_; }

  absl::Status Next(ShardWriter::Rows* rows) override {
    const auto count =
        static_cast<size_t>(std::min<uint64_t>(std::max<size_t>(1, kRowSourceNumbers / dim_), rows_ - done_));
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
  uint64_t done_ = 0;
  std::vector<float> piece_;
};

absl::StatusOr<std::unique_ptr<RowSource>> OpenSource(const TableBuild& build) {
  if (build.text.empty() && !build.id_kind.empty())
    return absl::InvalidArgumentError("--id-kind: got one without --text; ids of arrays say themselves what they are");
  if (build.text.empty()) return ArrayRows::Open(build);
  if (build.text != "csv" && build.text != "kv")
    return absl::InvalidArgumentError(absl::StrCat("--text: got '", build.text, "', want csv or kv"));
  if (!build.raw.empty() || !build.ids.empty() || !build.string_ids.empty())
    return absl::InvalidArgumentError("--text: got --raw, --ids or --string-ids, too; a text has its ids in it");
  ASSIGN_OR_RETURN(const IdKind kind, IdKindFromName(build.id_kind.empty() ? "sparse" : build.id_kind));
  return OpenTextRows(build.rows, build.text == "csv" ? TextForm::kCsv : TextForm::kKeyValue, kind);
}

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

/// Puts all rows of `source` into `writer`, a ShardWriter or GroupWriter. Their number.
template <typename Writer>
absl::StatusOr<uint64_t> Fill(RowSource& source, TableSpec spec, Writer& writer, const BuildProgress& progress) {
  const size_t dim = spec.dim;
  RETURN_IF_ERROR(writer.BeginTable(std::move(spec)));
  uint64_t count = 0;
  while (true) {
    ShardWriter::Rows rows;
    RETURN_IF_ERROR(source.Next(&rows));
    if (rows.values.empty()) break;
    RETURN_IF_ERROR(writer.Add(rows));
    count += rows.values.size() / dim;
    progress(source.done(), source.all());
  }
  RETURN_IF_ERROR(writer.EndTable());
  return count;
}

absl::StatusOr<uint64_t> BuildGroup(const TableBuild& build, RowSource& source, TableSpec spec,
                                    const BuildProgress& progress) {
  GroupWriter::Options options;
  options.shards = build.shards;
  options.version = build.version;
  options.memory_bytes = build.memory_bytes;
  ASSIGN_OR_RETURN(const auto writer, GroupWriter::Create(build.out, options));
  ASSIGN_OR_RETURN(const uint64_t rows, Fill(source, std::move(spec), *writer, progress));
  RETURN_IF_ERROR(writer->Finish());
  for (uint32_t shard = 0; shard < build.shards; ++shard) {
    RETURN_IF_ERROR(WriteShardPackage(writer->StagedFolder(shard)));
  }
  RETURN_IF_ERROR(writer->Commit());
  return rows;
}

}  // namespace

absl::StatusOr<uint64_t> BuildTable(const TableBuild& build, const BuildProgress& progress) {
  ASSIGN_OR_RETURN(const std::unique_ptr<RowSource> source, OpenSource(build));
  if (build.dim != 0 && build.dim != source->dim()) {
    return absl::InvalidArgumentError(
        absl::StrCat("rows '", build.rows, "': got ", source->dim(), " numbers a row, want ", build.dim, " (--dim)"));
  }
  ASSIGN_OR_RETURN(TableSpec spec, SpecOf(build, source->dim(), source->kind()));
  if (build.package) return BuildGroup(build, *source, std::move(spec), progress);
  ShardWriter::Options options;
  options.memory_bytes = build.memory_bytes;
  ASSIGN_OR_RETURN(const auto writer, ShardWriter::Create(build.out, options));
  ASSIGN_OR_RETURN(const uint64_t rows, Fill(*source, std::move(spec), *writer, progress));
  RETURN_IF_ERROR(writer->Commit());
  return rows;
}

}  // namespace portico
