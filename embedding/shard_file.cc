#include "embedding/shard_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "embedding/crc32c.h"

namespace portico {
namespace {

/// Not through the mapping: what is read at opening is an error where it is gone, not a fault.
absl::Status ReadAt(int fd, const std::string& path, uint64_t offset, char* to, size_t bytes) {
  while (bytes > 0) {
    const ssize_t got = pread(fd, to, bytes, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus(errno, "read", path);
    if (got == 0) return absl::DataLossError(absl::StrCat("shard file '", path, "': ends at ", offset));
    to += got;
    offset += static_cast<uint64_t>(got);
    bytes -= static_cast<size_t>(got);
  }
  return absl::OkStatus();
}

/// The first of the two that is whole.
absl::StatusOr<Superblock> ReadSuperblock(int fd, const std::string& path) {
  absl::Status first;
  for (const uint64_t offset : {uint64_t{0}, ShardLayout::kSuperblockBytes}) {
    std::string bytes(ShardLayout::kSuperblockBytes, '\0');
    RETURN_IF_ERROR(ReadAt(fd, path, offset, bytes.data(), bytes.size()));
    absl::StatusOr<Superblock> block = Superblock::Decode(bytes);
    if (block.ok()) return block;
    if (first.ok()) first = block.status();
  }
  return WithContext(absl::StrCat("shard file '", path, "'"), first);
}

uint64_t WholePages(uint64_t bytes) { return (bytes + 4095) / 4096 * 4096; }

/// An address from which `bytes` can be mapped, whole huge pages where sections begin.
absl::StatusOr<char*> Reserve(const std::string& path, uint64_t bytes) {
  constexpr uint64_t kHuge = ShardLayout::kSectionAlignment;
  const uint64_t reserved = bytes + 2 * kHuge;
  void* const all = mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (all == MAP_FAILED) return ErrnoStatus(errno, "take addresses for", path);
  char* const at = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(all) + kHuge - 1) / kHuge * kHuge);
  // Give back what stands in front of it and behind it: one range of `bytes` is left.
  const auto front = static_cast<size_t>(at - static_cast<char*>(all));
  if (front > 0) munmap(all, front);
  const uint64_t pages = WholePages(bytes);
  munmap(at + pages, reserved - front - pages);
  return at;
}

absl::StatusOr<char*> Map(int fd, const std::string& path, uint64_t bytes, bool sequential) {
  ASSIGN_OR_RETURN(char* const at, Reserve(path, bytes));
  if (mmap(at, bytes, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
    const int error = errno;
    munmap(at, WholePages(bytes));
    return ErrnoStatus(error, "map", path);
  }
  // Rows are read from anywhere: what stands beside them is no better guess than anything else.
  madvise(at, bytes, sequential ? MADV_SEQUENTIAL : MADV_RANDOM);
  return at;
}

absl::StatusOr<char*> Load(int fd, const std::string& path, uint64_t bytes) {
  ASSIGN_OR_RETURN(char* const at, Reserve(path, bytes));
  const uint64_t pages = WholePages(bytes);
  absl::Cleanup unmap = [at, pages] { munmap(at, pages); };
  if (mprotect(at, pages, PROT_READ | PROT_WRITE) != 0) return ErrnoStatus(errno, "take memory for", path);
  madvise(at, pages, MADV_HUGEPAGE);
  RETURN_IF_ERROR(ReadAt(fd, path, 0, at, bytes));
  std::move(unmap).Cancel();
  return at;
}

}  // namespace

absl::StatusOr<ShardLayout> ReadShardLayout(int fd, const std::string& path) {
  struct stat info {};
  if (fstat(fd, &info) != 0) return ErrnoStatus(errno, "stat", path);
  const auto wrong = [&path](const auto&... parts) {
    return absl::DataLossError(absl::StrCat("shard file '", path, "': ", parts...));
  };
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError(absl::StrCat("shard file '", path, "': no plain file"));
  const auto bytes = static_cast<uint64_t>(info.st_size);
  if (bytes < 2 * ShardLayout::kSuperblockBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("shard file '", path, "': got ", bytes, " bytes, want what 'portico table build' writes"));
  }
  ASSIGN_OR_RETURN(const Superblock block, ReadSuperblock(fd, path));
  if (block.file_bytes != bytes) {
    return wrong("got ", bytes, " bytes, want ", block.file_bytes,
                 bytes < block.file_bytes ? " (it was cut short)" : "", "; restore the file");
  }
  const ShardLayout::Section& at = block.directory;
  if (at.bytes > ShardLayout::kMaxDirectoryBytes || at.offset > bytes || at.bytes > bytes - at.offset) {
    return wrong("got a directory of ", at.bytes, " bytes at ", at.offset, ", want it inside the file");
  }
  std::string directory(at.bytes, '\0');
  RETURN_IF_ERROR(ReadAt(fd, path, at.offset, directory.data(), directory.size()));
  const uint32_t crc = Crc32c(directory);
  if (crc != block.directory_crc) {
    return wrong("directory (bytes ", at.offset, " to ", at.offset + at.bytes, "): got CRC-32C ",
                 absl::Hex(crc, absl::kZeroPad8), ", want ", absl::Hex(block.directory_crc, absl::kZeroPad8),
                 "; restore the file");
  }
  absl::StatusOr<ShardLayout> layout = DecodeDirectory(directory, bytes);
  if (!layout.ok()) return WithContext(absl::StrCat("shard file '", path, "'"), layout.status());
  // Whichever of the two superblocks is whole.
  layout->content = Sha256(block.Encode() + directory);
  return layout;
}

