#include "router/traffic_arms.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "router/revision.h"

namespace portico {
namespace {

/// Upper bounds of differences.
const std::vector<double>& DifferenceBuckets() {
  static const auto* const buckets = new std::vector<double>{0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1, 10, 100};
  return *buckets;
}

}  // namespace

ArmTally::ArmTally(MetricRegistry& metrics, std::string model, std::string arm)
    : metrics_(metrics),
      model_(std::move(model)),
      arm_(std::move(arm)),
      succeeded_(RequestCounter("OK")),
      latency_(metrics_.NewHistogram("portico_traffic_latency_seconds",
                                     "From admission to answer, of requests that succeeded.",
                                     {{"model", model_}, {"arm", arm_}}, LatencyBuckets())) {}

Counter& ArmTally::RequestCounter(absl::string_view code) {
  return metrics_.NewCounter("portico_traffic_requests_total", "Requests that a traffic split gave to an arm, by code.",
                             {{"model", model_}, {"arm", arm_}, {"code", std::string(code)}});
}

void ArmTally::Finished(const absl::Status& status, absl::Duration latency) {
  // Errors are rare enough for a look-up.
  (status.ok() ? succeeded_ : RequestCounter(absl::StatusCodeToString(status.code()))).Increment();
  // Who goes says nothing about the arm.
  if (status.code() == absl::StatusCode::kCancelled) return;
  requests_.fetch_add(1, std::memory_order_relaxed);
  if (!status.ok()) {
    errors_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  const auto us = static_cast<uint64_t>(std::max<int64_t>(absl::ToInt64Microseconds(latency), 0));
  latencies_[LatencyQuantile::BucketOf(us)].fetch_add(1, std::memory_order_relaxed);
  latency_.Observe(absl::ToDoubleSeconds(latency));
}

Counter& ArmTally::CopyCounter(absl::string_view result) {
  return metrics_.NewCounter("portico_shadow_requests_total",
                             "Copies of requests for a shadow, by how its answer compares.",
                             {{"model", model_}, {"shadow", arm_}, {"result", std::string(result)}});
}

void ArmTally::Compared(Copy what, double difference, absl::Duration answer, absl::Duration copy) {
  switch (what) {
    case Copy::kDropped:
      return CopyCounter("dropped").Increment();
    case Copy::kFailed:
      CopyCounter("failed").Increment();
      break;
    case Copy::kAgreed:
      CopyCounter("agreed").Increment();
      break;
    case Copy::kDisagreed:
      CopyCounter("disagreed").Increment();
      break;
  }
  // Who sees a copy as compared sees what came of it.
  if (what != Copy::kAgreed) disagreed_.fetch_add(1, std::memory_order_relaxed);
  compared_.fetch_add(1, std::memory_order_release);
  if (what == Copy::kFailed) return;
  const MetricLabels labels = {{"model", model_}, {"shadow", arm_}};
  if (difference >= 0) {
    metrics_
        .NewHistogram("portico_shadow_difference", "Largest difference between an answer and the shadow's.", labels,
                      DifferenceBuckets())
        .Observe(difference);
  }
  for (const auto& [side, latency] : {std::pair("answer", answer), {"shadow", copy}}) {
    MetricLabels sided = labels;
    sided.emplace_back("side", side);
    metrics_
        .NewHistogram("portico_shadow_latency_seconds", "Of requests that were compared, and of their copies.", sided,
                      LatencyBuckets())
        .Observe(absl::ToDoubleSeconds(latency));
  }
}

absl::Duration QuantileOf(const std::map<size_t, uint64_t>& latencies, double share) {
  uint64_t total = 0, below = 0;
  for (const auto& [bucket, count] : latencies) total += count;
  const auto rank = static_cast<uint64_t>(std::ceil(share * static_cast<double>(total)));
  for (const auto& [bucket, count] : latencies) {
    below += count;
    if (below >= rank) return absl::Microseconds(static_cast<int64_t>(LatencyQuantile::TopOf(bucket)));
  }
  return absl::ZeroDuration();
}

bool ArmTally::EnterCopy(const TrafficSplit::Shadow& limits, int64_t bytes) {
  const int64_t copies = copies_.fetch_add(1, std::memory_order_relaxed) + 1;
  const int64_t total = copy_bytes_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  if (copies <= limits.max_in_flight && total <= int64_t{limits.max_mib} << 20) return true;
  LeaveCopy(bytes);
  return false;
}

void ArmTally::LeaveCopy(int64_t bytes) {
  copies_.fetch_sub(1, std::memory_order_relaxed);
  copy_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
}

ArmCounts ArmTally::Read() const {
  ArmCounts counts;
  counts.model = model_;
  counts.arm = arm_;
  counts.requests = requests_.load(std::memory_order_relaxed);
  counts.errors = errors_.load(std::memory_order_relaxed);
  counts.compared = compared_.load(std::memory_order_acquire);
  counts.disagreed = disagreed_.load(std::memory_order_relaxed);
  for (size_t i = 0; i < latencies_.size(); ++i) {
    if (const uint64_t count = latencies_[i].load(std::memory_order_relaxed); count != 0) counts.latencies[i] = count;
  }
  return counts;
}

std::shared_ptr<ArmTally> TrafficArms::TallyOf(const std::string& model, const std::string& arm) {
  MutexLock lock(&mutex_);
  std::weak_ptr<ArmTally>& known = tallies_[{model, arm}];
  std::shared_ptr<ArmTally> tally = known.lock();
  if (tally == nullptr) known = tally = std::make_shared<ArmTally>(metrics_, model, arm);
  return tally;
}

const TrafficSplit::Target& TrafficView::Heaviest() const {
  const auto lighter = [](const TrafficSplit::Arm& a, const TrafficSplit::Arm& b) { return a.weight < b.weight; };
  return std::max_element(split.arms.begin(), split.arms.end(), lighter)->target;
}

absl::flat_hash_map<std::string, std::shared_ptr<const TrafficView>> TrafficArms::ViewOf(
    const Revision& revision, const std::vector<std::string>& served) {
  absl::flat_hash_map<std::string, std::shared_ptr<const TrafficView>> views;
  for (const auto& [model, split] : revision.traffic) {
    if (std::find(served.begin(), served.end(), model) == served.end()) continue;
    std::shared_ptr<TrafficArm::Copies> copies;
    if (split.shadow.has_value()) {
      copies = std::make_shared<TrafficArm::Copies>(model, *split.shadow);
      copies->tally = TallyOf(model, split.shadow->to.name);
      if (const Revision::Model* to = revision.FindModel(split.shadow->to.model); to != nullptr) {
        for (const Revision::Pin& pin : to->pins) {
          if (pin.version == split.shadow->to.version) copies->digest = pin.digest;
        }
      }
    }
    auto view = std::make_shared<TrafficView>(model, split);
    for (const TrafficSplit::Arm& arm : split.arms) {
      // What the shadow answers itself is not compared with itself.
      const bool copied = copies != nullptr && arm.target != copies->plan.to;
      view->arms.push_back(
          MakeRef<TrafficArm>(model, arm.target, TallyOf(model, arm.target.name), copied ? copies : nullptr));
    }
    views.emplace(model, std::move(view));
  }
  MutexLock lock(&mutex_);
  for (auto it = tallies_.begin(); it != tallies_.end();) {
    it = it->second.expired() ? tallies_.erase(it) : std::next(it);
  }
  return views;
}

std::vector<ArmCounts> TrafficArms::Read() const {
  std::vector<std::shared_ptr<ArmTally>> tallies;
  {
    MutexLock lock(&mutex_);
    for (const auto& [key, tally] : tallies_) tallies.push_back(tally.lock());
  }
  std::vector<ArmCounts> counts;
  for (const auto& tally : tallies) {
    if (tally != nullptr) counts.push_back(tally->Read());
  }
  return counts;
}

}  // namespace portico
