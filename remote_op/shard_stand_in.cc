#include "remote_op/shard_stand_in.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "embedding/row_kernels.h"
#include "remote_op/share_keys.h"

namespace portico {
namespace {

/// Makes it, row by row.
class Builder {
 public:
  Builder(const EmbeddingSpec& spec, const LookupPlan& plan, const LookupPlan::Share& share,
          const TableFallback& fallback, const ShardStandIn::Kept& kept)
      : spec_(spec), plan_(plan), share_(share), fallback_(fallback), kept_(kept) {
    if (fallback.last_known() && kept.cache != nullptr) keys_.emplace(spec, share, kept.shards, kept.tables);
  }

  absl::StatusOr<ShardStandIn> Build() {
    for (size_t i = 0; i < share_.entries.size(); ++i) {
      const bool built = plan_.parts()[share_.entries[i].lookup].form == LookupForm::kRows ? Rows(i) : Sums(i);
      if (built) continue;
      const std::string& table = spec_.lookups[share_.entries[i].lookup].table;
      return absl::NotFoundError(absl::StrCat("table '", table,
                                              "': got a row that is not kept here, and no number for '", table,
                                              "' in on_error: defaults"));
    }
    return std::move(made_);
  }

 private:
  ShardStandIn::Entry& Begin(size_t count, size_t dim) {
    ShardStandIn::Entry& made = made_.entries.emplace_back();
    made.values.resize(count * dim);
    made.known.resize(count);
    made.defaulted.resize(count);
    return made;
  }

  bool Rows(size_t index) {
    const LookupPlan::Entry& entry = share_.entries[index];
    ShardStandIn::Entry& made = Begin(entry.ids, spec_.lookups[entry.lookup].dim);
    for (uint32_t row = 0; row < entry.ids; ++row) {
      if (!Add(index, row, 1.0f, row, made)) return false;
    }
    return true;
  }

  bool Sums(size_t index) {
    const LookupPlan::Entry& entry = share_.entries[index];
    const EmbeddingSpec::Lookup& lookup = spec_.lookups[entry.lookup];
    ShardStandIn::Entry& made = Begin(entry.bags, lookup.dim);
    const int32_t* const lengths = share_.tensors[LookupCall::kLengths].data<int32_t>().data() + entry.lengths_begin;
    const float* const weights =
        lookup.weighted ? share_.tensors[LookupCall::kWeights].data<float>().data() + entry.weights_begin : nullptr;
    uint64_t id = 0;
    for (uint32_t bag = 0; bag < entry.bags; ++bag) {
      for (int32_t left = lengths[bag]; left > 0; --left, ++id) {
        if (!Add(index, id, weights == nullptr ? 1.0f : weights[id], bag, made)) return false;
      }
    }
    return true;
  }

  /// Adds the row of an id to what is made of them; false where there is nothing to add.
  bool Add(size_t index, uint64_t id, float weight, uint32_t to, ShardStandIn::Entry& made) {
    const uint32_t lookup = share_.entries[index].lookup;
    const size_t dim = spec_.lookups[lookup].dim;
    float* const out = made.values.data() + to * dim;
    if (Find(index, id)) {
      RowKernels::Best().add[static_cast<size_t>(kept_.row_types[lookup])](row_.data(), weight, dim, out);
      made.known[to] = made_.any_known = true;
      return true;
    }
    if (fallback_.numbers().empty()) return false;
    const float number = fallback_.numbers()[lookup] * weight;
    std::for_each(out, out + dim, [number](float& value) { value += number; });
    made.defaulted[to] = made_.any_defaulted = true;
    return true;
  }

  /// Whether the row is kept and young enough: it is in row_ then.
  bool Find(size_t index, uint64_t id) {
    if (!keys_.has_value()) return false;
    const uint32_t lookup = share_.entries[index].lookup;
    const RowCache::Key key = keys_->At(index, id);
    const RowType type = kept_.row_types[lookup];
    row_.resize(EncodedBytes(type, spec_.lookups[lookup].dim));
    const RowCache::Known known = kept_.cache->Last(kept_.cache->Locate(key, type, row_.size()), key, row_.data());
    if (known.origin == 0) return false;
    const absl::Duration age =
        std::max(absl::ZeroDuration(), kept_.now - absl::FromUnixSeconds(static_cast<int64_t>(known.learned)));
    if (age > fallback_.max_age() && known.origin != kept_.origin) return false;
    made_.age = std::max(made_.age, age);
    return true;
  }

  const EmbeddingSpec& spec_;
  const LookupPlan& plan_;
  const LookupPlan::Share& share_;
  const TableFallback& fallback_;
  const ShardStandIn::Kept& kept_;
  std::optional<ShareKeys> keys_;
  std::vector<char> row_;
  ShardStandIn made_;
};

}  // namespace

uint64_t ShardStandIn::BytesFor(const EmbeddingSpec& spec, const LookupPlan& plan, const LookupPlan::Share& share) {
  uint64_t bytes = 0;
  for (const LookupPlan::Entry& entry : share.entries) {
    const bool rows = plan.parts()[entry.lookup].form == LookupForm::kRows;
    bytes += uint64_t{rows ? entry.ids : entry.bags} * spec.lookups[entry.lookup].dim * sizeof(float);
  }
  return bytes;
}

absl::StatusOr<ShardStandIn> ShardStandIn::Make(const EmbeddingSpec& spec, const LookupPlan& plan,
                                                const LookupPlan::Share& share, const TableFallback& fallback,
                                                const Kept& kept) {
  return Builder(spec, plan, share, fallback, kept).Build();
}

}  // namespace portico
