// What hedging does for the slowest calls, and what it costs: two replicas answer after a millisecond, one call in a
// hundred after a hundred. Replicas and client are two processes; an open loop sends.

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/event_thread.h"
#include "base/mutex.h"
#include "bench/load_generator.h"
#include "bench/scenarios.h"
#include "bench/server_process.h"
#include "node/observe/metrics.h"
#include "router/router.h"
#include "router/static_resolver.h"
#include "transport/transport.h"

namespace portico::bench {
namespace {

constexpr int kRounds = 5;
constexpr double kCallsPerSecond = 1000;
constexpr absl::Duration kRound = absl::Seconds(2);
constexpr absl::Duration kWarmUp = absl::Milliseconds(500);
constexpr absl::Duration kUsual = absl::Milliseconds(1);
constexpr absl::Duration kSlow = absl::Milliseconds(100);
constexpr double kSlowShare = 0.01;

// --- The child: both replicas ---

/// Answers after a while; what is cancelled before, it drops.
class SlowReplica final : public CallHandler {
 public:
  void OnCall(PeerMessage call, PeerReply reply) override {
    static thread_local std::mt19937_64 random{std::random_device{}()};
    const bool slow = std::bernoulli_distribution(kSlowShare)(random);
    const Key key(call.connection, call.header.call_id);
    // Under the lock, so that the answer does not come before its entry.
    MutexLock lock(&mutex_);
    waiting_[key] = answers_.At(Clock::Real().Now() + (slow ? kSlow : kUsual),
                                [this, key, reply = std::move(reply), tensors = std::move(call.tensors)]() mutable {
                                  {
                                    MutexLock lock(&mutex_);
                                    if (waiting_.erase(key) == 0) return;
                                  }
                                  reply(PeerHeader(), tensors);
                                });
  }
  void OnCancel(uint64_t connection, uint64_t call_id) override {
    EventThread::TimerId timer;
    {
      MutexLock lock(&mutex_);
      const auto found = waiting_.find({connection, call_id});
      if (found == waiting_.end()) return;
      timer = found->second;
      waiting_.erase(found);
    }
    answers_.Drop(timer);
  }

 private:
  using Key = std::pair<uint64_t, uint64_t>;
  Mutex mutex_;
  absl::flat_hash_map<Key, EventThread::TimerId> waiting_ ABSL_GUARDED_BY(mutex_);
  EventThread answers_{"answers", Clock::Real()};
};

/// Says the endpoints on `out`, then serves until `in` is closed.
[[noreturn]] void ServeReplicas(int in, int out) {
  SlowReplica replicas[2];
  const auto transport = NewTransports({}, Clock::Real());
  std::vector<std::unique_ptr<Listener>> listeners;
  std::string endpoints;
  for (SlowReplica& replica : replicas) {
    ListenOptions options;
    options.self.incarnation = 1;
    options.self.node = "bench";
    auto listener = transport->Listen("tcp://127.0.0.1:0", replica, options);
    PORTICO_CHECK(listener.ok());
    absl::StrAppend(&endpoints, (*listener)->endpoint(), "\n");
    listeners.push_back(*std::move(listener));
  }
  PORTICO_CHECK(write(out, endpoints.data(), endpoints.size()) == static_cast<ssize_t>(endpoints.size()));
  ServerProcess::EndWith(in);
}

// --- The client ---

/// A router with one way to hedge, and what its calls took.
class Client {
 public:
  Client(const ServerProcess& replicas, const HedgePolicy& hedge)
      : metrics_(PrometheusMetrics::Create()),
        transport_(NewTransports({}, Clock::Real())),
        resolver_(std::map<std::string, std::vector<std::string>>{{"m", {replicas.first(), replicas.second()}}}) {
    Router::Options options;
    options.default_policy.hedge = hedge;
    router_ = *Router::Create(std::move(options), *transport_, resolver_, Clock::Real(), *metrics_);
    target_.servable.name = "m";
    router_->Warm(target_);
  }

