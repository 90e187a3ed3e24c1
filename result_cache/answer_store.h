#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/digest.h"
#include "base/mutex.h"
#include "base/ref.h"
#include "result_cache/row_answer.h"

namespace portico {

/// Answers by digest within a number of bytes, in which everything counts: keys, answers, tables, and what the heap
/// takes for them. Those that are asked for most stay.
///
/// Shards, each with a lock, a table of chains of a fixed size, and the queues of S3-FIFO (Yang, Zhang, Qiu, Yue,
/// Rashmi: FIFO queues are all you need for cache eviction, SOSP 2023): what is new goes into a small queue, a tenth of
/// the bytes, from where only what was asked for again goes on to the main one; what left the small one unasked and
/// comes back goes there at once. So rows that come once pass by, and finding one moves nothing. Thread-safe.
class AnswerStore {
 public:
  /// Less is refused by who reads the option.
  static constexpr uint64_t kMinBytes = uint64_t{1} << 20;
  /// Of a shard's bytes, what one answer may take: larger ones are not kept.
  static constexpr uint64_t kLargestShare = 4;

  /// REQUIRES: at least kMinBytes.
  explicit AnswerStore(uint64_t max_bytes);
  ~AnswerStore();
  AnswerStore(const AnswerStore&) = delete;
  AnswerStore& operator=(const AnswerStore&) = delete;

  /// Null where it is not kept. Counts as asked for.
  Ref<const RowAnswer> Get(const Digest& row);
  /// Whether an answer of so many bytes is not too large to be kept.
  bool MayKeep(uint64_t bytes) const;
  /// Keeps `answer`, in place of nothing: what is there under that digest stays.
  void Put(const Digest& row, Ref<const RowAnswer> answer);

  uint64_t max_bytes() const { return max_bytes_; }
  /// Memory taken now; never more than max_bytes(). Tables count in full, though their pages come with use.
  uint64_t bytes() const;
  /// Answers that have made room for others since this was asked last.
  uint64_t TakeEvictions();

 private:
  struct Entry;
  class Shard;
  Shard& ShardOf(const Digest& row) const;

  const uint64_t max_bytes_;
  /// A power of two of them.
  std::vector<std::unique_ptr<Shard>> shards_;
};

}  // namespace portico
