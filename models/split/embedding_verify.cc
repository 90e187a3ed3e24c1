#include "models/split/embedding_verify.h"

#include <algorithm>
#include <random>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "models/runtime/row_check.h"
#include "models/runtime/session.h"
#include "models/split/local_embedding_model.h"
#include "models/split/sample_inputs.h"
#include "models/split/submodel.h"
#include "models/split/tensor_difference.h"

namespace portico {
namespace {

Session::Options Plainly(std::string name) {
  Session::Options options;
  options.optimize = false;
  options.prepack = false;
  options.name = std::move(name);
  return options;
}

template <typename T>
Tensor WithFirst(const Tensor& tensor, int64_t first) {
  std::vector<T> values(tensor.data<T>().begin(), tensor.data<T>().end());
  if (!values.empty()) values[0] = static_cast<T>(first);
  return Tensor::Of<T>(tensor.shape(), absl::Span<const T>(values));
}

/// Makes inputs of lookups of what was drawn at random: offsets of bags begin at 0 and do not fall, and ids that are
/// left out are among those that are not.
class LookupInputs {
 public:
  LookupInputs(const LookupGraph& lookups, const std::vector<TensorSpec>& inputs) {
    for (const GraphLookup& lookup : lookups.lookups) {
      const int ids = Find(inputs, lookup.ids);
      if (ids >= 0 && lookup.padding.has_value()) paddings_.emplace_back(ids, *lookup.padding);
      if (lookup.offsets.empty()) continue;
      const int without_end = Find(inputs, lookup.offsets_without_end);
      const int with_end = Find(inputs, lookup.offsets);
      // Traced exports have no answer for the mean of nothing.
      const bool may_be_empty = lookup.pooling == Pooling::kSum;
      if (ids >= 0 && without_end >= 0) pairs_.push_back({ids, without_end, false, may_be_empty});
      if (ids >= 0 && without_end < 0 && with_end >= 0) pairs_.push_back({ids, with_end, true, may_be_empty});
    }
  }

  void Repair(SampleInputs& sample, uint64_t seed) const {
    std::mt19937_64 random(seed);
    for (const auto& [ids, padding] : paddings_) {
      Tensor& tensor = sample.tensors[ids];
      if (tensor.dtype() == DType::kInt64) tensor = WithFirst<int64_t>(tensor, padding);
      if (tensor.dtype() == DType::kInt32) tensor = WithFirst<int32_t>(tensor, padding);
    }
    for (const Pair& pair : pairs_) {
      Tensor& tensor = sample.tensors[pair.offsets];
      const auto ids = static_cast<int64_t>(sample.tensors[pair.ids].num_elements());
      std::vector<int64_t> offsets(tensor.num_elements());
      // A bag at least, where the end is among them.
      if (pair.with_end) offsets.resize(std::max<size_t>(offsets.size(), 2));
      if (offsets.empty()) continue;
      for (size_t i = 0; i < offsets.size(); ++i) {
        offsets[i] = !pair.may_be_empty ? std::min(static_cast<int64_t>(i), ids)
                     : ids == 0         ? 0
                                        : static_cast<int64_t>(random() % static_cast<uint64_t>(ids));
      }
      std::sort(offsets.begin(), offsets.end());
      offsets.front() = 0;
      if (pair.with_end) offsets.back() = ids;
      const Shape shape = {static_cast<int64_t>(offsets.size())};
      if (tensor.dtype() == DType::kInt64) {
        tensor = Tensor::Of<int64_t>(shape, absl::Span<const int64_t>(offsets));
      } else if (tensor.dtype() == DType::kInt32) {
        const std::vector<int32_t> narrow(offsets.begin(), offsets.end());
        tensor = Tensor::Of<int32_t>(shape, absl::Span<const int32_t>(narrow));
      }
    }
  }

 private:
  struct Pair {
    int ids;
    int offsets;
    bool with_end;
    bool may_be_empty;
  };
  static int Find(const std::vector<TensorSpec>& inputs, const std::string& name) {
    const auto it = std::find_if(inputs.begin(), inputs.end(), [&](const auto& input) { return input.name == name; });
    return it == inputs.end() ? -1 : static_cast<int>(it - inputs.begin());
  }

  std::vector<Pair> pairs_;
  /// Input, and the id that is left out.
  std::vector<std::pair<int, int64_t>> paddings_;
};

}  // namespace

struct EmbeddingVerifier::State {
  struct Round {
    SampleInputs inputs;
    std::vector<Tensor> want;
  };
  const LookupGraph& lookups;
  std::vector<std::string> output_names;
  std::vector<Round> rounds;
  std::vector<std::string> skipped;

