#include "router/expert_balance.h"

#include <Eigen/Core>
#include <cmath>

namespace portico {

std::optional<ExpertBalance::Spread> ExpertBalance::Take() {
  int64_t total = total_.load(std::memory_order_relaxed);
  if (total < window_ || !total_.compare_exchange_strong(total, 0, std::memory_order_relaxed)) return std::nullopt;
  // What comes in meanwhile counts for this window or for the next one.
  Eigen::ArrayXd rows(static_cast<Eigen::Index>(rows_.size()));
  for (size_t e = 0; e < rows_.size(); ++e) {
    rows[static_cast<Eigen::Index>(e)] = static_cast<double>(rows_[e].exchange(0, std::memory_order_relaxed));
  }
  const double mean = rows.mean();
  if (mean <= 0) return std::nullopt;
  return Spread{std::sqrt((rows - mean).square().mean()) / mean, rows.maxCoeff() / mean};
}

}  // namespace portico
