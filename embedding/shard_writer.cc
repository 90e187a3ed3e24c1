#include "embedding/shard_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "embedding/crc32c.h"
#include "embedding/id_hash.h"

namespace portico {
namespace {

constexpr uint64_t kBlock = ShardLayout::kBlockBytes;
/// Written at a time.
constexpr size_t kWriteBytes = 16 * kBlock;

absl::Status ReadTemporary(int fd, const std::string& folder, uint64_t offset, char* to, size_t bytes) {
  while (bytes > 0) {
    const ssize_t got = pread(fd, to, bytes, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus(errno, "read a temporary file in", folder);
    if (got == 0) return absl::DataLossError(absl::StrCat("temporary file in '", folder, "': ends at ", offset));
    to += got;
    offset += static_cast<uint64_t>(got);
    bytes -= static_cast<size_t>(got);
  }
  return absl::OkStatus();
}

std::string RowsFile(const ShardWriter::Options& options) { return absl::StrCat(options.keep, ".rows"); }
std::string StringsFile(const ShardWriter::Options& options) { return absl::StrCat(options.keep, ".strings"); }

}  // namespace

absl::StatusOr<std::unique_ptr<ShardWriter>> ShardWriter::Create(const std::string& path, const Options& options) {
  if (options.shard >= options.shards) {
    return absl::InvalidArgumentError(
        absl::StrCat("shard file '", path, "': got shard ", options.shard, " of ", options.shards));
  }
  ASSIGN_OR_RETURN(AtomicFile file,
                   options.keep.empty() ? AtomicFile::Create(path) : AtomicFile::Continue(path, RowsFile(options), 0));
  // The superblocks come last; zeros until then.
  RETURN_IF_ERROR(file.Append(std::string(2 * ShardLayout::kSuperblockBytes, '\0')));
  RETURN_IF_ERROR(file.Skip(ShardLayout::kSectionAlignment).status());
  return std::unique_ptr<ShardWriter>(new ShardWriter(std::move(file), options));
}

ShardWriter::ShardWriter(AtomicFile file, const Options& options)
    : file_(std::move(file)), options_(options), folder_([this] {
        const std::string parent = std::filesystem::path(file_.path()).parent_path().string();
        return parent.empty() ? std::string(".") : parent;
      }()) {
  layout_.shard = options.shard;
  layout_.shards = options.shards;
}

ShardWriter::~ShardWriter() {
  if (strings_fd_ >= 0) close(strings_fd_);
}

absl::Status ShardWriter::BeginSection(ShardLayout::Section* section) {
  RETURN_IF_ERROR(file_.Skip(ShardLayout::kSectionAlignment).status());
  section->offset = file_.size();
  checksums_.resize(section->first_block());
  section_bytes_ = 0;
  return absl::OkStatus();
}

absl::Status ShardWriter::Append(absl::string_view bytes) {
  section_bytes_ += bytes.size();
  buffer_.append(bytes.data(), bytes.size());
  return buffer_.size() >= kWriteBytes ? WriteBlocks(buffer_.size() / kBlock * kBlock) : absl::OkStatus();
}

absl::Status ShardWriter::WriteBlocks(size_t bytes) {
  const absl::string_view whole = absl::string_view(buffer_).substr(0, bytes);
  for (size_t at = 0; at < bytes; at += kBlock) checksums_.push_back(Crc32c(whole.substr(at, kBlock)));
  const size_t had = std::min(in_file_, bytes);
  RETURN_IF_ERROR(file_.Append(whole.substr(had)));
  in_file_ -= had;
  buffer_.erase(0, bytes);
  return absl::OkStatus();
}

absl::Status ShardWriter::EndSection(ShardLayout::Section* section) {
  section->bytes = section_bytes_;
  buffer_.resize((buffer_.size() + kBlock - 1) / kBlock * kBlock);
  return WriteBlocks(buffer_.size());
}

absl::Status ShardWriter::BeginTable(TableSpec spec) {
  RETURN_IF_ERROR(OpenTable(std::move(spec)));
  return BeginSection(&table_->rows);
}

absl::Status ShardWriter::OpenTable(TableSpec spec) {
  PORTICO_CHECK(!table_.has_value());
  RETURN_IF_ERROR(spec.Validate());
  for (const ShardLayout::Table& other : layout_.tables) {
    if (other.spec.name == spec.name)
      return absl::AlreadyExistsError(absl::StrCat("table '", spec.name, "': got it twice"));
  }
  table_.emplace();
  table_->stride = RowStride(spec);
  table_->spec = std::move(spec);
  row_.assign(table_->stride, '\0');
  strings_bytes_ = 0;
  if (table_->spec.id_kind != IdKind::kDense) {
    index_ =
        std::make_unique<IndexBuilder>(IndexBuilder::Options{.folder = folder_, .memory_bytes = options_.memory_bytes});
  }
  return table_->spec.id_kind == IdKind::kString ? OpenStrings() : absl::OkStatus();
}

absl::Status ShardWriter::OpenStrings() {
  if (options_.keep.empty()) {
    strings_fd_ = open(folder_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return strings_fd_ < 0 ? ErrnoStatus(errno, "create a temporary file in", folder_) : absl::OkStatus();
  }
  const std::string path = StringsFile(options_);
  strings_fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  return strings_fd_ < 0 ? ErrnoStatus(errno, "open", path) : absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<ShardWriter>> ShardWriter::Continue(const std::string& path, const Options& options,
                                                                   TableSpec spec, const Saved& saved) {
  PORTICO_CHECK(!options.keep.empty());
  RETURN_IF_ERROR(spec.Validate());
  if (options.shard >= options.shards || saved.rows > kMaxTableRows) {
    return absl::InvalidArgumentError(absl::StrCat("shard file '", path, "': got shard ", options.shard, " of ",
                                                   options.shards, ", ", saved.rows, " rows"));
  }
  // The first table's rows begin where sections do.
  constexpr uint64_t kBegin = ShardLayout::kSectionAlignment;
  ASSIGN_OR_RETURN(AtomicFile file,
                   AtomicFile::Continue(path, RowsFile(options), kBegin + saved.rows * RowStride(spec)));
  auto writer = std::unique_ptr<ShardWriter>(new ShardWriter(std::move(file), options));
  RETURN_IF_ERROR(writer->OpenTable(std::move(spec)));
  writer->table_->rows.offset = kBegin;
  writer->checksums_.resize(writer->table_->rows.first_block());
  const absl::Status read = writer->ReadBack(saved);
  if (!read.ok()) return WithContext(absl::StrCat("file '", RowsFile(options), "'"), read);
  return writer;
}

uint32_t ShardWriter::RowsChecksum() const {
  const size_t first = table_->rows.first_block();
  std::vector<uint32_t> sums(checksums_.begin() + static_cast<ptrdiff_t>(first), checksums_.end());
  sums.push_back(Crc32c(buffer_));
  return Crc32c({reinterpret_cast<const char*>(sums.data()), sums.size() * sizeof(uint32_t)});
}

absl::StatusOr<ShardWriter::Saved> ShardWriter::Save() {
  PORTICO_CHECK(!options_.keep.empty() && table_.has_value() && layout_.tables.empty());
  RETURN_IF_ERROR(WriteBlocks(buffer_.size() / kBlock * kBlock));
  // Of a block that is not full yet the rest comes behind it: what a checkpoint counts is never cut off.
  RETURN_IF_ERROR(file_.Append(absl::string_view(buffer_).substr(in_file_)));
  in_file_ = buffer_.size();
  // In front of the first row there is a hole, which counts.
  if (table_->row_count == 0) RETURN_IF_ERROR(file_.Cut(file_.size()));
  if (strings_fd_ >= 0) {
    RETURN_IF_ERROR(FlushStrings());
    if (fsync(strings_fd_) != 0) return ErrnoStatus(errno, "fsync", StringsFile(options_));
  }
  RETURN_IF_ERROR(file_.Sync());
  return Saved{table_->row_count, strings_bytes_, RowsChecksum()};
}

absl::Status ShardWriter::ReadBack(const Saved& saved) {
  const uint64_t all = file_.size() - table_->rows.offset;
  std::string rows;
  for (uint64_t at = 0; at < all;) {
    const size_t left = rows.size();
    const auto bytes = static_cast<size_t>(std::min<uint64_t>(kWriteBytes, all - at));
    rows.resize(left + bytes);
    RETURN_IF_ERROR(file_.ReadAt(table_->rows.offset + at, rows.data() + left, bytes));
    at += bytes;
    const absl::string_view blocks = absl::string_view(rows).substr(left);
    for (size_t i = 0; i < bytes; i += kBlock) {
      if (bytes - i >= kBlock) {
        checksums_.push_back(Crc32c(blocks.substr(i, kBlock)));
      } else {
        buffer_ = std::string(blocks.substr(i));
      }
    }
    ASSIGN_OR_RETURN(const size_t taken, TakeHeads(rows, saved.strings_bytes));
    rows.erase(0, taken);
  }
  section_bytes_ = all;
  if (const uint32_t checksum = RowsChecksum();
      checksum != saved.checksum || table_->row_count != saved.rows || strings_bytes_ != saved.strings_bytes) {
    return absl::DataLossError(absl::StrCat("got ", table_->row_count, " rows of CRC-32C ",
                                            absl::Hex(checksum, absl::kZeroPad8), " and ", strings_bytes_,
                                            " bytes of ids, want ", saved.rows, " of ",
                                            absl::Hex(saved.checksum, absl::kZeroPad8), " and ", saved.strings_bytes));
  }
  strings_window_ = std::string();
  if (strings_fd_ >= 0 && (ftruncate(strings_fd_, static_cast<off_t>(strings_bytes_)) != 0 ||
                           lseek(strings_fd_, static_cast<off_t>(strings_bytes_), SEEK_SET) < 0))
    return ErrnoStatus(errno, "cut", StringsFile(options_));
  in_file_ = buffer_.size();
  return absl::OkStatus();
}

absl::StatusOr<size_t> ShardWriter::TakeHeads(absl::string_view rows, uint64_t strings) {
  const TableSpec& spec = table_->spec;
  const size_t whole = rows.size() / table_->stride;
  for (size_t i = 0; i < whole; ++i) {
    uint64_t head[2] = {};
    std::memcpy(head, rows.data() + i * table_->stride, RowHeadBytes(spec.id_kind));
    if (spec.id_kind == IdKind::kString) {
      ASSIGN_OR_RETURN(const absl::string_view id, NextString(head[1], strings));
      if (HashId(id, spec.seed) != head[0])
        return absl::DataLossError(absl::StrCat("got another id than was written for row ", table_->row_count));
    }
    if (index_ != nullptr) {
      const uint64_t hash = spec.id_kind == IdKind::kSparse ? HashId(head[0], spec.seed) : head[0];
      RETURN_IF_ERROR(index_->Add(hash, static_cast<uint32_t>(table_->row_count)));
    }
    ++table_->row_count;
  }
  return whole * table_->stride;
}

absl::StatusOr<absl::string_view> ShardWriter::NextString(uint64_t place, uint64_t all) {
  const uint64_t offset = place >> 16, length = place & 0xffff;
  if (offset != strings_bytes_ || length < 1 || length > kMaxIdBytes || length > all - std::min(all, offset)) {
    return absl::DataLossError(absl::StrCat("got an id of ", length, " bytes at ", offset, ", want 1 to ", kMaxIdBytes,
                                            " at ", strings_bytes_, " of ", all));
  }
  strings_bytes_ += length;
  if (strings_bytes_ > window_begin_ + strings_window_.size()) {
    window_begin_ = offset;
    strings_window_.resize(std::min<uint64_t>(kWriteBytes, all - offset));
    RETURN_IF_ERROR(ReadTemporary(strings_fd_, folder_, offset, strings_window_.data(), strings_window_.size()));
  }
  return absl::string_view(strings_window_).substr(offset - window_begin_, length);
}

absl::StatusOr<size_t> ShardWriter::CountRows(const Rows& rows) const {
  const TableSpec& spec = table_->spec;
  const size_t row_bytes = EncodedBytes(spec.row_type, spec.dim);
  const bool encoded = !rows.encoded.empty();
  const size_t got = encoded ? rows.encoded.size() : rows.values.size(), want = encoded ? row_bytes : spec.dim;
  if (got % want == 0 && (!encoded || rows.values.empty())) return got / want;
  return absl::InvalidArgumentError(absl::StrCat("table '", spec.name, "': got ", got, encoded ? " bytes" : " values",
                                                 ", want a multiple of ", want));
}

absl::Status ShardWriter::CheckRows(const Rows& rows, size_t count) const {
  const TableSpec& spec = table_->spec;
  const auto wrong = [&spec](const auto&... parts) {
    return absl::InvalidArgumentError(absl::StrCat("table '", spec.name, "': ", parts...));
  };
  const size_t ids = spec.id_kind == IdKind::kSparse ? count : 0;
  const size_t strings = spec.id_kind == IdKind::kString ? count : 0;
  if (rows.ids.size() != ids || rows.strings.size() != strings) {
    return wrong("got ", rows.ids.size(), " numbers and ", rows.strings.size(), " strings as ids of ", count,
                 " rows, want ", ids, " and ", strings);
  }
  if (count > kMaxTableRows - table_->row_count)
    return wrong("got more than ", kMaxTableRows, " rows, want them in more shards");
  for (const absl::string_view id : rows.strings) {
    if (id.empty() || id.size() > kMaxIdBytes)
      return wrong("got an id of ", id.size(), " bytes, want 1 to ", kMaxIdBytes);
  }
  return absl::OkStatus();
}

absl::Status ShardWriter::Add(const Rows& rows) {
  PORTICO_CHECK(table_.has_value());
  ASSIGN_OR_RETURN(const size_t count, CountRows(rows));
  RETURN_IF_ERROR(CheckRows(rows, count));
  for (size_t i = 0; i < count; ++i) RETURN_IF_ERROR(AddRow(rows, i));
  return absl::OkStatus();
}

absl::Status ShardWriter::AddRow(const Rows& rows, size_t i) {
  const TableSpec& spec = table_->spec;
  const size_t head = RowHeadBytes(spec.id_kind);
  const auto row = static_cast<uint32_t>(table_->row_count);
  if (spec.id_kind == IdKind::kSparse) {
    const auto id = static_cast<uint64_t>(rows.ids[i]);
    std::memcpy(row_.data(), &id, sizeof(id));
    RETURN_IF_ERROR(index_->Add(HashId(id, spec.seed), row));
  } else if (spec.id_kind == IdKind::kString) {
    const absl::string_view id = rows.strings[i];
    const uint64_t words[2] = {HashId(id, spec.seed), StringPlace(strings_bytes_, id.size())};
    std::memcpy(row_.data(), words, sizeof(words));
    RETURN_IF_ERROR(AppendString(id));
    RETURN_IF_ERROR(index_->Add(words[0], row));
  }
  if (rows.encoded.empty()) {
    const absl::Status encoded =
        EncodeRow(*options_.kernels, spec.row_type, rows.values.subspan(i * spec.dim, spec.dim), row_.data() + head);
    if (!encoded.ok()) return WithContext(absl::StrCat("table '", spec.name, "', row ", row), encoded);
  } else {
    const size_t bytes = EncodedBytes(spec.row_type, spec.dim);
    std::memcpy(row_.data() + head, rows.encoded.data() + i * bytes, bytes);
  }
  RETURN_IF_ERROR(Append(row_));
  ++table_->row_count;
  return absl::OkStatus();
}

absl::Status ShardWriter::AppendString(absl::string_view id) {
  if (id.size() > kMaxStringBytes - strings_bytes_) {
    return absl::InvalidArgumentError(absl::StrCat("table '", table_->spec.name, "': got more than ", kMaxStringBytes,
                                                   " bytes of ids, want them in more shards"));
  }
  strings_bytes_ += id.size();
  strings_buffer_.append(id.data(), id.size());
  return strings_buffer_.size() >= kWriteBytes ? FlushStrings() : absl::OkStatus();
}

absl::Status ShardWriter::FlushStrings() {
  absl::string_view left = strings_buffer_;
  while (!left.empty()) {
    const ssize_t wrote = write(strings_fd_, left.data(), left.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return ErrnoStatus(errno, "write a temporary file in", folder_);
    left.remove_prefix(static_cast<size_t>(wrote));
  }
  strings_buffer_.clear();
  return absl::OkStatus();
}

absl::Status ShardWriter::EndTable() {
  PORTICO_CHECK(table_.has_value());
  RETURN_IF_ERROR(EndSection(&table_->rows));
  if (table_->spec.id_kind == IdKind::kString) {
    RETURN_IF_ERROR(FlushStrings());
    RETURN_IF_ERROR(WriteStrings());
  }
  if (index_ != nullptr) RETURN_IF_ERROR(WriteIndex());
  if (strings_fd_ >= 0) close(std::exchange(strings_fd_, -1));
  layout_.tables.push_back(*std::exchange(table_, std::nullopt));
  return absl::OkStatus();
}

absl::Status ShardWriter::WriteIndex() {
  RETURN_IF_ERROR(BeginSection(&table_->index));
  const auto sink = [this](absl::Span<const IndexBucket> buckets) {
    return Append({reinterpret_cast<const char*>(buckets.data()), buckets.size() * sizeof(IndexBucket)});
  };
  RETURN_IF_ERROR(index_->Finish(sink, [this](uint32_t row, uint32_t other) { return CheckSameHash(row, other); }));
  index_ = nullptr;
  return EndSection(&table_->index);
}

absl::Status ShardWriter::WriteStrings() {
  RETURN_IF_ERROR(BeginSection(&table_->strings));
  std::string piece;
  for (uint64_t at = 0; at < strings_bytes_; at += piece.size()) {
    piece.resize(std::min<uint64_t>(kWriteBytes, strings_bytes_ - at));
    RETURN_IF_ERROR(ReadTemporary(strings_fd_, folder_, at, piece.data(), piece.size()));
    RETURN_IF_ERROR(Append(piece));
  }
  return EndSection(&table_->strings);
}

absl::StatusOr<std::string> ShardWriter::IdOf(uint32_t row) const {
  uint64_t head[2] = {};
  RETURN_IF_ERROR(file_.ReadAt(table_->rows.offset + row * table_->stride, reinterpret_cast<char*>(head),
                               RowHeadBytes(table_->spec.id_kind)));
  if (table_->spec.id_kind == IdKind::kSparse) return absl::StrCat(static_cast<int64_t>(head[0]));
  std::string id(head[1] & 0xffff, '\0');
  RETURN_IF_ERROR(ReadTemporary(strings_fd_, folder_, head[1] >> 16, id.data(), id.size()));
  return id;
}

absl::Status ShardWriter::CheckSameHash(uint32_t row, uint32_t other) const {
  ASSIGN_OR_RETURN(const std::string id, IdOf(row));
  ASSIGN_OR_RETURN(const std::string other_id, IdOf(other));
  if (id != other_id) return absl::OkStatus();
  return absl::AlreadyExistsError(absl::StrCat("table '", table_->spec.name, "': got id '", id, "' twice, in rows ",
                                               row, " and ", other, ", want each id once"));
}

absl::Status ShardWriter::WriteChecksums() {
  RETURN_IF_ERROR(BeginSection(&layout_.checksums));
  // One for each block in front of them, holes included.
  std::string bytes(checksums_.size() * sizeof(uint32_t), '\0');
  std::memcpy(bytes.data(), checksums_.data(), bytes.size());
  bytes.resize((bytes.size() + kBlock - 1) / kBlock * kBlock);
  checksums_.clear();
  for (size_t at = 0; at < bytes.size(); at += kBlock) {
    layout_.roots.push_back(Crc32c(absl::string_view(bytes).substr(at, kBlock)));
  }
  layout_.checksums.bytes = bytes.size();
  return file_.Append(bytes);
}

absl::Status ShardWriter::Commit() {
  PORTICO_CHECK(!table_.has_value());
  RETURN_IF_ERROR(WriteChecksums());
  const std::string directory = EncodeDirectory(layout_);
  Superblock block;
  block.directory = {file_.size(), directory.size()};
  block.directory_crc = Crc32c(directory);
  RETURN_IF_ERROR(file_.Append(directory));
  block.file_bytes = file_.size();
  const std::string bytes = block.Encode();
  RETURN_IF_ERROR(file_.WriteAt(0, bytes + bytes));
  return file_.Commit();
}

}  // namespace portico
