#pragma once

#include <cstdint>

namespace portico {

/// What one tenant may take of a node; 0: no limit of its own. Beyond it requests are refused with RESOURCE_EXHAUSTED.
struct TenantLimits {
  /// Requests inside at once.
  int64_t max_requests = 0;
  /// Bytes of their inputs.
  int64_t max_bytes = 0;
  /// Requests that may come in a second, over time; a second's worth may come at once.
  double requests_per_second = 0;
};

}  // namespace portico
