#include "remote_op/lookup_merge.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "embedding/row_kernels.h"

namespace portico {
namespace {

using Lookup = EmbeddingSpec::Lookup;
using Entry = LookupPlan::Entry;
using Part = LookupPlan::Part;
using Share = LookupPlan::Share;

/// Rows that are decoded later are fetched ahead.
constexpr uint64_t kAhead = 8;

/// Makes the outputs one by one.
class Merger {
 public:
  Merger(const EmbeddingSpec& spec, const LookupPlan& plan, absl::Span<const ShardAnswer* const> answers,
         absl::Span<const ShardStandIn* const> stand_ins)
      : spec_(spec), plan_(plan), answers_(answers), stand_ins_(stand_ins), next_(answers.size()) {}

  absl::StatusOr<std::vector<Tensor>> Merge() {
    std::vector<Tensor> outputs;
    outputs.reserve(spec_.lookups.size());
    for (size_t index = 0; index < spec_.lookups.size(); ++index) {
      const Lookup& lookup = spec_.lookups[index];
      const Part& part = plan_.parts()[index];
      Tensor output = Tensor::Allocate(DType::kFloat, part.output);
      auto* const out = reinterpret_cast<float*>(output.mutable_bytes());
      if (part.form == LookupForm::kSums) {
        std::fill_n(out, part.bags * lookup.dim, 0.0f);
        AddSums(index, out);
      } else {
        absl::Status pooled = PoolRows(index, out);
        if (!pooled.ok()) return WithContext(absl::StrCat("table '", lookup.table, "'"), pooled);
      }
      if (lookup.pooling == Pooling::kMean) Divide(lookup, part, out);
      outputs.push_back(std::move(output));
    }
    return outputs;
  }

 private:
  /// The number of the share's entry of the lookup, once for each, the lookups in their order.
  std::optional<size_t> Next(size_t share, size_t index) {
    const std::vector<Entry>& entries = plan_.shares()[share].entries;
    if (next_[share] == entries.size() || entries[next_[share]].lookup != index) return std::nullopt;
    return next_[share]++;
  }

  void AddSums(size_t index, float* out) {
    const size_t dim = spec_.lookups[index].dim;
    const RowKernels::Add add = kernels_.add[static_cast<size_t>(RowType::kFloat32)];
    for (size_t share = 0; share < answers_.size(); ++share) {
      const std::optional<size_t> at = Next(share, index);
      if (!at.has_value()) continue;
      const Entry& entry = plan_.shares()[share].entries[*at];
      const char* sum = answers_[share] != nullptr ? answers_[share]->entries[*at].rows : ValuesOf(share, *at);
      for (const uint32_t bag : plan_.BagsOf(entry)) {
        add(sum, 1.0f, dim, out + size_t{bag} * dim);
        sum += dim * sizeof(float);
      }
    }
  }

  absl::Status PoolRows(size_t index, float* out) {
    const Lookup& lookup = spec_.lookups[index];
    const Part& part = plan_.parts()[index];
    RETURN_IF_ERROR(FindRows(index));
    const RowKernels::Add add = kernels_.add[static_cast<size_t>(row_type_)];
    const RowKernels::Add add_float = kernels_.add[static_cast<size_t>(RowType::kFloat32)];
    const absl::Span<const uint32_t> places = plan_.PlacesOf(part);
    const float* const weights = lookup.weighted ? part.weights.data<float>().data() : nullptr;
    uint64_t i = 0;
    for (uint64_t bag = 0; bag < part.bags; ++bag, out += lookup.dim) {
      std::fill_n(out, lookup.dim, 0.0f);
      for (const uint64_t end = plan_.BeginOf(part, bag + 1); i < end; ++i) {
        if (i + kAhead < places.size() && places[i + kAhead] != LookupPlan::kPadding) {
          __builtin_prefetch(rows_[places[i + kAhead]]);
        }
        if (places[i] == LookupPlan::kPadding) continue;
        const float weight = weights == nullptr ? 1.0f : weights[i];
        const uint32_t place = places[i];
        (decodes_ && decoded_[place] ? add_float : add)(rows_[place], weight, lookup.dim, out);
      }
    }
    return absl::OkStatus();
  }

  /// What stands in for the entry, as bytes.
  const char* ValuesOf(size_t share, size_t at) const {
    return reinterpret_cast<const char*>(stand_ins_[share]->entries[at].values.data());
  }

