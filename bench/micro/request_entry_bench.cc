// What tracing costs a request: from the client's headers to the answer, without the work in between.
//   build/portico_microbench --benchmark_filter=RequestEntry

#include <memory>

#include "base/check.h"
#include "benchmark/benchmark.h"
#include "node/frontend/request_entry.h"
#include "node/node.h"

namespace portico {
namespace {

/// A request without traceparent that is answered at once.
void RunEntries(benchmark::State& state, const Traces::Options& options) {
  auto node = Node::Start({.name = "bench"});
  PORTICO_CHECK(node.ok());
  const Access access;
  Traces traces(options, MetricRegistry::Null(), nullptr);
  const Entrance entrance{(*node)->inference(), traces, access};
  for (auto _ : state) {
    RequestEntry entry(entrance);
    PORTICO_CHECK(entry.Start([](absl::string_view) { return absl::string_view(); }, Deadline()).ok());
    benchmark::DoNotOptimize(entry.Finish(""));
  }
}

void BM_RequestEntryTracesOff(benchmark::State& state) {
  RunEntries(state, {.slow = absl::ZeroDuration(), .sample = 0});
}
BENCHMARK(BM_RequestEntryTracesOff);

void BM_RequestEntryKeepsSlow(benchmark::State& state) { RunEntries(state, {.sample = 0}); }
BENCHMARK(BM_RequestEntryKeepsSlow);

void BM_RequestEntryByDefault(benchmark::State& state) { RunEntries(state, {}); }
BENCHMARK(BM_RequestEntryByDefault);

void BM_RequestEntrySampled(benchmark::State& state) { RunEntries(state, {.sample = 1}); }
BENCHMARK(BM_RequestEntrySampled);

}  // namespace
}  // namespace portico
