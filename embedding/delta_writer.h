#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/atomic_file.h"
#include "embedding/delta_file.h"
#include "embedding/row_kernels.h"

namespace portico {

/// Writes a delta file table by table, row by row. Memory: the ids of the open table. The file appears under its name
/// whole, with Commit(), or not at all. After an error nothing more may be called. For one thread.
///
///   ASSIGN_OR_RETURN(auto writer, DeltaWriter::Create(path, target));
///   RETURN_IF_ERROR(writer->BeginTable(spec, rows));
///   RETURN_IF_ERROR(writer->Upsert({.number = 7, .until = UpdatedRow::kForever}, values));
///   RETURN_IF_ERROR(writer->Delete({.number = 9}));
///   RETURN_IF_ERROR(writer->EndTable());
///   RETURN_IF_ERROR(writer->Commit());
class DeltaWriter {
 public:
  struct Id {
    /// Of dense and sparse ids.
    int64_t number = 0;
    /// Of string ids.
    absl::string_view string;
    /// UpdatedRow::kForever, or until when it is there, in seconds since 1970.
    int64_t until = UpdatedRow::kForever;
    /// What messages call it, where that is not `number`.
    std::optional<int64_t> shown;
  };

  static absl::StatusOr<std::unique_ptr<DeltaWriter>> Create(const std::string& path, const DeltaTarget& target);

  /// `rows`: of a dense table, before this delta.
  absl::Status BeginTable(const TableSpec& spec, uint64_t rows);
  /// INVALID_ARGUMENT for values that are not finite or do not fit the row type; ALREADY_EXISTS for an id that came
  /// before.
  absl::Status Upsert(const Id& id, absl::Span<const float> values);
  /// The same with the numbers of a row of that type: EncodedBytes().
  absl::Status UpsertEncoded(const Id& id, absl::string_view numbers);
  /// INVALID_ARGUMENT of dense ids, which have no gaps.
  absl::Status Delete(const Id& id);
  /// INVALID_ARGUMENT where rows were added to a dense table with gaps between.
  absl::Status EndTable();
  /// Puts the file in place. REQUIRES: no table is open.
  absl::Status Commit();

  /// In all tables so far.
  uint64_t rows() const { return rows_; }

 private:
  DeltaWriter(AtomicFile file, const DeltaTarget& target) : file_(std::move(file)) { directory_.target = target; }

  absl::Status Add(const Id& id, int64_t until);
  absl::Status Append(absl::string_view bytes);
  absl::Status WriteBlocks(size_t bytes);

  AtomicFile file_;
  delta_format::Directory directory_;
  std::string buffer_;
  uint64_t rows_ = 0;

  // Of the open table:
  std::optional<delta_format::TablePlace> table_;
  std::string row_;
  std::string strings_;
  uint64_t appended_ = 0;
  absl::flat_hash_set<int64_t> numbers_;
  absl::flat_hash_set<std::string> texts_;
};

}  // namespace portico