  /// Calls `compare(output, got, want)` for each round's outputs.
  template <typename Compare>
  absl::Status Run(const Model& rewritten, const LocalTables& tables, const Compare& compare) const {
    ASSIGN_OR_RETURN(const auto local, LocalEmbeddingModel::Create(rewritten, tables));
    for (const Round& round : rounds) {
      const auto wrong = [&](absl::string_view what, const absl::Status& status) {
        return absl::FailedPreconditionError(
            absl::StrCat("verification with ", round.inputs.label, ": ", what, ": ", status.message()));
      };
      const absl::StatusOr<std::vector<Tensor>> got = local->Run(round.inputs.tensors);
      if (!got.ok()) return wrong("the split model fails where the original does not", got.status());
      for (size_t i = 0; i < round.want.size(); ++i) {
        const absl::Status equal = compare(i, (*got)[i], round.want[i]);
        if (!equal.ok()) return wrong(absl::StrCat("output '", output_names[i], "'"), equal);
      }
    }
    return absl::OkStatus();
  }
};

EmbeddingVerifier::EmbeddingVerifier(std::unique_ptr<State> state) : state_(std::move(state)) {}
EmbeddingVerifier::~EmbeddingVerifier() = default;

int EmbeddingVerifier::rounds() const { return static_cast<int>(state_->rounds.size()); }
const std::vector<std::string>& EmbeddingVerifier::skipped() const { return state_->skipped; }

absl::StatusOr<std::unique_ptr<EmbeddingVerifier>> EmbeddingVerifier::Create(const Model& original,
                                                                             const LookupGraph& lookups,
                                                                             const VerifyOptions& options) {
  auto state = std::unique_ptr<State>(new State{lookups, {}, {}, {}});
  ASSIGN_OR_RETURN(const Model open, WeightsAsInputs(original, lookups.tables));
  ASSIGN_OR_RETURN(RunnableModel runnable, MakeRunnable(open, {}));
  ASSIGN_OR_RETURN(const std::unique_ptr<Session> session,
                   Session::Create(runnable.proto, std::move(runnable.weights), Plainly("the unsplit model")));
  for (const TensorSpec& output : session->outputs()) state->output_names.push_back(output.name);
  std::vector<TensorSpec> inputs = session->inputs();
  inputs.resize(inputs.size() - lookups.tables.size());
  std::vector<SampleInputs> samples =
      options.samples.empty() ? MakeSamples(original, inputs, options.rows, options.seed) : options.samples;
  if (options.samples.empty()) {
    const LookupInputs lookup_inputs(lookups, inputs);
    for (size_t i = 0; i < samples.size(); ++i) lookup_inputs.Repair(samples[i], options.seed + i);
  }
  for (SampleInputs& sample : samples) {
    std::vector<Tensor> tensors = sample.tensors;
    for (const TableWeight& table : lookups.tables) tensors.push_back(table.values);
    absl::StatusOr<std::vector<Tensor>> want = session->Run(tensors);
    if (want.ok()) {
      state->rounds.push_back({std::move(sample), *std::move(want)});
    } else {
      state->skipped.push_back(absl::StrCat(sample.label, ": ", want.status().message()));
    }
  }
  if (state->rounds.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("verification: the unsplit model refused all inputs, so nothing was compared; give recorded ones "
                     "with --samples; ",
                     state->skipped.empty() ? "" : state->skipped.back()));
  }
  return std::unique_ptr<EmbeddingVerifier>(new EmbeddingVerifier(std::move(state)));
}

absl::Status EmbeddingVerifier::CheckRewriting(const Model& rewritten) {
  const std::unique_ptr<LocalTables> tables = LocalTables::OfWeights(state_->lookups.tables);
  return state_->Run(rewritten, *tables,
                     [](size_t, const Tensor& got, const Tensor& want) { return CompareTensors(got, want); });
}

absl::StatusOr<std::vector<std::pair<std::string, double>>> EmbeddingVerifier::Differences(const Model& rewritten,
                                                                                           const LocalTables& tables) {
  std::vector<std::pair<std::string, double>> differences;
  for (const std::string& name : state_->output_names) differences.emplace_back(name, 0);
  RETURN_IF_ERROR(state_->Run(rewritten, tables, [&](size_t i, const Tensor& got, const Tensor& want) {
    differences[i].second = std::max(differences[i].second, MaxDifference(got, want));
    return absl::OkStatus();
  }));
  return differences;
}

}  // namespace portico
