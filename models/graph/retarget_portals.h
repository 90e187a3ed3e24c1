#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/graph/portal_target.h"
#include "models/package/model.h"

namespace portico {

struct RetargetedModel {
  Model model;
  /// The portals that were moved, by their nodes' names.
  std::vector<std::string> portals;
  /// One of them called `from` by its name alone, which now has a digest.
  bool by_name = false;
};

/// `model`, weights shared, in which portals that called `from` call `to`; nothing else changes. A portal calls `from`
/// where it has its digest or, having none, its name. REQUIRES: both have digests.
///
/// NOT_FOUND, with what the portals do call, where none calls `from`; INVALID_ARGUMENT for a portal that is none, and
/// for experts that would then have `to` twice.
absl::StatusOr<RetargetedModel> RetargetPortals(const Model& model, const PortalTarget& from, const PortalTarget& to);

}  // namespace portico
