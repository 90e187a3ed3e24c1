#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/tensor.h"
#include "embedding/lookup_call.h"
#include "embedding/table.h"

namespace portico {

/// A call of a shard (LookupCall) in hand: what it wants of which table, read from its tensors and checked before any
/// memory is taken for the answer. For one thread at a time; borrows the shard, which must outlive it.
///
///   ASSIGN_OR_RETURN(const ShardLookup lookup, ShardLookup::Read(*shard, std::move(inputs)));
///   ASSIGN_OR_RETURN(std::vector<Tensor> outputs, lookup.Run());
class ShardLookup {
 public:
  /// Of the bytes of one answer's rows.
  static constexpr uint64_t kMaxReplyBytes = uint64_t{512} << 20;

  /// INVALID_ARGUMENT names the input, and where there is one the entry, that is not as LookupCall has it; NOT_FOUND a
  /// table that this shard does not have. An answer of more than `max_reply_bytes` is INVALID_ARGUMENT, too: no
  /// replica would give it.
  static absl::StatusOr<ShardLookup> Read(const TableSet& shard, std::vector<Tensor> inputs,
                                          uint64_t max_reply_bytes = kMaxReplyBytes);

  /// Ids of all entries.
  uint64_t ids() const { return ids_; }
  /// Of the answer's rows.
  uint64_t reply_bytes() const { return reply_bytes_; }

  /// The answer, LookupCall::Output in order; rows are written straight into it. OUT_OF_RANGE for an id that the table
  /// does not have where that is an error, DATA_LOSS for a block that is not as it was written: both name the table.
  absl::StatusOr<std::vector<Tensor>> Run() const;

 private:
  struct Entry {
    const EmbeddingTable* table = nullptr;
    LookupForm form = LookupForm::kSums;
    /// What it has of the inputs, each from its first on.
    uint64_t first_id = 0, ids = 0;
    uint64_t first_bag = 0, bags = 0;
    uint64_t first_weight = 0;
    bool weighted = false;
    /// Its place among the reply's rows.
    uint64_t begin = 0, bytes = 0;
  };

  explicit ShardLookup(std::vector<Tensor> inputs) : inputs_(std::move(inputs)) {}

  absl::Status CheckTypes();
  absl::Status ReadEntries(const TableSet& shard);
  absl::StatusOr<Entry> ReadEntry(const TableSet& shard, size_t index) const;
  /// Whether bags of each entry have its ids.
  absl::Status CheckLengths() const;
  absl::StatusOr<LookupCounts> Answer(const Entry& entry, std::vector<absl::string_view>& strings,
                                      std::vector<int64_t>& offsets, char* out) const;

  std::vector<Tensor> inputs_;
  std::vector<Entry> entries_;
  uint64_t ids_ = 0;
  uint64_t reply_bytes_ = 0;
};

}  // namespace portico
