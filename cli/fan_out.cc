#include "cli/fan_out.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <functional>
#include <queue>
#include <random>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "base/status_macros.h"

namespace portico {
namespace {

double Draw(const std::vector<std::pair<double, double>>& service, double share) {
  const auto above = std::upper_bound(service.begin(), service.end(), share,
                                      [](double value, const auto& point) { return value < point.first; });
  if (above == service.end()) return service.back().second;
  const auto& [low, from] = *(above - 1);
  return std::exp(std::log(from) + (share - low) / (above->first - low) * (std::log(above->second) - std::log(from)));
}

/// In many small steps: of the logarithm's straight lines.
double MeanOf(const std::vector<std::pair<double, double>>& service) {
  constexpr int kSteps = 100'000;
  double sum = 0;
  for (int i = 0; i < kSteps; ++i) sum += Draw(service, (i + 0.5) / kSteps);
  return sum / kSteps;
}

/// One shard and all calls that it gets. Single use.
class Shard {
 public:
  Shard(const FanOut& fan_out, double hedge_after, uint64_t seed)
      : fan_out_(fan_out), hedge_after_(hedge_after), random_(seed), replicas_(static_cast<size_t>(fan_out.replicas)) {}

  /// How long each call took that arrived at `arrivals`, rising.
  std::vector<double> Run(const std::vector<double>& arrivals) {
    calls_.resize(arrivals.size());
    for (size_t call = 0; call < arrivals.size(); ++call) {
      Until(arrivals[call]);
      calls_[call].arrived = arrivals[call];
      Send(call, Choose(replicas_.size()), arrivals[call]);
      if (hedge_after_ > 0 && replicas_.size() > 1) {
        events_.push({arrivals[call] + hedge_after_, Event::kHedge, call, 0});
      }
    }
    Until(HUGE_VAL);
    std::vector<double> took;
    took.reserve(calls_.size());
    for (const Call& call : calls_) took.push_back(call.took);
    return took;
  }
  int64_t hedges() const { return hedges_; }

 private:
  struct Call {
    double arrived = 0;
    /// Below 0: not answered.
    double took = -1;
    size_t replica = 0;
  };
  struct Event {
    enum Kind { kEnd, kHedge };
    double at;
    Kind kind;
    size_t call;
    size_t replica;
    bool operator>(const Event& other) const { return at > other.at; }
  };
  struct Replica {
    std::deque<size_t> waiting;
    int running = 0;
    size_t busy() const { return waiting.size() + static_cast<size_t>(running); }
  };

  /// The less busy of two, `but` left out.
  size_t Choose(size_t but) {
    const size_t count = replicas_.size() - (but < replicas_.size() ? 1 : 0);
    const auto draw = [&] {
      const size_t drawn = random_() % count;
      return drawn >= but ? drawn + 1 : drawn;
    };
    const size_t one = draw(), other = draw();
    return replicas_[one].busy() <= replicas_[other].busy() ? one : other;
  }

  void Send(size_t call, size_t to, double now) {
    calls_[call].replica = to;
    Replica& replica = replicas_[to];
    if (replica.running < fan_out_.cores) {
      Begin(call, to, now);
    } else {
      replica.waiting.push_back(call);
    }
  }

  void Begin(size_t call, size_t at, double now) {
    ++replicas_[at].running;
    const double share = static_cast<double>(random_() >> 11) * 0x1p-53;
    events_.push({now + Draw(fan_out_.service, share), Event::kEnd, call, at});
  }

  void Until(double now) {
    while (!events_.empty() && events_.top().at <= now) {
      const Event event = events_.top();
      events_.pop();
      Call& call = calls_[event.call];
      if (event.kind == Event::kHedge) {
        if (call.took >= 0) continue;
        ++hedges_;
        Send(event.call, Choose(call.replica), event.at);
        continue;
      }
      if (call.took < 0) call.took = event.at - call.arrived;
      Replica& replica = replicas_[event.replica];
      --replica.running;
      while (!replica.waiting.empty()) {
        const size_t next = replica.waiting.front();
        replica.waiting.pop_front();
        // Answered by the other replica: taken back.
        if (calls_[next].took >= 0) continue;
        Begin(next, event.replica, event.at);
        break;
      }
    }
  }

