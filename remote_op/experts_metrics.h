#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/metric_scope.h"
#include "models/graph/portal_target.h"
#include "router/expert_balance.h"

namespace portico {

/// The figures of one `Experts`, by portal; they go with it. Thread-safe, lock-free.
class ExpertsMetrics {
 public:
  /// Experts with series of their own; those beyond count as "other".
  static constexpr size_t kMaxSeries = 256;

  /// `registry` is not owned and must outlive this.
  ExpertsMetrics(MetricRegistry& registry, const std::string& portal, const std::vector<PortalTarget>& experts);

  /// A request came: its rows, of which so many have no usable gate or did not find room with one of their best; the
  /// mean entropy of its gates, −1 where there is none.
  void Came(int64_t rows, int64_t overflowed, double entropy);
  /// A call to an expert went out.
  void Sent(int32_t expert, int64_t rows);
  /// Rows that were answered by fewer experts than k, or by none.
  void Ended(int64_t fewer, int64_t failed);

 private:
  MetricScope scope_;
  Counter& requests_;
  Counter& rows_;
  Counter& calls_;
  Counter& overflowed_;
  Counter& fewer_;
  Counter& failed_;
  Histogram& entropy_;
  Gauge& variation_;
  Gauge& busiest_;
  /// By expert.
  std::vector<Counter*> rows_of_;
  ExpertBalance balance_;
};

}  // namespace portico
