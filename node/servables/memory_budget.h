#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace portico {

/// What a model takes of the budget now.
struct ResidentModel {
  std::string name;
  /// Loaded or being loaded.
  uint64_t bytes = 0;
  /// Withdrawn, but not given back yet.
  uint64_t leaving_bytes = 0;
  /// Stays, whatever happens: it is not loaded on demand.
  bool fixed = false;
  /// Loaded on demand, and no request holds it now.
  bool idle = false;
  /// When it was last asked for; any unit.
  int64_t last_used = 0;
};

/// Whether another model may be loaded.
struct BudgetDecision {
  /// RESOURCE_EXHAUSTED with the figures: it will never fit.
  absl::Status possible;
  /// It fits now.
  bool fits = false;
  /// Models to unload first, those that were not asked for longest before others. Enough of them where there are.
  std::vector<std::string> unload;
};

/// Whether `bytes` of model `name` may be loaded beside `resident` within `budget` bytes (0: no limit).
BudgetDecision DecideLoad(uint64_t budget, const std::string& name, uint64_t bytes,
                          std::vector<ResidentModel> resident);

}  // namespace portico