  const FanOut& fan_out_;
  const double hedge_after_;
  std::mt19937_64 random_;
  std::vector<Replica> replicas_;
  std::vector<Call> calls_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  int64_t hedges_ = 0;
};

std::vector<double> Arrivals(const FanOut& fan_out) {
  const double per_s = fan_out.busy * fan_out.cores * fan_out.replicas / MeanOf(fan_out.service);
  std::mt19937_64 random(fan_out.seed);
  std::exponential_distribution<double> gap(per_s);
  std::vector<double> arrivals(static_cast<size_t>(fan_out.requests));
  double now = 0;
  for (double& at : arrivals) at = now += gap(random);
  return arrivals;
}

double Quantile(std::vector<double> values, double share) {
  const auto at = values.begin() + static_cast<ptrdiff_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

}  // namespace

absl::Status FanOut::Validate() const {
  if (service.size() < 2 || service.front().first != 0 || service.back().first != 1) {
    return absl::InvalidArgumentError(
        "service times: want at least two, for the shares 0 and 1 too, such as 0=20us,1=2ms");
  }
  for (size_t i = 0; i < service.size(); ++i) {
    if (!(service[i].second > 0) ||
        (i > 0 && (service[i].first <= service[i - 1].first || service[i].second < service[i - 1].second))) {
      return absl::InvalidArgumentError(absl::StrCat("service times: got ", service[i].second, " s at share ",
                                                     service[i].first,
                                                     ", want shares that rise and times that do not fall"));
    }
  }
  if (replicas < 1 || cores < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("got ", replicas, " replicas of ", cores, " cores, want at least one"));
  }
  if (!(busy > 0 && busy < 1)) {
    return absl::InvalidArgumentError(absl::StrCat("busy share: got ", busy, ", want more than 0 and less than 1"));
  }
  if (requests < 1000 || requests > 10'000'000) {
    return absl::InvalidArgumentError(absl::StrCat("requests: got ", requests, ", want 1000 to 10000000"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::pair<double, double>>> ParseServiceTimes(absl::string_view text) {
  std::vector<std::pair<double, double>> service;
  for (const absl::string_view point : absl::StrSplit(text, ',', absl::SkipEmpty())) {
    const std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(point, absl::MaxSplits('=', 1));
    double share = 0;
    absl::Duration time;
    if (!absl::SimpleAtod(parts.first, &share) || !(share >= 0 && share <= 1) ||
        !absl::ParseDuration(parts.second, &time)) {
      return absl::InvalidArgumentError(
          absl::StrCat("service times: got '", point, "', want SHARE=TIME such as 0.99=90us"));
    }
    service.emplace_back(share, absl::ToDoubleSeconds(time));
  }
  return service;
}

absl::StatusOr<FanOutResult> SimulateFanOut(const FanOut& fan_out, const std::vector<int>& shards, double hedge_after) {
  RETURN_IF_ERROR(fan_out.Validate());
  const std::vector<double> arrivals = Arrivals(fan_out);
  // A request takes as long as its slowest call.
  std::vector<double> slowest(arrivals.size(), 0);
  FanOutResult result;
  int64_t hedges = 0;
  int simulated = 0;
  for (const int count : shards) {
    for (; simulated < count; ++simulated) {
      Shard shard(fan_out, hedge_after, fan_out.seed * 1'000'003 + static_cast<uint64_t>(simulated) + 1);
      const std::vector<double> took = shard.Run(arrivals);
      for (size_t i = 0; i < took.size(); ++i) slowest[i] = std::max(slowest[i], took[i]);
      hedges += shard.hedges();
    }
    result.latencies.push_back({count, Quantile(slowest, 0.5), Quantile(slowest, 0.99), Quantile(slowest, 0.999)});
  }
  if (simulated > 0) result.hedged = static_cast<double>(hedges) / simulated / static_cast<double>(arrivals.size());
  return result;
}

absl::StatusOr<double> CallLatency(const FanOut& fan_out, double share) {
  RETURN_IF_ERROR(fan_out.Validate());
  return Quantile(Shard(fan_out, 0, fan_out.seed).Run(Arrivals(fan_out)), share);
}

}  // namespace portico
