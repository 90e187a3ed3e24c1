// What each request pays for learning which version its model's name means: one lock for all threads against one copy
// of the table for each, with 1,000 models.
//   build/portico_microbench --benchmark_filter=ServingTable

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "node/servables/serving_table.h"

namespace portico {
namespace {

constexpr int kModels = 1000;

/// Pointers that are compared and counted, never followed.
std::shared_ptr<const Servable> Stand(const std::shared_ptr<int>& owner) {
  return {owner, reinterpret_cast<const Servable*>(owner.get())};
}

const ServingTable& TableOf(int copies) {
  static const auto make = [](int count) {
    auto table = std::make_unique<ServingTable>(Clock::Real(), count);
    for (int i = 0; i < kModels; ++i) {
      auto model = std::make_shared<ServingModel>();
      model->versions = {{1, Stand(std::make_shared<int>(1))}, {2, Stand(std::make_shared<int>(2))}};
      table->Set(absl::StrCat("model-", i), model);
    }
    return table;
  };
  static const std::unique_ptr<ServingTable> one = make(1);
  static const std::unique_ptr<ServingTable> many = make(0);
  return copies == 1 ? *one : *many;
}

void BM_ServingTableFind(benchmark::State& state) {
  const ServingTable& table = TableOf(static_cast<int>(state.range(0)));
  // Each thread has a model of its own: only the table is shared.
  const ServableRef ref{.name = absl::StrCat("model-", state.thread_index())};
  for (auto _ : state) benchmark::DoNotOptimize(table.Find(ref));
}
BENCHMARK(BM_ServingTableFind)->ArgName("copies")->Arg(1)->Arg(0)->ThreadRange(1, 16)->UseRealTime();

}  // namespace
}  // namespace portico
