// Rows that callers keep: what a look costs, in batches as a plan makes them, and what it costs to keep one. Arguments:
// MiB of the cache, bytes of a row.

#include <benchmark/benchmark.h>

#include <random>
#include <string>
#include <vector>

#include "base/check.h"
#include "embedding/row_cache.h"

namespace portico {
namespace {

constexpr size_t kBatch = 4096;
constexpr RowType kType = RowType::kInt8;

/// A full cache, shared by the threads of a run, and ids of which all or none are kept.
struct Full {
  explicit Full(const benchmark::State& state) : row_bytes(static_cast<size_t>(state.range(1))) {
    auto made = RowCache::Create(static_cast<uint64_t>(state.range(0)) << 20);
    PORTICO_CHECK(made.ok());
    cache = *std::move(made);
    const std::string row(row_bytes, 'r');
    const uint64_t count = cache->max_bytes() / (row_bytes + 64);
    for (int round = 0; round < 2; ++round) {
      for (uint64_t id = 0; id < count; ++id) cache->Put({1, id, {}}, 1, kType, row_bytes, row.data(), 1);
    }
    std::string out(row_bytes, '\0');
    for (uint64_t id = 0; id < count; ++id) {
      const RowCache::Key key{1, id, {}};
      if (cache->Last(cache->Locate(key, kType, row_bytes), key, out.data()).origin != 0) kept.push_back(id);
    }
    PORTICO_CHECK(kept.size() > kBatch);
  }
  const size_t row_bytes;
  std::shared_ptr<RowCache> cache;
  std::vector<uint64_t> kept;
};

std::shared_ptr<Full> full;

void SetUp(const benchmark::State& state) { full = std::make_shared<Full>(state); }
void TearDown(const benchmark::State&) { full = nullptr; }

/// Looks for a batch of ids, sets fetched sixteen ids ahead and slots eight.
uint64_t Look(const std::vector<RowCache::Key>& keys, char* out) {
  const RowCache& cache = *full->cache;
  RowCache::Place places[16];
  uint64_t found = 0;
  for (size_t i = 0; i < keys.size() + 16; ++i) {
    if (i >= 16) found += cache.Read(places[i % 16], keys[i - 16], 1, out + (i - 16) * full->row_bytes);
    if (i < keys.size()) places[i % 16] = cache.Locate(keys[i], kType, full->row_bytes);
    if (i >= 8 && i - 8 < keys.size()) cache.Fetch(places[(i - 8) % 16]);
  }
  return found;
}

void Run(benchmark::State& state, bool kept) {
  std::mt19937_64 random(static_cast<unsigned>(state.thread_index()));
  std::vector<char> out(kBatch * full->row_bytes);
  std::vector<RowCache::Key> keys(kBatch);
  uint64_t found = 0;
  for (auto _ : state) {
    state.PauseTiming();
    for (RowCache::Key& key : keys) key = {1, kept ? full->kept[random() % full->kept.size()] : random(), {}};
    state.ResumeTiming();
    found += Look(keys, out.data());
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kBatch));
  state.counters["found"] = benchmark::Counter(
      static_cast<double>(found) / static_cast<double>(state.iterations() * kBatch), benchmark::Counter::kAvgThreads);
}

void BM_RowCacheHit(benchmark::State& state) { Run(state, true); }
void BM_RowCacheMiss(benchmark::State& state) { Run(state, false); }

/// Rows that nobody asked for before: they are looked at, and not kept.
void BM_RowCachePut(benchmark::State& state) {
  std::mt19937_64 random(static_cast<unsigned>(state.thread_index()));
  const std::string row(full->row_bytes, 'r');
  for (auto _ : state) full->cache->Put({1, random(), {}}, 1, kType, full->row_bytes, row.data(), 1);
  state.SetItemsProcessed(state.iterations());
}

void Cases(benchmark::internal::Benchmark* bench) {
  for (const int mib : {8, 256}) {
    for (const int bytes : {72, 256}) bench->Args({mib, bytes});
  }
  bench->Setup(SetUp)->Teardown(TearDown)->Threads(1)->Threads(2)->UseRealTime();
}
BENCHMARK(BM_RowCacheHit)->Apply(Cases);
BENCHMARK(BM_RowCacheMiss)->Apply(Cases);
BENCHMARK(BM_RowCachePut)->Apply(Cases);

}  // namespace
}  // namespace portico
