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
  /// Keeps a copy of row `index` of `outputs`, in place of nothing: what is there under that digest stays. Returns what
  /// is there then; null where it is too large. The copy is made in the memory of an answer that gives room for it,
  /// where nobody else has that and it is as large. REQUIRES: RowAnswer::HasRows(outputs, more than `index`).
  Ref<const RowAnswer> Put(const Digest& row, absl::Span<const Tensor> outputs, int64_t index);
  /// How many answers have come to where `row` would be. Read before Get() found nothing, and the same later: none has
  /// come meanwhile.
  uint64_t Puts(const Digest& row) const;

  uint64_t max_bytes() const { return max_bytes_; }
  /// Memory taken now; never more than max_bytes(). Tables count in full, though their pages come with use.
  uint64_t bytes() const { return totals_.bytes.load(std::memory_order_relaxed); }
  /// Answers that have made room for others since this was asked last.
  uint64_t TakeEvictions();

 private:
  class Shard;
  /// Of all shards.
  struct Totals {
    std::atomic<uint64_t> bytes{0};
    std::atomic<uint64_t> evictions{0};
  };
  Shard& ShardOf(const Digest& row) const;

  const uint64_t max_bytes_;
  alignas(64) Totals totals_;
  /// A power of two of them.
  std::vector<std::unique_ptr<Shard>> shards_;
};

}  // namespace portico
