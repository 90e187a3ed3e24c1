#include "embedding/block_verifier.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "embedding/crc32c.h"

namespace portico {

BlockVerifier::BlockVerifier(std::string path, int fd, const char* begin, const ShardLayout& layout)
    : path_(std::move(path)),
      fd_(fd),
      begin_(begin),
      layout_(layout),
      blocks_(layout.file_bytes / ShardLayout::kBlockBytes + 1),
      verified_(new Word[blocks_ / 64 + 1]()),
      broken_(new Word[blocks_ / 64 + 1]()),
      guard_(begin, layout.file_bytes, OnFault, this) {
  uint64_t blocks = 0;
  for (const ShardLayout::Section& section : layout.Sections()) blocks += section.blocks();
  unverified_ = blocks;
}

void BlockVerifier::OnFault(void* self, const char* page) {
  auto* const verifier = static_cast<BlockVerifier*>(self);
  verifier->SetBroken(static_cast<uint64_t>(page - verifier->begin_) / ShardLayout::kBlockBytes);
  // Where the file shrank, the page it ends in reads as zeros without a fault; so this block goes, and all behind it.
  struct stat info {};
  if (fstat(verifier->fd_, &info) == 0) {
    for (uint64_t block = static_cast<uint64_t>(info.st_size) / ShardLayout::kBlockBytes;
         block * ShardLayout::kBlockBytes < verifier->layout_.file_bytes; ++block) {
      verifier->SetBroken(block);
    }
  }
  verifier->faults_.fetch_add(1);
}

void BlockVerifier::SetVerified(uint64_t block) {
  const uint64_t bit = uint64_t{1} << block % 64;
  if ((verified_[block / 64].fetch_or(bit) & bit) == 0) unverified_.fetch_sub(1);
  // It may have broken since its bytes were looked at.
  if (IsBroken(block) && (verified_[block / 64].fetch_and(~bit) & bit) != 0) unverified_.fetch_add(1);
}

void BlockVerifier::SetBroken(uint64_t block) {
  const uint64_t bit = uint64_t{1} << block % 64;
  if ((broken_[block / 64].fetch_or(bit) & bit) == 0) broken_count_.fetch_add(1);
  if ((verified_[block / 64].fetch_and(~bit) & bit) != 0) unverified_.fetch_add(1);
}

absl::Status BlockVerifier::Ensure(const char* at, size_t bytes) {
  if (bytes == 0) return absl::OkStatus();
  const auto offset = static_cast<uint64_t>(at - begin_);
  const uint64_t last = (offset + bytes - 1) / ShardLayout::kBlockBytes;
  for (uint64_t block = offset / ShardLayout::kBlockBytes; block <= last; ++block) {
    if (!IsVerified(block)) RETURN_IF_ERROR(Verify(block));
  }
  return absl::OkStatus();
}

BlockVerifier::Counts BlockVerifier::CountsOf(const ShardLayout::Section& section) const {
  Counts counts;
  // What is broken stays unverified.
  if (AllVerified()) return counts;
  for (uint64_t block = section.first_block(); block < section.first_block() + section.blocks(); ++block) {
    if (IsBroken(block)) {
      ++counts.broken;
    } else if (!IsVerified(block)) {
      ++counts.unverified;
    }
  }
  return counts;
}

absl::Status BlockVerifier::EnsureBlock(uint64_t block) { return IsVerified(block) ? absl::OkStatus() : Verify(block); }

uint32_t BlockVerifier::Want(uint64_t block) const {
  if (layout_.checksums.Holds(block)) return layout_.roots[block - layout_.checksums.first_block()];
  uint32_t want;
  std::memcpy(&want, begin_ + layout_.checksums.offset + block * sizeof(want), sizeof(want));
  return want;
}

absl::Status BlockVerifier::Verify(uint64_t block) {
  if (IsBroken(block)) return Broken(block, "its checksum does not fit, or its bytes are gone");
  const ShardLayout::Section& sums = layout_.checksums;
  if (!sums.Holds(block)) {
    RETURN_IF_ERROR(EnsureBlock(sums.first_block() + block / ShardLayout::kChecksumsPerBlock));
  }
  const char* const at = begin_ + block * ShardLayout::kBlockBytes;
  // One read of the disk instead of one a page.
  madvise(const_cast<char*>(at), ShardLayout::kBlockBytes, MADV_WILLNEED);
  const uint32_t got = Crc32c({at, ShardLayout::kBlockBytes});
  const uint32_t want = Want(block);
  if (IsBroken(block)) return Broken(block, "its bytes are gone: the file shrank, or the disk fails");
  if (got != want) {
    SetBroken(block);
    return Broken(block, absl::StrCat("got CRC-32C ", absl::Hex(got, absl::kZeroPad8), ", want ",
                                      absl::Hex(want, absl::kZeroPad8)));
  }
  SetVerified(block);
  return absl::OkStatus();
}

absl::Status BlockVerifier::Broken(uint64_t block, absl::string_view why) const {
  const uint64_t offset = block * ShardLayout::kBlockBytes;
  return absl::DataLossError(absl::StrCat("shard file '", path_, "': block ", block, " (", layout_.NameOf(block),
                                          ", bytes ", offset, " to ", offset + ShardLayout::kBlockBytes, "): ", why,
                                          "; restore the file, and restart nodes that serve it"));
}

}  // namespace portico
