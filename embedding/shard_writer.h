#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/atomic_file.h"
#include "embedding/index_builder.h"
#include "embedding/row_kernels.h"
#include "embedding/shard_layout.h"

namespace portico {

/// Writes a shard file table by table, row by row, in bounded memory (and 64 MB of checksums for each terabyte). The
/// file appears under its name whole, with Commit(), or not at all. After an error nothing more may be called. For one
/// thread. Whoever is to go on after its process was killed says Options::keep, and Save() now and then.
///
///   ASSIGN_OR_RETURN(auto writer, ShardWriter::Create("users.shard", {}));
///   RETURN_IF_ERROR(writer->BeginTable({.name = "users", .dim = 64, .id_kind = IdKind::kSparse}));
///   for (...) RETURN_IF_ERROR(writer->Add({.ids = ids, .values = values}));
///   RETURN_IF_ERROR(writer->EndTable());
///   RETURN_IF_ERROR(writer->Commit());
class ShardWriter {
 public:
  struct Options {
    uint32_t shard = 0;
    uint32_t shards = 1;
    /// Of ids that wait for their index; beyond, they go to a file without a name beside the shard's.
    size_t memory_bytes = size_t{256} << 20;
    const RowKernels* kernels = &RowKernels::Best();
    /// Not empty: until Commit() what is written lies in files KEEP.rows and KEEP.strings, on the shard file's file
    /// system, and stays there without it.
    std::string keep;
  };
  /// What is on the disk of the open table.
  struct Saved {
    uint64_t rows = 0;
    uint64_t strings_bytes = 0;
    /// CRC-32C of the CRC-32Cs of the blocks of rows, the last of which may be part of one.
    uint32_t checksum = 0;
  };
  /// Rows of a table: values of `dim` numbers each, and the ids as the table has them: none where dense.
  struct Rows {
    absl::Span<const int64_t> ids;
    absl::Span<const absl::string_view> strings;
    absl::Span<const float> values;
    /// In place of values: numbers as the row type has them, EncodedBytes() a row.
    absl::string_view encoded;
  };

  static absl::StatusOr<std::unique_ptr<ShardWriter>> Create(const std::string& path, const Options& options);
  /// Goes on, in the first table, where a writer of the same arguments called Save(): its rows are read again, for the
  /// index, and checked. DATA_LOSS where they are not what it wrote. REQUIRES: Options::keep.
  static absl::StatusOr<std::unique_ptr<ShardWriter>> Continue(const std::string& path, const Options& options,
                                                               TableSpec spec, const Saved& saved);
  ~ShardWriter();

  absl::Status BeginTable(TableSpec spec);
  /// INVALID_ARGUMENT names the row whose values are not finite or do not fit the row type.
  absl::Status Add(const Rows& rows);
  /// All rows so far are on the disk, for Continue(). REQUIRES: Options::keep, and that the first table is open.
  absl::StatusOr<Saved> Save();
  /// ALREADY_EXISTS for an id that came twice.
  absl::Status EndTable();
  /// Puts the file in place. REQUIRES: no table is open.
  absl::Status Commit();

  uint64_t bytes() const { return file_.size() + buffer_.size() - in_file_; }

 private:
  ShardWriter(AtomicFile file, const Options& options);

  absl::Status BeginSection(ShardLayout::Section* section);
  absl::Status Append(absl::string_view bytes);
  absl::Status EndSection(ShardLayout::Section* section);
  /// Writes the first `bytes` of the buffer, whole blocks, and their checksums down.
  absl::Status WriteBlocks(size_t bytes);

  /// The table, without a section of rows.
  absl::Status OpenTable(TableSpec spec);
  absl::Status OpenStrings();
  absl::Status ReadBack(const Saved& saved);
  /// Takes the whole rows in `rows` for the index; how many bytes that were. `strings`: bytes of all ids.
  absl::StatusOr<size_t> TakeHeads(absl::string_view rows, uint64_t strings);
  /// The id that a row's head names, which follows that of the row before.
  absl::StatusOr<absl::string_view> NextString(uint64_t place, uint64_t all);
  uint32_t RowsChecksum() const;

  absl::StatusOr<size_t> CountRows(const Rows& rows) const;
  absl::Status CheckRows(const Rows& rows, size_t count) const;
  absl::Status AddRow(const Rows& rows, size_t i);
  absl::Status AppendString(absl::string_view id);
  absl::Status FlushStrings();
  absl::Status WriteIndex();
  absl::Status WriteStrings();
  /// An error where both rows have the same id.
  absl::Status CheckSameHash(uint32_t row, uint32_t other) const;
  absl::StatusOr<std::string> IdOf(uint32_t row) const;
  absl::Status WriteChecksums();

  AtomicFile file_;
  const Options options_;
  const std::string folder_;
  ShardLayout layout_;
  /// CRC-32C of each block so far.
  std::vector<uint32_t> checksums_;
  /// What has no checksum yet; the first bytes of it, less than a block, may be in the file.
  std::string buffer_;
  size_t in_file_ = 0;
  uint64_t section_bytes_ = 0;

  // Of the open table:
  std::optional<ShardLayout::Table> table_;
  std::unique_ptr<IndexBuilder> index_;
  std::string row_;
  int strings_fd_ = -1;
  /// While they are read back: those from a place on.
  std::string strings_window_;
  uint64_t window_begin_ = 0;
  std::string strings_buffer_;
  uint64_t strings_bytes_ = 0;
};

}  // namespace portico
