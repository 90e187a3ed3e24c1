#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/tensor.h"
#include "embedding/lookup_call.h"

namespace portico {

/// Puts a call of a shard together, entry by entry.
class LookupBuilder {
 public:
  struct Sums {
    std::vector<int64_t> ids;
    std::vector<std::string> strings;
    std::vector<int32_t> lengths;
    std::vector<float> weights;
  };

  LookupBuilder& Add(absl::string_view table, const Sums& sums) {
    Entry(table, LookupForm::kSums, sums.ids.size() + sums.strings.size(), sums.lengths.size(), !sums.weights.empty());
    Append(ids, sums.ids);
    Append(strings, sums.strings);
    Append(lengths, sums.lengths);
    Append(weights, sums.weights);
    return *this;
  }
  LookupBuilder& AddRows(absl::string_view table, const std::vector<int64_t>& wanted,
                         LookupForm form = LookupForm::kRows) {
    Entry(table, form, wanted.size(), 0, false);
    Append(ids, wanted);
    return *this;
  }
  LookupBuilder& AddRows(absl::string_view table, const std::vector<std::string>& wanted) {
    Entry(table, LookupForm::kRows, wanted.size(), 0, false);
    Append(strings, wanted);
    return *this;
  }

  std::vector<Tensor> Build() const {
    const auto extent = [](const auto& values) { return Shape{static_cast<int64_t>(values.size())}; };
    const auto tensor_of = [&](const auto& values) { return Tensor::Of(extent(values), absl::MakeConstSpan(values)); };
    std::vector<Tensor> inputs(LookupCall::kInputs);
    inputs[LookupCall::kTables] = Tensor::OfStrings(extent(tables), absl::MakeConstSpan(tables));
    inputs[LookupCall::kEntries] =
        Tensor::Of({static_cast<int64_t>(entries.size()) / LookupCall::kEntryColumns, LookupCall::kEntryColumns},
                   absl::MakeConstSpan(entries));
    inputs[LookupCall::kIds] = tensor_of(ids);
    inputs[LookupCall::kStrings] = Tensor::OfStrings(extent(strings), absl::MakeConstSpan(strings));
    inputs[LookupCall::kLengths] = tensor_of(lengths);
    inputs[LookupCall::kWeights] = tensor_of(weights);
    return inputs;
  }

  // What it is made of, to be spoilt.
  std::vector<std::string> tables;
  std::vector<int32_t> entries;
  std::vector<int64_t> ids;
  std::vector<std::string> strings;
  std::vector<int32_t> lengths;
  std::vector<float> weights;

 private:
  template <typename T>
  static void Append(std::vector<T>& to, const std::vector<T>& more) {
    to.insert(to.end(), more.begin(), more.end());
  }
  void Entry(absl::string_view table, LookupForm form, size_t num_ids, size_t num_bags, bool weighted) {
    tables.emplace_back(table);
    Append(entries, {static_cast<int32_t>(form), static_cast<int32_t>(num_ids), static_cast<int32_t>(num_bags),
                     static_cast<int32_t>(weighted)});
  }
};

/// What a call was answered with.
class LookupAnswer {
 public:
  explicit LookupAnswer(const std::vector<Tensor>& outputs)
      : rows_(outputs.at(LookupCall::kRows)), found_(outputs.at(LookupCall::kFound)) {}

  int64_t Found(size_t entry, LookupCall::Found column) const {
    return found_.data<int64_t>().at(entry * LookupCall::kFoundColumns + column);
  }
  /// Bytes of an entry from its first one on, to the end of all.
  absl::string_view Bytes(size_t entry) const {
    return rows_.bytes().substr(static_cast<size_t>(Found(entry, LookupCall::kBegin)));
  }
  const float* Sums(size_t entry) const { return reinterpret_cast<const float*>(Bytes(entry).data()); }
  size_t size() const { return rows_.bytes().size(); }

 private:
  const Tensor rows_;
  const Tensor found_;
};

}  // namespace portico
