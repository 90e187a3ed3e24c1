#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "embedding/shard_file.h"
#include "embedding/shard_writer.h"

namespace portico {

/// Row number `row`'s values in a test's table: any two rows differ.
inline std::vector<float> RowValues(size_t row, size_t dim) {
  std::vector<float> values(dim);
  for (size_t i = 0; i < dim; ++i) {
    values[i] = static_cast<float>(static_cast<int>((row * 31 + i * 7) % 201) - 100) / 16 + static_cast<float>(row % 8);
  }
  return values;
}

/// Ids of a test's table with sparse ids: any bits, negative ones too.
inline int64_t SparseId(size_t row) { return static_cast<int64_t>(row * 0x9e3779b97f4a7c15ull); }
inline std::string StringId(size_t row) { return "item/" + std::string(row % 40, 'x') + std::to_string(row); }

/// Adds a whole table of RowValues() rows to `writer`, a ShardWriter or GroupWriter.
template <typename Writer>
absl::Status AddTable(Writer& writer, const TableSpec& spec, size_t rows, size_t rows_at_a_time = 100) {
  absl::Status status = writer.BeginTable(spec);
  for (size_t first = 0; status.ok() && first < rows; first += rows_at_a_time) {
    std::vector<int64_t> ids;
    std::vector<std::string> texts;
    std::vector<float> values;
    for (size_t row = first; row < std::min(rows, first + rows_at_a_time); ++row) {
      if (spec.id_kind == IdKind::kSparse) ids.push_back(SparseId(row));
      if (spec.id_kind == IdKind::kString) texts.push_back(StringId(row));
      const std::vector<float> one = RowValues(row, spec.dim);
      values.insert(values.end(), one.begin(), one.end());
    }
    const std::vector<absl::string_view> strings(texts.begin(), texts.end());
    status = writer.Add({.ids = ids, .strings = strings, .values = values});
  }
  return status.ok() ? writer.EndTable() : status;
}

/// A shard file of such tables, each with so many rows.
inline absl::Status BuildShard(const std::string& path, const std::vector<std::pair<TableSpec, size_t>>& tables,
                               const ShardWriter::Options& options = {}) {
  auto writer = ShardWriter::Create(path, options);
  if (!writer.ok()) return writer.status();
  for (const auto& [spec, rows] : tables) {
    if (absl::Status status = AddTable(**writer, spec, rows); !status.ok()) return status;
  }
  return (*writer)->Commit();
}

inline std::unique_ptr<ShardFile> OpenShard(const std::string& path, const ShardFile::Options& options = {}) {
  auto file = ShardFile::Open(path, options);
  if (!file.ok()) std::fprintf(stderr, "%s\n", file.status().ToString().c_str());
  PORTICO_CHECK(file.ok());
  return *std::move(file);
}

}  // namespace portico
