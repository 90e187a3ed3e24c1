#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "base/metric_scope.h"

namespace portico {

/// The figures of one `Cascade`, by portal and target; they go with it. Thread-safe, lock-free but for failures.
class CascadeMetrics {
 public:
  /// `registry` is not owned and must outlive this.
  CascadeMetrics(MetricRegistry& registry, const std::string& portal, const std::string& target)
      : scope_(registry),
        labels_{{"portal", portal}, {"target", target}},
        rows_(scope_.NewCounter("portico_cascade_rows_total", "Rows that came to a cascade.", labels_)),
        escalated_(scope_.NewCounter("portico_cascade_rows_escalated_total",
                                     "Rows of a cascade that were passed on to its full model.", labels_)),
        calls_(
            scope_.NewCounter("portico_cascade_calls_total", "Requests of which a cascade passed rows on.", labels_)),
        saved_(scope_.NewCounter("portico_cascade_rows_saved_total",
                                 "Rows of a cascade that its full model was not asked about.", labels_)) {}

  /// Of one request; the full model is asked about `audited` others, too.
  void Came(size_t rows, size_t escalated, size_t audited = 0) {
    rows_.Add(static_cast<double>(rows));
    if (rows > escalated + audited) saved_.Add(static_cast<double>(rows - escalated - audited));
    if (escalated == 0) return;
    escalated_.Add(static_cast<double>(escalated));
    calls_.Increment();
  }
  /// `kind`: what stands in the rows, one of a few words.
  void Failed(size_t rows, absl::string_view kind) {
    MetricLabels labels = labels_;
    labels.emplace_back("kind", std::string(kind));
    scope_
        .NewCounter("portico_cascade_rows_failed_total",
                    "Rows that a cascade passed on and its full model did not answer, by what stands in them.", labels)
        .Add(static_cast<double>(rows));
  }

 private:
  MetricScope scope_;
  const MetricLabels labels_;
  Counter& rows_;
  Counter& escalated_;
  Counter& calls_;
  Counter& saved_;
};

}  // namespace portico
