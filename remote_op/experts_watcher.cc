#include "remote_op/experts_watcher.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "models/graph/portal_spec.h"

namespace portico {
namespace {

constexpr absl::string_view kRemedy =
    "what comes in is not what the gate was trained on: look at it, train the gate again, or say what to expect now";

}  // namespace

std::unique_ptr<ExpertsWatcher> ExpertsWatcher::Make(const PortalSpec& spec, const Clock& clock,
                                                     MetricRegistry& metrics) {
  return spec.experts->watch.on() ? std::make_unique<ExpertsWatcher>(spec, clock, metrics) : nullptr;
}

ExpertsWatcher::ExpertsWatcher(const PortalSpec& spec, const Clock& clock, MetricRegistry& metrics)
    : clock_(clock), scope_(metrics) {
  const ExpertsWatch& watch = spec.experts->watch;
  const std::string context = absl::StrCat("portal '", spec.node_name, "' to ", TargetNames(spec));
  const auto options = [&](std::string what, double expected, double within) {
    return DriftWatch::Options{
        absl::StrCat(context, ": ", what), expected, within, false, watch.over, std::string(kRemedy)};
  };
  const auto gauge = [&](const char* what) {
    return &scope_.NewGauge("portico_experts_drifted", "1 while a gate does not do what is expected of it.",
                            {{"portal", spec.node_name}, {"what", what}});
  };
  if (!watch.load.empty()) {
    sent_.emplace(watch.over);
    for (size_t i = 0; i < watch.load.size(); ++i) {
      loads_.emplace_back(options(absl::StrCat("rows that are sent to '", spec.experts->targets[i].name, "'"),
                                  watch.load[i], watch.LoadWithin(i)));
    }
    load_drifted_ = gauge("load");
  }
  if (watch.entropy >= 0) {
    entropy_.emplace(watch.over);
    entropy_drift_.emplace(options("entropy of the gates", watch.entropy, watch.entropy_within));
    entropy_drifted_ = gauge("entropy");
  }
}

void ExpertsWatcher::Came(int64_t rows, double entropy) {
  const absl::Time now = clock_.Now();
  if (entropy_.has_value() && entropy >= 0) {
    entropy_->Add(now, kParts * rows, std::llround(static_cast<double>(kParts * rows) * entropy));
  }
  const int64_t now_us = absl::ToUnixMicros(now);
  int64_t due = judge_at_us_.load(std::memory_order_relaxed);
  if (now_us < due || !judge_at_us_.compare_exchange_strong(due, now_us + absl::ToInt64Microseconds(kJudgeEvery),
                                                            std::memory_order_relaxed)) {
    return;
  }
  Judge(now);
}

void ExpertsWatcher::Sent(int32_t expert, int64_t rows) {
  if (!sent_.has_value()) return;
  const absl::Time now = clock_.Now();
  sent_->Add(now, rows, 0);
  loads_[static_cast<size_t>(expert)].rows.Add(now, rows, rows);
}

void ExpertsWatcher::Judge(absl::Time now) {
  if (sent_.has_value()) {
    const int64_t sent = sent_->Sum(now).trials;
    bool drifted = false;
    for (Load& load : loads_) drifted |= load.drift.Judge({sent, std::min(load.rows.Sum(now).hits, sent)});
    load_drifted_->Set(drifted ? 1 : 0);
  }
  if (entropy_.has_value()) {
    const ShareWindow::Counts parts = entropy_->Sum(now);
    entropy_drifted_->Set(entropy_drift_->Judge({parts.trials / kParts, parts.hits / kParts}) ? 1 : 0);
  }
}

}  // namespace portico
