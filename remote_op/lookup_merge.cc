#include "remote_op/lookup_merge.h"

#include <algorithm>
#include <numeric>
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
         MissingRows missing)
      : spec_(spec), plan_(plan), answers_(answers), missing_(missing), next_(answers.size()) {}

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
      if (answers_[share] == nullptr) {
        AddMissingSums(plan_.shares()[share], entry, out);
        continue;
      }
      const char* sum = answers_[share]->entries[*at].rows;
      for (const uint32_t bag : plan_.BagsOf(entry)) {
        add(sum, 1.0f, dim, out + size_t{bag} * dim);
        sum += dim * sizeof(float);
      }
    }
  }

  /// What the shard would have given, had all its rows been that number.
  void AddMissingSums(const Share& share, const Entry& entry, float* out) const {
    const Lookup& lookup = spec_.lookups[entry.lookup];
    const int32_t* length = share.tensors[LookupCall::kLengths].data<int32_t>().data() + entry.lengths_begin;
    const float* weight =
        lookup.weighted ? share.tensors[LookupCall::kWeights].data<float>().data() + entry.weights_begin : nullptr;
    for (const uint32_t bag : plan_.BagsOf(entry)) {
      const auto ids = static_cast<size_t>(*length++);
      const float factor = weight == nullptr ? static_cast<float>(ids) : std::accumulate(weight, weight + ids, 0.0f);
      if (weight != nullptr) weight += ids;
      AddNumber(missing_[entry.lookup] * factor, lookup.dim, out + size_t{bag} * lookup.dim);
    }
  }

  static void AddNumber(float number, size_t dim, float* out) {
    for (size_t d = 0; d < dim; ++d) out[d] += number;
  }

  absl::Status PoolRows(size_t index, float* out) {
    const Lookup& lookup = spec_.lookups[index];
    const Part& part = plan_.parts()[index];
    RETURN_IF_ERROR(FindRows(index));
    const RowKernels::Add add = kernels_.add[static_cast<size_t>(row_type_)];
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
        if (const char* const row = rows_[places[i]]) {
          add(row, weight, lookup.dim, out);
        } else {
          AddNumber(missing_[index] * weight, lookup.dim, out);
        }
      }
    }
    return absl::OkStatus();
  }

  /// Where each of the lookup's rows is; null where its shard gave no answer.
  absl::Status FindRows(size_t index) {
    const Lookup& lookup = spec_.lookups[index];
    rows_.assign(plan_.parts()[index].rows, nullptr);
    bool any = false;
    for (size_t share = 0; share < answers_.size(); ++share) {
      const std::optional<size_t> at = Next(share, index);
      if (!at.has_value() || answers_[share] == nullptr) continue;
      const ShardAnswer::Entry& answer = answers_[share]->entries[*at];
      if (any && answer.row_type != row_type_) {
        return absl::InternalError(absl::StrCat("got rows of ", RowTypeName(answer.row_type), " and of ",
                                                RowTypeName(row_type_),
                                                " of two shards, want one type; build the shards alike"));
      }
      any = true;
      row_type_ = answer.row_type;
      const Entry& entry = plan_.shares()[share].entries[*at];
      const size_t stride = EncodedBytes(row_type_, lookup.dim);
      for (uint32_t row = 0; row < entry.ids; ++row) rows_[entry.first_row + row] = answer.rows + row * stride;
    }
    return absl::OkStatus();
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
  const MissingRows missing_;
  const RowKernels& kernels_ = RowKernels::Best();
  /// By share: the entry that comes next.
  std::vector<size_t> next_;
  /// Of the lookup at hand.
  std::vector<const char*> rows_;
  RowType row_type_ = RowType::kFloat32;
};

}  // namespace

absl::StatusOr<std::vector<Tensor>> MergeLookups(const EmbeddingSpec& spec, const LookupPlan& plan,
                                                 absl::Span<const ShardAnswer* const> answers, MissingRows missing) {
  return Merger(spec, plan, answers, missing).Merge();
}

std::vector<int64_t> TouchedRows(const LookupPlan& plan, const LookupPlan::Share& share, uint64_t* bags) {
  std::vector<int64_t> touched;
  for (const Entry& entry : share.entries) {
    const Part& part = plan.parts()[entry.lookup];
    // An output of higher rank has several bags to a row of dim 0; one without any axis but the last is one row.
    const uint64_t rows = part.output.size() > 1 ? static_cast<uint64_t>(part.output[0]) : 1;
    const uint64_t bags_a_row = part.bags / rows;
    const auto touch = [&](uint64_t bag) {
      ++*bags;
      touched.push_back(static_cast<int64_t>(bag / bags_a_row));
    };
    if (part.form == LookupForm::kSums) {
      for (const uint32_t bag : plan.BagsOf(entry)) touch(bag);
      continue;
    }
    const absl::Span<const uint32_t> places = plan.PlacesOf(part);
    for (uint64_t bag = 0; bag < part.bags; ++bag) {
      const uint64_t begin = plan.BeginOf(part, bag), end = plan.BeginOf(part, bag + 1);
      const bool in =
          std::any_of(places.begin() + static_cast<int64_t>(begin), places.begin() + static_cast<int64_t>(end),
                      [&](uint32_t place) { return place >= entry.first_row && place - entry.first_row < entry.ids; });
      if (in) touch(bag);
    }
  }
  std::sort(touched.begin(), touched.end());
  touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
  return touched;
}

}  // namespace portico
