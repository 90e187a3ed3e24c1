#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/digest.h"
#include "base/metric.h"
#include "base/metric_scope.h"
#include "base/mutex.h"
#include "base/request_arm.h"
#include "router/latency_quantile.h"
#include "router/traffic.h"
#include "router/traffic_draw.h"

namespace portico {

struct Revision;

/// What one arm has done in one process since it began, and how copies that it was sent as a shadow compared. A value.
struct ArmCounts {
  std::string model;
  std::string arm;
  uint64_t requests = 0;
  /// Of them, those that failed; cancelled ones are not counted at all.
  uint64_t errors = 0;
  /// Bucket of LatencyQuantile → requests that were answered.
  std::map<size_t, uint64_t> latencies;
  /// Copies whose answers were compared, and those whose answers differed or did not come.
  uint64_t compared = 0;
  uint64_t disagreed = 0;
  friend bool operator==(const ArmCounts&, const ArmCounts&) = default;
};
/// The latency that `share` of those requests did not exceed, to 6 %; zero without any.
absl::Duration QuantileOf(const std::map<size_t, uint64_t>& latencies, double share);

/// Counts of one arm; they outlive the revisions that name it. Thread-safe, lock-free where nothing fails.
class ArmTally {
 public:
  enum class Copy { kAgreed, kDisagreed, kFailed, kDropped };

  ArmTally(MetricRegistry& metrics, std::string model, std::string arm);

  void Finished(const absl::Status& status, absl::Duration latency);
  /// A copy that it was sent as a shadow. `difference`: the largest; negative: none is known.
  void Compared(Copy what, double difference, absl::Duration answer, absl::Duration copy);
  ArmCounts Read() const;

  /// A copy that holds so many bytes is about to be made; false: there are enough. One LeaveCopy() is owed.
  bool EnterCopy(const TrafficSplit::Shadow& limits, int64_t bytes);
  void LeaveCopy(int64_t bytes);

 private:
  Counter& RequestCounter(absl::string_view code);
  Counter& CopyCounter(absl::string_view result);

  MetricScope metrics_;
  const std::string model_;
  const std::string arm_;
  Counter& succeeded_;
  Histogram& latency_;
  std::atomic<uint64_t> requests_{0};
  std::atomic<uint64_t> errors_{0};
  std::atomic<uint64_t> compared_{0};
  std::atomic<uint64_t> disagreed_{0};
  std::atomic<int64_t> copies_{0};
  std::atomic<int64_t> copy_bytes_{0};
  std::array<std::atomic<uint64_t>, LatencyQuantile::kBuckets> latencies_{};
};

/// An arm of one revision's split, as requests hold it.
class TrafficArm final : public RequestArm {
 public:
  /// What copies are made of, where they are; shared by the arms of a split.
  struct Copies {
    Copies(absl::string_view model, const TrafficSplit::Shadow& shadow) : plan(shadow), draw(model, shadow) {}

    const TrafficSplit::Shadow plan;
    const ShadowDraw draw;
    Digest digest;
    std::shared_ptr<ArmTally> tally;
  };

  TrafficArm(std::string model, TrafficSplit::Target target, std::shared_ptr<ArmTally> tally,
             std::shared_ptr<const Copies> copies)
      : model_(std::move(model)), target_(std::move(target)), tally_(std::move(tally)), copies_(std::move(copies)) {}

  /// The arm of a request; null: none. (All arms of requests are of this class.)
  static const TrafficArm* Of(const RequestContext& context) {
    return static_cast<const TrafficArm*>(context.arm.get());
  }

  absl::string_view name() const override { return target_.name; }
  void Finished(const absl::Status& status, absl::Duration latency) const override {
    tally_->Finished(status, latency);
  }
  /// The model that was asked for.
  const std::string& model() const { return model_; }
  const TrafficSplit::Target& target() const { return target_; }
  /// Null: its requests are not copied.
  const std::shared_ptr<const Copies>& copies() const { return copies_; }

 private:
  const std::string model_;
  const TrafficSplit::Target target_;
  const std::shared_ptr<ArmTally> tally_;
  const std::shared_ptr<const Copies> copies_;
};

/// The split of one name in one revision, with its arms ready for requests. Immutable.
struct TrafficView {
  /// `model`: that is asked for.
  TrafficView(absl::string_view model, const TrafficSplit& split) : split(split), draw(model, split) {}

  const TrafficSplit split;
  const TrafficDraw draw;
  std::vector<Ref<const TrafficArm>> arms;

  /// The version that most requests get.
  const TrafficSplit::Target& Heaviest() const;
  /// The arm for a request for the model.
  const Ref<const TrafficArm>& Choose(const RequestContext& context) const { return arms[draw.Pick(context)]; }
};

/// Where counts of arms live, by model and arm. Thread-safe; outlives the views that it makes.
class TrafficArms {
 public:
  /// `metrics` is not owned and must outlive it.
  explicit TrafficArms(MetricRegistry& metrics) : metrics_(metrics) {}

  /// By the model that is asked for: those among `served`. Pins of `revision` say the digests of shadows.
  absl::flat_hash_map<std::string, std::shared_ptr<const TrafficView>> ViewOf(const Revision& revision,
                                                                              const std::vector<std::string>& served);
  /// Of all arms and shadows that some revision in use names.
  std::vector<ArmCounts> Read() const;

 private:
  std::shared_ptr<ArmTally> TallyOf(const std::string& model, const std::string& arm);

  MetricRegistry& metrics_;
  mutable Mutex mutex_;
  std::map<std::pair<std::string, std::string>, std::weak_ptr<ArmTally>> tallies_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
