// What it costs a request to learn which version its name means, with traffic split and without.
//   build/portico_microbench --benchmark_filter=Route

#include "base/check.h"
#include "benchmark/benchmark.h"
#include "router/live_revisions.h"

namespace portico {
namespace {

/// A model of two versions; `split`: half of the requests to each.
void RunRoute(benchmark::State& state, bool split) {
  Revision revision;
  revision.number = 1;
  Revision::Model model;
  model.name = "digit";
  model.pins = {{1, {}}, {2, {}}};
  revision.models = {model};
  revision.nodes = {{.name = "n", .serve = {"digit"}}};
  if (split) revision.traffic["digit"].arms = {{{"1", "digit", 1}, 50, 50}, {{"2", "digit", 2}, 50, 50}};
  TrafficArms arms(MetricRegistry::Null());
  LiveRevisions live(0, &arms);
  live.Add(RevisionView::Of(revision, revision.nodes[0], &arms));
  live.Flip(1);
  ServableRef ref;
  ref.name = "digit";
  RequestContext context;
  context.revision = 1;
  for (auto _ : state) {
    ++context.draw;
    const auto routed = live.Route(ref, context);
    PORTICO_CHECK(routed.ok());
    benchmark::DoNotOptimize(routed->version);
  }
}

void BM_RouteUnsplit(benchmark::State& state) { RunRoute(state, false); }
BENCHMARK(BM_RouteUnsplit);

void BM_RouteSplitInTwo(benchmark::State& state) { RunRoute(state, true); }
BENCHMARK(BM_RouteSplitInTwo);

}  // namespace
}  // namespace portico
