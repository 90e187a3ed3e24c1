#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cli/hub_flags.h"

namespace CLI {
class App;
}

namespace portico {

struct HubUpgradeFlags {
  HubFlags hub;
  /// A version folder, or a folder of versions, of which the highest counts.
  std::string product;
  /// Handles of modules.
  std::string from, to;
  /// Request logs.
  std::vector<std::string> requests;
  /// The new version's folder.
  std::string out;
  /// Whose requests count; empty: those of the model that the product's folder is named after.
  std::string model;
  /// Where targets are that the store does not have; serves `to`. Empty: nobody looks.
  std::string mesh;
  std::optional<double> absolute, relative;
  double max_changed = 0.01;
  uint64_t limit = 0;
  bool accept = false;
  bool dry_run = false;
};

/// Writes a new version of one product that calls `to` where the old one calls `from`, once both have answered recorded
/// requests alike; prints how alike. Nothing else changes, and nothing is written where it is refused.
absl::Status RunHubUpgrade(const HubUpgradeFlags& flags);

/// `portico hub upgrade`.
void AddHubUpgrade(CLI::App& hub, int& exit_code);

}  // namespace portico
