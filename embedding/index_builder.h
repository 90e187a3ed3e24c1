#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "embedding/bucket_index.h"

namespace portico {

/// Makes a bucket index from (hash, row) pairs in any order, with bounded memory: beyond that, pairs wait in an unnamed
/// file. The buckets come out in order. For one thread.
class IndexBuilder {
 public:
  struct Options {
    /// Where the file is, when it is needed.
    std::string folder = ".";
    /// Of waiting pairs; while the index is made, a 256th of all pairs and of the buckets come on top.
    size_t memory_bytes = size_t{256} << 20;
  };
  using Sink = std::function<absl::Status(absl::Span<const IndexBucket>)>;
  /// Whether two rows whose ids share a hash may stand side by side; an error where they are the same id.
  using SameHash = std::function<absl::Status(uint32_t row, uint32_t other)>;

  explicit IndexBuilder(Options options) : options_(std::move(options)) {}
  ~IndexBuilder();
  IndexBuilder(const IndexBuilder&) = delete;
  IndexBuilder& operator=(const IndexBuilder&) = delete;

  absl::Status Add(uint64_t hash, uint32_t row);
  /// Hands BucketIndex::CountFor() of all pairs to `sink`, in pieces; last. INVALID_ARGUMENT when too many ids share a
  /// group, which another seed of the hash would part.
  absl::Status Finish(const Sink& sink, const SameHash& same_hash);

 private:
  static constexpr int kPartBits = 8;
  struct Pair {
    uint64_t hash;
    uint64_t row;
  };
  /// Pairs of a part, in the file.
  struct Piece {
    uint64_t offset;
    uint64_t pairs;
  };
  /// The pairs of a 256th of all hashes.
  struct Part {
    std::vector<Pair> pairs;
    std::vector<Piece> pieces;
  };

  absl::Status Spill();
  absl::Status ReadBack(Part& part);

  const Options options_;
  std::array<Part, size_t{1} << kPartBits> parts_;
  uint64_t count_ = 0;
  uint64_t waiting_ = 0;
  int fd_ = -1;
  uint64_t spilled_bytes_ = 0;
};

}  // namespace portico
