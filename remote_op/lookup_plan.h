#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tensor.h"
#include "embedding/lookup_call.h"
#include "embedding/row_type.h"
#include "models/graph/embedding_spec.h"
#include "remote_op/kept_rows.h"
#include "remote_op/shard_routes.h"

namespace portico {

/// What one request at an `EmbeddingBag` asks of the shards, and where what they answer belongs: its ids, which bucket
/// by bucket belong to shards, sorted by shard, one call each. Of each lookup either sums or rows are asked for,
/// whichever are fewer bytes on the way there and back; rows are asked for once, however often an id is there, and not
/// at all where they are kept here: those are copied when the plan is made, whatever becomes of the cache later.
///
/// Made on the thread that the portal runs on, in a few passes over the ids; no memory is taken per id or bag but the
/// parts below. Immutable then.
class LookupPlan {
 public:
  /// Of places: the id is padding.
  static constexpr uint32_t kPadding = UINT32_MAX;
  /// Of the answers of all shards to one request, and of what stands in for them.
  static constexpr uint64_t kMaxAnswerBytes = uint64_t{512} << 20;

  /// A lookup's part of a shard's call: an entry of it. Those of a call are in the order of the lookups.
  struct Entry {
    uint32_t lookup = 0;
    uint32_t ids = 0;
    /// Of sums.
    uint32_t bags = 0;
    /// Sums: where its bags begin in bags().
    uint64_t bags_begin = 0;
    /// Rows: the number of its first row among those of the lookup, which go by shard.
    uint32_t first_row = 0;
    /// Where its part of the call's lengths and weights begins.
    uint64_t lengths_begin = 0;
    uint64_t weights_begin = 0;
  };
  /// What one shard is asked.
  struct Share {
    uint32_t shard = 0;
    std::vector<Entry> entries;
    /// By LookupCall::Input.
    std::vector<Tensor> tensors;
  };
  /// One lookup as a whole.
  struct Part {
    /// kSums or kRows; with a cache rows are asked for to be kept.
    LookupForm form = LookupForm::kSums;
    /// Rows of the output, all axes but the last.
    uint64_t bags = 0;
    /// Padded: ids of each bag.
    uint64_t width = 0;
    bool csr = false;
    Shape output;
    /// Rows: how many are asked for.
    uint32_t rows = 0;
    /// Rows that were kept, whose numbers follow theirs: how many, each at a multiple of kept_stride of kept_rows.
    uint32_t kept = 0;
    RowType kept_type = RowType::kFloat32;
    size_t kept_stride = 0;
    Tensor kept_rows;
    /// Whether kept rows were looked for.
    bool looked = false;
    /// Rows: where places() of its ids begin.
    uint64_t places_begin = 0;
    uint64_t positions = 0;
    /// Mean: where counts() of its bags begin.
    uint64_t counts_begin = 0;
    /// Csr: where begins() of its bags begin, one more than bags.
    uint64_t begins_begin = 0;
    /// Rows, weighted: one for each position.
    Tensor weights;
  };
  /// For metrics.
  struct Counts {
    uint64_t ids = 0;
    /// As sent: those of rows once, those of sums as they came.
    uint64_t sent = 0;
    /// Of lookups that get rows and looked for kept ones: distinct ids, and those of them that were kept.
    uint64_t looked = 0;
    uint64_t kept = 0;
  };

  /// Which row type each lookup's table has, as far as it is known.
  using RowTypes = absl::Span<const RowType>;
  /// INVALID_ARGUMENT, naming table and position, for inputs that no lookup can be done with, or whose outputs or
  /// answers would be too large: no replica would do better.
  static absl::StatusOr<LookupPlan> Make(const EmbeddingSpec& spec, const ShardRoutes& routes, RowTypes row_types,
                                         absl::Span<const Tensor> inputs, const KeptRows& kept = KeptRows());

  /// By shard, those with nothing left out.
  const std::vector<Share>& shares() const { return shares_; }
  const std::vector<Part>& parts() const { return parts_; }
  const Counts& counts() const { return counts_; }
  /// Whether rows are asked for to be kept.
  bool asks_to_keep() const { return asks_to_keep_; }
  /// Floats that are added up to make the outputs.
  uint64_t numbers() const { return numbers_; }
  /// Sums: to which bag of the lookup each of an entry's belongs.
  absl::Span<const uint32_t> BagsOf(const Entry& entry) const {
    return absl::MakeConstSpan(bags_).subspan(entry.bags_begin, entry.bags);
  }
  /// Rows: which row each id is, or kPadding.
  absl::Span<const uint32_t> PlacesOf(const Part& part) const {
    return absl::MakeConstSpan(places_).subspan(part.places_begin, part.positions);
  }
  /// Mean: ids of each bag, without padding.
  absl::Span<const uint32_t> CountsOf(const Part& part) const {
    return absl::MakeConstSpan(bag_counts_).subspan(part.counts_begin, part.bags);
  }
  /// Position of the first id of a bag; of the bag behind the last one, the number of ids.
  uint64_t BeginOf(const Part& part, uint64_t bag) const {
    return part.csr ? begins_[part.begins_begin + bag] : bag * part.width;
  }

 private:
  friend class LookupPlanner;

  std::vector<Share> shares_;
  std::vector<Part> parts_;
  Counts counts_;
  uint64_t numbers_ = 0;
  bool asks_to_keep_ = false;
  std::vector<uint32_t> bags_;
  std::vector<uint32_t> places_;
  std::vector<uint32_t> bag_counts_;
  std::vector<uint64_t> begins_;
};

}  // namespace portico
