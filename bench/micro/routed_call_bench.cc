// What routing costs a call that is answered at once: picking, budgets, hooks, metrics; with and without hedging. The
// transport is the one within a process, whose own cost stands beside it.
//   build/portico_microbench --benchmark_filter=RoutedCall

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "benchmark/benchmark.h"
#include "node/observe/metrics.h"
#include "router/router.h"
#include "router/static_resolver.h"

namespace portico {
namespace {

class Echo final : public CallHandler {
 public:
  void OnCall(PeerMessage call, PeerReply reply) override { reply(PeerHeader(), call.tensors); }
};

/// Two replicas within the process.
struct Replicas {
  Replicas() {
    for (const char* endpoint : {"inproc://a", "inproc://b"}) {
      auto listener = transport->Listen(endpoint, echo, {});
      PORTICO_CHECK(listener.ok());
      listeners.push_back(*std::move(listener));
    }
  }
  Echo echo;
  const std::unique_ptr<Transport> transport = NewInprocTransport(Clock::Real());
  std::vector<std::unique_ptr<Listener>> listeners;
};

const Tensor kPayload = Tensor::CopyOf(DType::kUint8, {64}, std::string(64, 'x'));

void BM_RoutedCallNone(benchmark::State& state) {
  Replicas replicas;
  auto channel = replicas.transport->Connect("inproc://a", {});
  PORTICO_CHECK(channel.ok());
  PeerHeader header;
  header.servable = "m";
  for (auto _ : state) {
    (*channel)->Call(header, absl::MakeConstSpan(&kPayload, 1), Deadline::In(absl::Seconds(60), Clock::Real()),
                     [](absl::StatusOr<PeerMessage> reply) { PORTICO_CHECK(reply.ok()); });
  }
}
BENCHMARK(BM_RoutedCallNone);

void RunRouted(benchmark::State& state, const HedgePolicy& hedge) {
  Replicas replicas;
  const StaticResolver resolver(std::map<std::string, std::vector<std::string>>{{"m", {"inproc://a", "inproc://b"}}});
  const auto metrics = PrometheusMetrics::Create();
  Router::Options options;
  options.default_policy.hedge = hedge;
  const auto router = *Router::Create(std::move(options), *replicas.transport, resolver, Clock::Real(), *metrics);
  RouteTarget target;
  target.servable.name = "m";
  const auto context = MakeRef<const RequestContext>();
  for (auto _ : state) {
    router->Call(target, context, absl::MakeConstSpan(&kPayload, 1),
                 [](absl::StatusOr<PeerMessage> reply) { PORTICO_CHECK(reply.ok()); });
  }
}

void BM_RoutedCallByDefault(benchmark::State& state) { RunRouted(state, {}); }
BENCHMARK(BM_RoutedCallByDefault);

void BM_RoutedCallHedgedAfterATime(benchmark::State& state) { RunRouted(state, {.after = absl::Milliseconds(20)}); }
BENCHMARK(BM_RoutedCallHedgedAfterATime);

void BM_RoutedCallHedgedAfterAPercentile(benchmark::State& state) { RunRouted(state, {.percentile = 95}); }
BENCHMARK(BM_RoutedCallHedgedAfterAPercentile);

}  // namespace
}  // namespace portico