  /// Where each of the lookup's rows is, and which are numbers already.
  absl::Status FindRows(size_t index) {
    const Lookup& lookup = spec_.lookups[index];
    const Part& part = plan_.parts()[index];
    rows_.assign(part.rows + part.kept, nullptr);
    const char* kept = part.kept_rows.bytes().data();
    for (uint32_t row = 0; row < part.kept; ++row, kept += part.kept_stride) rows_[part.rows + row] = kept;
    decodes_ = false;
    decoded_.clear();
    bool any = part.kept != 0;
    if (any) row_type_ = part.kept_type;
    for (size_t share = 0; share < answers_.size(); ++share) {
      const std::optional<size_t> at = Next(share, index);
      if (!at.has_value()) continue;
      const Entry& entry = plan_.shares()[share].entries[*at];
      if (answers_[share] == nullptr) {
        decodes_ = true;
        decoded_.resize(rows_.size());
        std::fill_n(decoded_.begin() + entry.first_row, entry.ids, true);
        Place(entry, ValuesOf(share, *at), lookup.dim * sizeof(float));
        continue;
      }
      const ShardAnswer::Entry& answer = answers_[share]->entries[*at];
      if (any && answer.row_type != row_type_) {
        return absl::InternalError(absl::StrCat("got rows of ", RowTypeName(answer.row_type), " and of ",
                                                RowTypeName(row_type_),
                                                " of two shards, want one type; build the shards alike"));
      }
      any = true;
      row_type_ = answer.row_type;
      Place(entry, answer.rows, EncodedBytes(row_type_, lookup.dim));
    }
    return absl::OkStatus();
  }

  void Place(const Entry& entry, const char* rows, size_t stride) {
    for (uint32_t row = 0; row < entry.ids; ++row, rows += stride) rows_[entry.first_row + row] = rows;
  }

  void Divide(const Lookup& lookup, const Part& part, float* out) const {
    for (const uint32_t ids : plan_.CountsOf(part)) {
      if (ids > 1) {
        const float factor = 1.0f / static_cast<float>(ids);
        for (size_t d = 0; d < lookup.dim; ++d) out[d] *= factor;
      }
      out += lookup.dim;
    }
  }

  const EmbeddingSpec& spec_;
  const LookupPlan& plan_;
  const absl::Span<const ShardAnswer* const> answers_;
  const absl::Span<const ShardStandIn* const> stand_ins_;
  const RowKernels& kernels_ = RowKernels::Best();
  /// By share: the entry that comes next.
  std::vector<size_t> next_;
  /// Of the lookup at hand.
  std::vector<const char*> rows_;
  /// By row, where there are any: it is float32, whatever the others are.
  std::vector<bool> decoded_;
  bool decodes_ = false;
  RowType row_type_ = RowType::kFloat32;
};

}  // namespace

absl::StatusOr<std::vector<Tensor>> MergeLookups(const EmbeddingSpec& spec, const LookupPlan& plan,
                                                 absl::Span<const ShardAnswer* const> answers,
                                                 absl::Span<const ShardStandIn* const> stand_ins) {
  return Merger(spec, plan, answers, stand_ins).Merge();
}

std::vector<int64_t> TouchedRows(const LookupPlan& plan, const LookupPlan::Share& share, const ShardStandIn& stand_in,
                                 std::vector<bool> ShardStandIn::Entry::*which, uint64_t* bags) {
  std::vector<int64_t> touched;
  for (size_t at = 0; at < share.entries.size(); ++at) {
    const Entry& entry = share.entries[at];
    const std::vector<bool>& counts = stand_in.entries[at].*which;
    const Part& part = plan.parts()[entry.lookup];
    // An output of higher rank has several bags to a row of dim 0; one without any axis but the last is one row.
    const uint64_t rows = part.output.size() > 1 ? static_cast<uint64_t>(part.output[0]) : 1;
    const uint64_t bags_a_row = part.bags / rows;
    const auto touch = [&](uint64_t bag) {
      ++*bags;
      touched.push_back(static_cast<int64_t>(bag / bags_a_row));
    };
    if (part.form == LookupForm::kSums) {
      const absl::Span<const uint32_t> entry_bags = plan.BagsOf(entry);
      for (size_t bag = 0; bag < entry_bags.size(); ++bag) {
        if (counts[bag]) touch(entry_bags[bag]);
      }
      continue;
    }
    const absl::Span<const uint32_t> places = plan.PlacesOf(part);
    for (uint64_t bag = 0; bag < part.bags; ++bag) {
      const uint64_t begin = plan.BeginOf(part, bag), end = plan.BeginOf(part, bag + 1);
      const bool in = std::any_of(places.begin() + static_cast<int64_t>(begin),
                                  places.begin() + static_cast<int64_t>(end), [&](uint32_t place) {
                                    return place >= entry.first_row && place - entry.first_row < entry.ids &&
                                           counts[place - entry.first_row];
                                  });
      if (in) touch(bag);
    }
  }
  std::sort(touched.begin(), touched.end());
  touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
  return touched;
}

}  // namespace portico
