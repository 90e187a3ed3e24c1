#include "embedding/index_builder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace portico {

IndexBuilder::~IndexBuilder() {
  if (fd_ >= 0) close(fd_);
}

absl::Status IndexBuilder::Add(uint64_t hash, uint32_t row) {
  parts_[hash >> (64 - kPartBits)].pairs.push_back({hash, row});
  ++count_;
  ++waiting_;
  return waiting_ * sizeof(Pair) > options_.memory_bytes ? Spill() : absl::OkStatus();
}

absl::Status IndexBuilder::Spill() {
  if (fd_ < 0) {
    fd_ = open(options_.folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd_ < 0) return ErrnoStatus(errno, "create a temporary file in", options_.folder);
  }
  for (Part& part : parts_) {
    if (part.pairs.empty()) continue;
    const char* at = reinterpret_cast<const char*>(part.pairs.data());
    size_t left = part.pairs.size() * sizeof(Pair);
    part.pieces.push_back({spilled_bytes_, part.pairs.size()});
    while (left > 0) {
      const ssize_t wrote = pwrite(fd_, at, left, static_cast<off_t>(spilled_bytes_));
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote < 0) return ErrnoStatus(errno, "write a temporary file in", options_.folder);
      at += wrote;
      left -= static_cast<size_t>(wrote);
      spilled_bytes_ += static_cast<uint64_t>(wrote);
    }
    part.pairs.clear();
  }
  waiting_ = 0;
  return absl::OkStatus();
}

absl::Status IndexBuilder::ReadBack(Part& part) {
  for (const Piece& piece : part.pieces) {
    const size_t had = part.pairs.size();
    part.pairs.resize(had + piece.pairs);
    char* at = reinterpret_cast<char*>(part.pairs.data() + had);
    size_t left = piece.pairs * sizeof(Pair);
    for (uint64_t offset = piece.offset; left > 0;) {
      const ssize_t got = pread(fd_, at, left, static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return ErrnoStatus(errno, "read a temporary file in", options_.folder);
      if (got == 0) return absl::DataLossError(absl::StrCat("temporary file in '", options_.folder, "': ends early"));
      at += got;
      left -= static_cast<size_t>(got);
      offset += static_cast<uint64_t>(got);
    }
  }
  return absl::OkStatus();
}

absl::Status IndexBuilder::Finish(const Sink& sink, const SameHash& same_hash) {
  const uint64_t count = BucketIndex::CountFor(count_);
  std::vector<IndexBucket> open;
  uint64_t first = 0;
  for (size_t p = 0; p < parts_.size(); ++p) {
    Part& part = parts_[p];
    RETURN_IF_ERROR(ReadBack(part));
    std::sort(part.pairs.begin(), part.pairs.end(),
              [](const Pair& a, const Pair& b) { return a.hash != b.hash ? a.hash < b.hash : a.row < b.row; });
    // All groups that the part's hashes can fall into.
    const uint64_t last = BucketIndex::HomeOf((uint64_t{p} << (64 - kPartBits)) | (~uint64_t{0} >> kPartBits), count);
    const uint64_t end = std::min(count, (last / BucketIndex::kGroup + 1) * BucketIndex::kGroup);
    open.resize(end - first);
    for (size_t i = 0; i < part.pairs.size(); ++i) {
      const Pair& pair = part.pairs[i];
      for (size_t j = i; j > 0 && part.pairs[j - 1].hash == pair.hash; --j) {
        RETURN_IF_ERROR(same_hash(static_cast<uint32_t>(part.pairs[j - 1].row), static_cast<uint32_t>(pair.row)));
      }
      if (!InsertRow(absl::MakeSpan(open), first, count, pair.hash, static_cast<uint32_t>(pair.row))) {
        return absl::InvalidArgumentError(absl::StrCat("index: got more than ",
                                                       BucketIndex::kGroup * IndexBucket::kSlots,
                                                       " ids for one group of buckets; take another seed"));
      }
    }
    part = Part();
    // The group that the next part begins in stays open.
    const bool is_last = p + 1 == parts_.size();
    const uint64_t next = is_last ? count
                                  : BucketIndex::HomeOf(uint64_t{p + 1} << (64 - kPartBits), count) /
                                        BucketIndex::kGroup * BucketIndex::kGroup;
    if (next > first) {
      RETURN_IF_ERROR(sink(absl::MakeConstSpan(open).first(next - first)));
      open.erase(open.begin(), open.begin() + static_cast<ptrdiff_t>(next - first));
      first = next;
    }
  }
  return absl::OkStatus();
}

}  // namespace portico
