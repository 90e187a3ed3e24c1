#include "embedding/delta_writer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "embedding/crc32c.h"

namespace portico {
namespace {

constexpr uint64_t kBlock = delta_format::kBlockBytes;

}  // namespace

absl::StatusOr<std::unique_ptr<DeltaWriter>> DeltaWriter::Create(const std::string& path, const DeltaTarget& target) {
  ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
  std::string head(delta_format::kHeadBytes, '\0');
  std::memcpy(head.data(), delta_format::kMagic.data(), delta_format::kMagic.size());
  std::memcpy(head.data() + delta_format::kMagic.size(), &delta_format::kFormat, sizeof(delta_format::kFormat));
  RETURN_IF_ERROR(file.Append(head));
  return std::unique_ptr<DeltaWriter>(new DeltaWriter(std::move(file), target));
}

absl::Status DeltaWriter::Append(absl::string_view bytes) {
  directory_.body_bytes += bytes.size();
  buffer_.append(bytes.data(), bytes.size());
  return buffer_.size() >= 16 * kBlock ? WriteBlocks(buffer_.size() / kBlock * kBlock) : absl::OkStatus();
}

absl::Status DeltaWriter::WriteBlocks(size_t bytes) {
  const absl::string_view whole = absl::string_view(buffer_).substr(0, bytes);
  for (size_t at = 0; at < bytes; at += kBlock) directory_.checksums.push_back(Crc32c(whole.substr(at, kBlock)));
  RETURN_IF_ERROR(file_.Append(whole));
  buffer_.erase(0, bytes);
  return absl::OkStatus();
}

absl::Status DeltaWriter::BeginTable(const TableSpec& spec, uint64_t rows) {
  PORTICO_CHECK(!table_.has_value());
  RETURN_IF_ERROR(spec.Validate());
  table_.emplace();
  table_->spec = spec;
  const bool dense = spec.id_kind == IdKind::kDense;
  table_->rows_before = table_->rows_after = dense ? rows : 0;
  table_->rows_offset = directory_.body_bytes;
  row_.assign(UpdatedRow::Stride(spec), '\0');
  strings_.clear();
  appended_ = 0;
  numbers_.clear();
  texts_.clear();
  return absl::OkStatus();
}

absl::Status DeltaWriter::Add(const Id& id, int64_t until) {
  PORTICO_CHECK(table_.has_value());
  const TableSpec& spec = table_->spec;
  const auto wrong = [&spec](const auto&... parts) {
    return absl::InvalidArgumentError(absl::StrCat("table '", spec.name, "': ", parts...));
  };
  const bool strings = spec.id_kind == IdKind::kString;
  const int64_t shown = id.shown.value_or(id.number);
  if (spec.id_kind == IdKind::kDense) {
    if (until == UpdatedRow::kDeleted) return wrong("got id ", shown, " to delete, want none of dense ids");
    if (until != UpdatedRow::kForever) return wrong("got id ", shown, " that expires, want none of dense ids");
    if (id.number < 0 || static_cast<uint64_t>(id.number) >= kMaxTableRows)
      return wrong("got id ", shown, ", want 0 to ", kMaxTableRows - 1);
    if (static_cast<uint64_t>(id.number) >= table_->rows_before) {
      ++appended_;
      table_->rows_after = std::max(table_->rows_after, static_cast<uint64_t>(id.number) + 1);
    }
  }
  if (strings && (id.string.empty() || id.string.size() > kMaxIdBytes))
    return wrong("got an id of ", id.string.size(), " bytes, want 1 to ", kMaxIdBytes);
  if (strings ? !texts_.emplace(id.string).second : !numbers_.insert(id.number).second) {
    return absl::AlreadyExistsError(absl::StrCat("table '", spec.name, "': got id '",
                                                 strings ? std::string(id.string) : absl::StrCat(shown),
                                                 "' twice, want each id once in an update"));
  }
  uint64_t words[3] = {static_cast<uint64_t>(until), static_cast<uint64_t>(id.number), 0};
  if (strings) {
    words[1] = HashId(id.string, spec.seed);
    words[2] = StringPlace(strings_.size(), id.string.size());
    strings_.append(id.string.data(), id.string.size());
  }
  std::memcpy(row_.data(), words, UpdatedRow::HeadBytes(spec.id_kind));
  ++table_->rows;
  ++rows_;
  return Append(row_);
}

absl::Status DeltaWriter::Upsert(const Id& id, absl::Span<const float> values) {
  PORTICO_CHECK(table_.has_value() && values.size() == table_->spec.dim);
  const TableSpec& spec = table_->spec;
  const absl::Status encoded =
      EncodeRow(RowKernels::Best(), spec.row_type, values, row_.data() + UpdatedRow::HeadBytes(spec.id_kind));
  if (!encoded.ok()) {
    const std::string name =
        spec.id_kind == IdKind::kString ? std::string(id.string) : absl::StrCat(id.shown.value_or(id.number));
    return WithContext(absl::StrCat("table '", spec.name, "', id '", name, "'"), encoded);
  }
  return Add(id, id.until);
}

absl::Status DeltaWriter::UpsertEncoded(const Id& id, absl::string_view numbers) {
  PORTICO_CHECK(table_.has_value() && numbers.size() == EncodedBytes(table_->spec.row_type, table_->spec.dim));
  std::memcpy(row_.data() + UpdatedRow::HeadBytes(table_->spec.id_kind), numbers.data(), numbers.size());
  return Add(id, id.until);
}

absl::Status DeltaWriter::Delete(const Id& id) {
  PORTICO_CHECK(table_.has_value());
  std::fill(row_.begin(), row_.end(), '\0');
  return Add(id, UpdatedRow::kDeleted);
}

absl::Status DeltaWriter::EndTable() {
  PORTICO_CHECK(table_.has_value());
  if (appended_ != table_->rows_after - table_->rows_before) {
    return absl::InvalidArgumentError(
        absl::StrCat("table '", table_->spec.name, "': got ", appended_, " new rows up to row ", table_->rows_after - 1,
                     ", want all from row ", table_->rows_before, " on: dense ids have no gaps"));
  }
  table_->strings_offset = directory_.body_bytes;
  table_->strings_bytes = strings_.size();
  RETURN_IF_ERROR(Append(strings_));
  // A table of no rows says nothing.
  if (table_->rows > 0) directory_.tables.push_back(*std::move(table_));
  table_.reset();
  return absl::OkStatus();
}

absl::Status DeltaWriter::Commit() {
  PORTICO_CHECK(!table_.has_value());
  RETURN_IF_ERROR(WriteBlocks(buffer_.size()));
  const std::string directory = delta_format::EncodeDirectory(directory_);
  RETURN_IF_ERROR(file_.Append(directory));
  delta_format::Trailer trailer;
  trailer.file_bytes = file_.size() + sizeof(trailer);
  trailer.directory_bytes = directory.size();
  trailer.directory_crc = Crc32c(directory);
  std::memcpy(trailer.magic, delta_format::kMagic.data(), sizeof(trailer.magic));
  trailer.crc = Crc32c({reinterpret_cast<const char*>(&trailer), sizeof(trailer)});
  RETURN_IF_ERROR(file_.Append({reinterpret_cast<const char*>(&trailer), sizeof(trailer)}));
  return file_.Commit();
}

}  // namespace portico
