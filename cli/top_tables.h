#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "cli/metrics_text.h"

namespace portico {

/// One reading of a node.
struct NodeReading {
  /// "apps/0", or its address.
  std::string node;
  absl::Time at;
  /// Why it did not answer; `metrics` is then null.
  absl::Status status;
  /// What /readyz says: "ready", "degraded: digit", "not ready: …".
  std::string state;
  std::shared_ptr<const MetricsText> metrics;
};

enum class TopOrder : uint8_t { kName, kCalls, kErrors, kP99 };

/// The tables of `portico top`: nodes, the models they serve, the portals they call and those portals' replicas, with
/// what happened between two readings of each node. A node that was not read before, or does not answer now, has no
/// figures.
///
/// `before`, `now`: of the same nodes by name, in any order.
std::string TopTables(const std::vector<NodeReading>& before, const std::vector<NodeReading>& now, TopOrder order,
                      size_t columns);

/// "812", "0.4"; "1.2 ms". Empty for NaN.
std::string RateText(double per_second);
std::string TimeText(double seconds);

}  // namespace portico
