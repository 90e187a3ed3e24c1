#pragma once

#include <string>
#include <vector>

#include "base/metric_scope.h"

namespace portico {

/// The figures of a cascade that is watched, by portal and target; they go with it. Thread-safe, lock-free but for what
/// fails. What concerns what was not declared is not made.
class CascadeWatchMetrics {
 public:
  struct What {
    bool audits = false;
    bool expects_escalated = false;
    bool expects_agreement = false;
    bool browns_out = false;
    /// Outputs that are compared.
    std::vector<std::string> outputs;
  };

  /// `registry` is not owned and must outlive this.
  CascadeWatchMetrics(MetricRegistry& registry, const std::string& portal, const std::string& target, const What& what)
      : scope_(registry), labels_{{"portal", portal}, {"target", target}} {
    if (what.audits) {
      audited_ = Count("portico_cascade_rows_audited_total",
                       "Rows that kept the cheap answer and of which the full model was asked in the shadow.");
      disagreed_ = Count("portico_cascade_rows_disagreed_total",
                         "Audited rows of which the full model says something else than the cheap answer.");
      compared_ = Count("portico_cascade_rows_compared_total",
                        "Rows passed on whose cheap answer was compared with the full model's.");
      changed_ = Count("portico_cascade_rows_changed_total",
                       "Compared rows of which the full model says something else than the cheap answer.");
      for (const std::string& output : what.outputs) {
        outputs_.push_back(&scope_.NewCounter("portico_cascade_outputs_disagreed_total",
                                              "Audited rows by the output in which the full model disagrees.",
                                              With("output", output)));
      }
    }
    escalated_share_ = Level("portico_cascade_share", "Shares of a cascade's rows, of late.", "escalated");
    saved_share_ = Level("portico_cascade_share", "Shares of a cascade's rows, of late.", "saved");
    if (what.audits) {
      agreement_share_ = Level("portico_cascade_share", "Shares of a cascade's rows, of late.", "agreement");
    }
    const std::string drift = "1 while a cascade's share is not what it was tuned to.";
    if (what.expects_escalated) escalated_drifted_ = Level("portico_cascade_drifted", drift, "escalated");
    if (what.expects_agreement) agreement_drifted_ = Level("portico_cascade_drifted", drift, "agreement");
    if (what.browns_out) {
      shed_ = Count("portico_cascade_rows_shed_total",
                    "Rows that kept the cheap answer since the full model was overloaded.");
      shed_share_ = &scope_.NewGauge("portico_cascade_brown_out_share",
                                     "Share of the rows to be passed on that keep the cheap answer now, since the full "
                                     "model is overloaded.",
                                     labels_);
    }
  }

  /// `why`: "bound", "busy" or "failed".
  void Dropped(size_t rows, absl::string_view why) {
    scope_
        .NewCounter("portico_cascade_audits_dropped_total", "Rows that were drawn for an audit and not compared.",
                    With("why", std::string(why)))
        .Add(static_cast<double>(rows));
  }

  // Those that were not declared are null.

  Counter* audited() const { return audited_; }
  Counter* disagreed() const { return disagreed_; }
  Counter* compared() const { return compared_; }
  Counter* changed() const { return changed_; }
  /// By output.
  const std::vector<Counter*>& outputs() const { return outputs_; }
  Counter* shed() const { return shed_; }
  Gauge* escalated_share() const { return escalated_share_; }
  Gauge* saved_share() const { return saved_share_; }
  Gauge* agreement_share() const { return agreement_share_; }
  Gauge* escalated_drifted() const { return escalated_drifted_; }
  Gauge* agreement_drifted() const { return agreement_drifted_; }
  Gauge* shed_share() const { return shed_share_; }

 private:
  MetricLabels With(std::string label, std::string value) const {
    MetricLabels labels = labels_;
    labels.emplace_back(std::move(label), std::move(value));
    return labels;
  }
  Counter* Count(absl::string_view name, absl::string_view help) { return &scope_.NewCounter(name, help, labels_); }
  Gauge* Level(absl::string_view name, absl::string_view help, std::string what) {
    return &scope_.NewGauge(name, help, With("what", std::move(what)));
  }

  MetricScope scope_;
  const MetricLabels labels_;
  Counter* audited_ = nullptr;
  Counter* disagreed_ = nullptr;
  Counter* compared_ = nullptr;
  Counter* changed_ = nullptr;
  std::vector<Counter*> outputs_;
  Counter* shed_ = nullptr;
  Gauge* escalated_share_ = nullptr;
  Gauge* saved_share_ = nullptr;
  Gauge* agreement_share_ = nullptr;
  Gauge* escalated_drifted_ = nullptr;
  Gauge* agreement_drifted_ = nullptr;
  Gauge* shed_share_ = nullptr;
};

}  // namespace portico