absl::StatusOr<std::unique_ptr<ShardFile>> ShardFile::Open(const std::string& path, const Options& options) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "open shard file", path);
  absl::Cleanup close_fd = [fd] { close(fd); };
  ASSIGN_OR_RETURN(ShardLayout layout, ReadShardLayout(fd, path));
  const uint64_t bytes = layout.file_bytes;
  ASSIGN_OR_RETURN(char* const begin,
                   options.in_memory ? Load(fd, path, bytes) : Map(fd, path, bytes, options.sequential));
  if (!options.in_memory) std::move(close_fd).Cancel();
  return std::unique_ptr<ShardFile>(
      new ShardFile(path, std::move(layout), options.in_memory ? -1 : fd, begin, options));
}

ShardFile::ShardFile(std::string path, ShardLayout layout, int fd, char* begin, const Options& options)
    : path_(std::move(path)),
      layout_(std::move(layout)),
      fd_(fd),
      begin_(begin),
      verifier_(std::make_unique<BlockVerifier>(path_, fd, begin, layout_)),
      touches_(fd < 0 ? nullptr : std::make_unique<TouchCounts>(begin, layout_.file_bytes)) {
  for (const ShardLayout::Table& table : layout_.tables) {
    TableMemory memory;
    memory.rows = begin + table.rows.offset;
    memory.row_count = table.row_count;
    memory.stride = table.stride;
    memory.index = BucketIndex(reinterpret_cast<const IndexBucket*>(begin + table.index.offset),
                               table.index.bytes / sizeof(IndexBucket));
    memory.touches = touches_.get();
    memory.strings = {begin + table.strings.offset, table.strings.bytes};
    tables_.push_back(std::make_unique<EmbeddingTable>(table.spec, memory, verifier_.get(), *options.kernels));
    by_name_.emplace(tables_.back()->spec().name, tables_.back().get());
  }
}

ShardFile::~ShardFile() {
  by_name_.clear();
  tables_.clear();
  // What comes to lie here afterwards is not its any more.
  verifier_.reset();
  munmap(begin_, layout_.file_bytes);
  if (fd_ >= 0) close(fd_);
}

const EmbeddingTable* ShardFile::Find(absl::string_view name) const {
  const auto table = by_name_.find(name);
  return table == by_name_.end() ? nullptr : table->second;
}

absl::Status ShardFile::CheckSuperblocks() const {
  for (const uint64_t offset : {uint64_t{0}, ShardLayout::kSuperblockBytes}) {
    const absl::StatusOr<Superblock> block = Superblock::Decode({begin_ + offset, ShardLayout::kSuperblockBytes});
    if (block.ok()) continue;
    return absl::DataLossError(absl::StrCat(
        "shard file '", path_, "': bytes ", offset, " to ", offset + ShardLayout::kSuperblockBytes,
        ", one of two superblocks: ", block.status().message(), "; the other one serves; restore the file"));
  }
  return absl::OkStatus();
}

bool ShardFile::MapAgain(uint64_t offset, uint64_t bytes) const {
  const uint64_t length = std::min(bytes, WholePages(layout_.file_bytes) - offset);
  char* const at = begin_ + offset;
  // Not mmap(): ThreadSanitizer takes that for a write to all of it, but whoever reads there meanwhile sees the same
  // bytes.
  if (syscall(SYS_mmap, at, length, PROT_READ, MAP_SHARED | MAP_FIXED, fd_, offset) == -1) return false;
  madvise(at, length, MADV_RANDOM);
  return true;
}

absl::Status ShardFile::Verify(const std::function<bool(uint64_t done)>& go_on) const {
  absl::Status first;
  uint64_t done = 0;
  for (const ShardLayout::Section& section : layout_.Sections()) {
    for (uint64_t i = 0; i < section.blocks(); ++i) {
      if (!go_on(done++)) return absl::CancelledError(absl::StrCat("shard file '", path_, "': verifying was stopped"));
      const absl::Status status = verifier_->EnsureBlock(section.first_block() + i);
      if (first.ok()) first = status;
    }
  }
  return first;
}

}  // namespace portico
