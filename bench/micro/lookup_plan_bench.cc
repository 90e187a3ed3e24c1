// The calling side of tables alone: 131,072 ids over 30 million rows sorted by shard (plan), and what the shards would
// answer added up (merge). Arguments: shards, ids a bag, whether ids are Zipf's (1.05) or uniform.

#include <benchmark/benchmark.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "base/check.h"
#include "remote_op/lookup_merge.h"

namespace portico {
namespace {

constexpr int64_t kIds = 131'072;
constexpr double kRows = 3e7;
constexpr size_t kDim = 64;

/// One lookup of int8 rows of dim 64 by dense ids.
struct Case {
  explicit Case(const benchmark::State& state)
      : width(state.range(1)), routes("group", static_cast<uint32_t>(state.range(0))) {
    EmbeddingSpec::Lookup lookup;
    lookup.table = "t";
    lookup.dim = kDim;
    lookup.ids = 0;
    spec.lookups = {lookup};
    spec.inputs = 1;
    std::mt19937_64 random(1);
    const double root = std::pow(kRows, -0.05) - 1;
    std::vector<int64_t> ids(kIds);
    for (int64_t& id : ids) {
      const double drawn = static_cast<double>(random() >> 11) * 0x1p-53;
      id = static_cast<int64_t>(state.range(2) == 0 ? drawn * kRows : std::pow(1 + drawn * root, -20));
    }
    inputs = {Tensor::Of<int64_t>({kIds / width, width}, absl::MakeConstSpan(ids))};
  }
  LookupPlan Plan() const {
    const RowType types[] = {RowType::kInt8};
    absl::StatusOr<LookupPlan> plan = LookupPlan::Make(spec, routes, types, inputs);
    PORTICO_CHECK(plan.ok());
    return *std::move(plan);
  }

  const int64_t width;
  const ShardRoutes routes;
  EmbeddingSpec spec;
  std::vector<Tensor> inputs;
};

void BM_LookupPlan(benchmark::State& state) {
  const Case one(state);
  for (auto _ : state) benchmark::DoNotOptimize(one.Plan());
  const LookupPlan plan = one.Plan();
  state.SetLabel(plan.parts()[0].form == LookupForm::kRows ? "rows" : "sums");
  state.SetItemsProcessed(state.iterations() * kIds);
}

void BM_LookupMerge(benchmark::State& state) {
  const Case one(state);
  const LookupPlan plan = one.Plan();
  const bool sums = plan.parts()[0].form == LookupForm::kSums;
  std::vector<ShardAnswer> answers;
  for (const LookupPlan::Share& share : plan.shares()) {
    const LookupPlan::Entry& entry = share.entries[0];
    const size_t bytes = sums ? entry.bags * kDim * sizeof(float) : entry.ids * EncodedBytes(RowType::kInt8, kDim);
    Tensor rows = Tensor::Allocate(DType::kUint8, {static_cast<int64_t>(bytes)});
    std::memset(rows.mutable_bytes(), 0, bytes);
    const Tensor found = Tensor::Of<int64_t>({1, LookupCall::kFoundColumns},
                                             {0, static_cast<int64_t>(RowType::kInt8), int64_t{kDim}, 0});
    absl::StatusOr<ShardAnswer> answer = ShardAnswer::Take(one.spec, plan, share, {rows, found});
    PORTICO_CHECK(answer.ok());
    answers.push_back(*std::move(answer));
  }
  std::vector<const ShardAnswer*> all;
  for (const ShardAnswer& answer : answers) all.push_back(&answer);
  for (auto _ : state) benchmark::DoNotOptimize(MergeLookups(one.spec, plan, all, {}));
  state.SetLabel(sums ? "sums" : "rows");
  state.SetItemsProcessed(state.iterations() * kIds);
}

void Cases(benchmark::internal::Benchmark* bench) {
  for (const int shards : {1, 4, 64}) {
    for (const int width : {1, 32}) {
      for (const int zipf : {0, 1}) bench->Args({shards, width, zipf});
    }
  }
}
BENCHMARK(BM_LookupPlan)->Apply(Cases)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_LookupMerge)->Apply(Cases)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace portico
