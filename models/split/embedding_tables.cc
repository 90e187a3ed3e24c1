#include "models/split/embedding_tables.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/small_float.h"
#include "base/status_macros.h"

namespace portico {
namespace {

/// Numbers looked at at a time.
constexpr size_t kPieceNumbers = 1 << 20;

/// The rows of a weight, piece by piece: in place where they are float32.
class WeightRows {
 public:
  explicit WeightRows(const TableWeight& weight)
      : values_(weight.values.Aligned()),
        dim_(weight.dim()),
        rows_(weight.rows()),
        piece_rows_(std::max<size_t>(1, kPieceNumbers / dim_)) {}

  /// From the first row on; empty at the end. Lives until the next call.
  absl::Span<const float> Next() {
    const size_t count = std::min<uint64_t>(piece_rows_, rows_ - done_) * dim_;
    const size_t begin = done_ * dim_;
    done_ += count / dim_;
    if (values_.dtype() == DType::kFloat) return values_.data<float>().subspan(begin, count);
    piece_.resize(count);
    const auto* bits = reinterpret_cast<const uint16_t*>(values_.bytes().data()) + begin;
    std::transform(bits, bits + count, piece_.begin(),
                   values_.dtype() == DType::kFloat16 ? FloatFromHalf : FloatFromBfloat);
    return piece_;
  }
  uint64_t done() const { return done_; }

 private:
  const Tensor values_;
  const size_t dim_;
  const uint64_t rows_;
  const size_t piece_rows_;
  uint64_t done_ = 0;
  std::vector<float> piece_;
};

uint64_t AllRows(const std::vector<TableWeight>& weights) {
  return std::accumulate(weights.begin(), weights.end(), uint64_t{0},
                         [](uint64_t sum, const TableWeight& weight) { return sum + weight.rows(); });
}

/// Holds the rows from `first` on against what was stored.
absl::Status CheckPiece(absl::Span<const float> want, uint64_t first, RowType type, const LocalTables& tables,
                        TableReport* report) {
  const size_t count = want.size() / report->dim;
  std::vector<int64_t> ids(count);
  std::iota(ids.begin(), ids.end(), static_cast<int64_t>(first));
  std::vector<float> got(want.size());
  RETURN_IF_ERROR(tables.Rows(report->name, ids, absl::MakeSpan(got)));
  for (size_t row = 0; row < count; ++row) {
    const absl::Span<const float> values = want.subspan(row * report->dim, report->dim);
    const double bound = RowErrorBound(type, values);
    report->bound = std::max(report->bound, bound);
    for (size_t d = 0; d < values.size(); ++d) {
      const double error = std::abs(static_cast<double>(got[row * report->dim + d]) - values[d]);
      report->error = std::max(report->error, error);
      if (error <= bound) continue;
      return absl::DataLossError(absl::StrCat("table '", report->name, "', row ", first + row, ": value ", d, ": got ",
                                              got[row * report->dim + d], ", want ", values[d], " to ", bound));
    }
  }
  return absl::OkStatus();
}

}  // namespace

double RowErrorBound(RowType type, absl::Span<const float> values) {
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  const double span = static_cast<double>(*most) - *least;
  const double largest = std::max(std::abs(static_cast<double>(*least)), std::abs(static_cast<double>(*most)));
  // Scale, bias and value are float32 each.
  const double rounding = 4 * std::ldexp(largest, -23) + 1e-38;
  switch (type) {
    case RowType::kFloat32:
      return 0;
    case RowType::kFloat16:
      return std::ldexp(largest, -11) + std::ldexp(1.0, -25);
    case RowType::kBfloat16:
      return std::ldexp(largest, -8) + 1e-38;
    case RowType::kInt8:
      return span / 255 / 2 + rounding;
    case RowType::kInt4:
      return span / 15 / 2 + rounding;
  }
  return 0;
}

absl::Status WriteTables(const std::vector<TableWeight>& weights, const EmbeddingOptions& options, GroupWriter& writer,
                         const RowProgress& progress) {
  const uint64_t all = AllRows(weights);
  uint64_t before = 0;
  for (const TableWeight& weight : weights) {
    TableSpec spec;
    spec.name = weight.weight;
    spec.dim = weight.dim();
    spec.row_type = options.row_type;
    spec.unknown = options.unknown;
    RETURN_IF_ERROR(writer.BeginTable(std::move(spec)));
    WeightRows rows(weight);
    while (rows.done() < weight.rows()) {
      RETURN_IF_ERROR(writer.Add({.values = rows.Next()}));
      progress(before + rows.done(), all);
    }
    RETURN_IF_ERROR(writer.EndTable());
    before += weight.rows();
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TableReport>> CheckTables(const std::vector<TableWeight>& weights, const LocalTables& tables,
                                                     const RowProgress& progress) {
  const uint64_t all = AllRows(weights);
  uint64_t before = 0;
  std::vector<TableReport> reports;
  for (const TableWeight& weight : weights) {
    TableReport report;
    report.name = weight.weight;
    report.rows = weight.rows();
    report.dim = weight.dim();
    report.weight_bytes = weight.values.bytes().size();
    RowType type = RowType::kFloat32;
    for (uint32_t shard = 0; shard < tables.shards(); ++shard) {
      const EmbeddingTable* table = tables.Find(shard, weight.weight);
      if (table == nullptr)
        return absl::NotFoundError(absl::StrCat("table '", weight.weight, "': not in shard ", shard));
      type = table->spec().row_type;
      report.stored_bytes += table->memory().row_count * table->memory().stride;
    }
    WeightRows rows(weight);
    while (rows.done() < weight.rows()) {
      const uint64_t first = rows.done();
      RETURN_IF_ERROR(CheckPiece(rows.Next(), first, type, tables, &report));
      progress(before + rows.done(), all);
    }
    before += weight.rows();
    reports.push_back(std::move(report));
  }
  return reports;
}

}  // namespace portico
