#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "cli/table_build.h"
#include "tests/cli/npy_bytes.h"
#include "tests/embedding/shard_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {

/// Inputs of builds: `rows` rows of `dim` numbers in each form that there is. With `checkpoint_bytes` small there are
/// several checkpoints.
class BuildInputs {
 public:
  BuildInputs(const TempFolder& folder, size_t rows, size_t dim) {
    std::vector<float> values;
    std::vector<int64_t> ids;
    std::string lines, csv = "id", kv;
    for (size_t i = 0; i < dim; ++i) absl::StrAppend(&csv, ",v", i);
    csv += "\n";
    for (size_t row = 0; row < rows; ++row) {
      ids.push_back(SparseId(row));
      absl::StrAppend(&lines, StringId(row), "\n");
      absl::StrAppend(&csv, SparseId(row));
      absl::StrAppend(&kv, StringId(row), "\t");
      for (const float value : RowValues(row, dim)) {
        values.push_back(value);
        absl::StrAppend(&csv, ",", value);
        absl::StrAppend(&kv, value, " ");
      }
      csv += row % 5 == 0 ? "\r\n\n" : "\n";
      kv += "\n";
    }
    const std::string shape = absl::StrCat("(", rows, ", ", dim, ")");
    base_.name = "t";
    base_.checkpoint_bytes = 1'000;
    base_.dim = dim;
    dense_ = base_;
    dense_.rows = folder.Write("rows.npy", Npy<float>("<f4", shape, values));
    sparse_ = dense_;
    sparse_.ids = folder.Write("ids.npy", Npy<int64_t>("<i8", absl::StrCat("(", rows, ",)"), ids));
    sparse_.type = "int8";
    string_ = dense_;
    string_.string_ids = folder.Write("ids.txt", lines);
    raw_ = base_;
    raw_.rows = folder.Write("rows.raw", Bytes<float>(values));
    raw_.raw = "float32";
    raw_.ids = folder.Write("ids.raw", Bytes<int64_t>(ids));
    csv_ = base_;
    csv_.rows = folder.Write("rows.csv", csv);
    csv_.text = "csv";
    kv_ = base_;
    kv_.rows = folder.Write("rows.tsv", kv);
    kv_.text = "kv";
    kv_.id_kind = "string";
    kv_.type = "int4";
  }

  std::vector<TableBuild> all() const { return {dense_, sparse_, string_, raw_, csv_, kv_}; }
  const TableBuild& dense() const { return dense_; }
  const TableBuild& sparse() const { return sparse_; }
  const TableBuild& string() const { return string_; }
  const TableBuild& csv() const { return csv_; }

 private:
  TableBuild base_, dense_, sparse_, string_, raw_, csv_, kv_;
};

/// All files at or below a path, by what follows it: their bytes. What hidden folders have is left out.
inline std::map<std::string, std::string> FilesAt(const std::string& path) {
  std::map<std::string, std::string> files;
  if (std::filesystem::is_regular_file(path)) files[""] = *ReadFile(path, uint64_t{1} << 30);
  if (!std::filesystem::is_directory(path)) return files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
    const std::string name = entry.path().string().substr(path.size());
    if (!entry.is_regular_file() || name.find("/.") != std::string::npos) continue;
    files[name] = *ReadFile(entry.path().string(), uint64_t{1} << 30);
  }
  return files;
}

}  // namespace portico
