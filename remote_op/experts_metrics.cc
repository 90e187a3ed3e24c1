#include "remote_op/experts_metrics.h"

#include "absl/strings/str_cat.h"

namespace portico {
namespace {

const std::vector<double>& Tenths() {
  static const auto& tenths = *new std::vector<double>{0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1};
  return tenths;
}

}  // namespace

ExpertsMetrics::ExpertsMetrics(MetricRegistry& registry, const std::string& portal,
                               const std::vector<PortalTarget>& experts)
    : scope_(registry),
      requests_(scope_.NewCounter("portico_experts_requests_total", "Requests that came to a portal of experts.",
                                  {{"portal", portal}})),
      rows_(scope_.NewCounter("portico_experts_rows_total", "Rows that came to a portal of experts.",
                              {{"portal", portal}})),
      calls_(scope_.NewCounter("portico_experts_calls_total", "Calls that went out to experts.", {{"portal", portal}})),
      overflowed_(scope_.NewCounter("portico_experts_rows_overflowed_total",
                                    "Times that a row went to none of its best experts, since they were full.",
                                    {{"portal", portal}})),
      fewer_(scope_.NewCounter("portico_experts_rows_fewer_total", "Rows answered by fewer experts than k.",
                               {{"portal", portal}})),
      failed_(scope_.NewCounter("portico_experts_rows_failed_total", "Rows that no expert answered.",
                                {{"portal", portal}})),
      entropy_(scope_.NewHistogram("portico_experts_gate_entropy",
                                   "Mean entropy of a request's gates by its maximum: 1 where all experts count the "
                                   "same, 0 where one does.",
                                   {{"portal", portal}}, Tenths())),
      variation_(scope_.NewGauge("portico_experts_load_variation",
                                 "Standard deviation of the experts' rows by their mean, of late.",
                                 {{"portal", portal}})),
      busiest_(scope_.NewGauge("portico_experts_load_busiest", "Rows of the busiest expert by the mean, of late.",
                               {{"portal", portal}})),
      balance_(static_cast<int>(experts.size())) {
  for (size_t i = 0; i < experts.size(); ++i) {
    rows_of_.push_back(
        &scope_.NewCounter("portico_experts_expert_rows_total", "Rows sent to an expert.",
                           {{"portal", portal}, {"expert", i < kMaxSeries ? experts[i].name : "other"}}));
  }
}

void ExpertsMetrics::Came(int64_t rows, int64_t overflowed, double entropy) {
  requests_.Increment();
  rows_.Add(static_cast<double>(rows));
  if (overflowed > 0) overflowed_.Add(static_cast<double>(overflowed));
  if (entropy >= 0) entropy_.Observe(entropy);
  if (const auto spread = balance_.Take(); spread.has_value()) {
    variation_.Set(spread->variation);
    busiest_.Set(spread->busiest);
  }
}

void ExpertsMetrics::Sent(int32_t expert, int64_t rows) {
  calls_.Increment();
  rows_of_[static_cast<size_t>(expert)]->Add(static_cast<double>(rows));
  balance_.Add(expert, rows);
}

void ExpertsMetrics::Ended(int64_t fewer, int64_t failed) {
  if (fewer > 0) fewer_.Add(static_cast<double>(fewer));
  if (failed > 0) failed_.Add(static_cast<double>(failed));
}

}  // namespace portico