  /// Not counted as to latency: a percentile has to be learned first.
  void WarmUp() { Run(/*seed=*/1000, kWarmUp, &warm_up_); }
  void RunRound(uint64_t seed) { Run(seed, kRound, &result_); }
  const LoadResult& result() const { return result_; }
  double Milliseconds(double share) const { return absl::ToDoubleMilliseconds(result_.latency.Percentile(share)); }
  /// `counter` per hundred calls, those of the warm-up included.
  double PercentOf(absl::string_view counter) const {
    const std::string text = metrics_->Expose();
    const std::string series = absl::StrCat(counter, "{target=\"m\"} ");
    const size_t at = text.find(series);
    const double count = at == std::string::npos ? 0 : std::strtod(text.c_str() + at + series.size(), nullptr);
    return 100 * count / static_cast<double>(result_.sent + warm_up_.sent);
  }

 private:
  void Run(uint64_t seed, absl::Duration duration, LoadResult* result) {
    OpenLoad load;
    load.calls_per_second = kCallsPerSecond;
    load.duration = duration;
    load.seed = seed;
    GenerateLoad(
        load,
        [this](absl::AnyInvocable<void(const absl::Status&)> done) {
          auto context = MakeRef<RequestContext>();
          context->deadline = Deadline::In(absl::Seconds(5), Clock::Real());
          router_->Call(target_, context, absl::MakeConstSpan(&payload_, 1),
                        [done = std::move(done)](absl::StatusOr<PeerMessage> reply) mutable { done(reply.status()); });
        },
        result);
  }

  const std::unique_ptr<PrometheusMetrics> metrics_;
  const std::unique_ptr<Transport> transport_;
  const StaticResolver resolver_;
  RouteTarget target_;
  const Tensor payload_ = Tensor::CopyOf(DType::kUint8, {64}, std::string(64, 'x'));
  LoadResult warm_up_, result_;
  std::unique_ptr<Router> router_;
};

void RunHedging(Report& report) {
  const ServerProcess replicas(ServeReplicas);
  HedgePolicy fixed, learned;
  fixed.after = absl::Milliseconds(5);
  learned.percentile = 95;
  Client plain(replicas, HedgePolicy());
  Client after_5ms(replicas, fixed);
  Client after_p95(replicas, learned);
  for (Client* client : {&plain, &after_5ms, &after_p95}) client->WarmUp();
  for (uint64_t round = 0; round < kRounds; ++round) {
    for (Client* client : {&plain, &after_5ms, &after_p95}) client->RunRound(round);
  }
  for (const auto& [name, client] : {std::pair("5ms", &after_5ms), std::pair("p95", &after_p95)}) {
    // Of the calls without hedging just about 1 % are slow, so that their p99 may be either; p99.5 is not.
    const struct {
      const char* name;
      double share;
      double at_most;
    } quantiles[] = {{"p50", 0.5, 0}, {"p99", 0.99, 0}, {"p995", 0.995, 0.25}, {"p999", 0.999, 0.5}};
    for (const auto& quantile : quantiles) {
      Figure figure;
      figure.name = absl::StrCat("hedge.", name, ".", quantile.name, "_ms");
      figure.unit = "ms";
      figure.value = client->Milliseconds(quantile.share);
      figure.baseline = plain.Milliseconds(quantile.share);
      figure.ratio = figure.value / figure.baseline;
      figure.at_most = quantile.at_most;
      report.Add(figure);
    }
    Figure added;
    added.name = absl::StrCat("hedge.", name, ".calls_added");
    added.unit = "%";
    added.value = client->PercentOf("portico_portal_hedges_total");
    added.at_most = 6;
    added.aim_on_ratio = false;
    report.Add(added);
    Figure refused;
    refused.name = absl::StrCat("hedge.", name, ".refused");
    refused.unit = "%";
    refused.value = client->PercentOf("portico_portal_hedges_refused_total");
    report.Add(refused);
    Figure failed;
    failed.name = absl::StrCat("hedge.", name, ".failed");
    failed.unit = "calls";
    failed.value = static_cast<double>(client->result().failed);
    failed.baseline = static_cast<double>(plain.result().failed);
    report.Add(failed);
  }
}

}  // namespace

std::vector<Scenario> HedgeScenarios() {
  return {{"hedge", "one call in a hundred slowed 100 times, two replicas: without hedging, after 5 ms, after p95",
           RunHedging}};
}

}  // namespace portico::bench
