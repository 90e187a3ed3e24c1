#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>

#include "absl/time/time.h"
#include "base/clock.h"
#include "base/metric_scope.h"
#include "models/graph/graph_plan.h"
#include "remote_op/drift_watch.h"

namespace portico {

/// Watches whether the gate of one `Experts` still does what is expected of it (ExpertsWatch): each expert's share of
/// the rows that are sent, and how evenly the gates are spread. A request pays a few counters. Thread-safe, lock-free
/// but for what is told.
class ExpertsWatcher {
 public:
  static constexpr absl::Duration kJudgeEvery = absl::Seconds(1);

  /// Null where nothing is expected. `clock` and `metrics` must outlive it.
  static std::unique_ptr<ExpertsWatcher> Make(const PortalSpec& spec, const Clock& clock, MetricRegistry& metrics);
  ExpertsWatcher(const PortalSpec& spec, const Clock& clock, MetricRegistry& metrics);

  /// A request came: so many rows, the mean entropy of its gates, -1 where there is none.
  void Came(int64_t rows, double entropy);
  /// Rows went to an expert.
  void Sent(int32_t expert, int64_t rows);

 private:
  /// Entropies are counted in parts of 1.
  static constexpr int64_t kParts = 1000;
  struct Load {
    explicit Load(DriftWatch::Options options) : rows(options.over), drift(std::move(options)) {}
    ShareWindow rows;
    DriftWatch drift;
  };

  void Judge(absl::Time now);

  const Clock& clock_;
  MetricScope scope_;
  /// Rows that were sent to any expert, beside those of each.
  std::optional<ShareWindow> sent_;
  std::deque<Load> loads_;
  std::optional<ShareWindow> entropy_;
  std::optional<DriftWatch> entropy_drift_;
  /// Null where it is not watched.
  Gauge* load_drifted_ = nullptr;
  Gauge* entropy_drifted_ = nullptr;
  std::atomic<int64_t> judge_at_us_{0};
};

}  // namespace portico
