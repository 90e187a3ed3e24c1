#pragma once

#include <functional>
#include <optional>

#include "absl/strings/string_view.h"
#include "deploy/mesh.h"
#include "hub/handle.h"
#include "models/graph/portal_target.h"

namespace portico {

/// Finds hub modules in the user's cache, where they are pulled into first; `say` gets lines for people and may be
/// null. `cancelled` ends a pull (HubCache::Options), and may be null. A module is checked once, and then as long as
/// its folder is there; where it was pulled just now, so is what it calls, as far as the store has it. Copies share
/// that; for one thread at a time.
FindModule PullModules(std::function<void(absl::string_view line)> say = nullptr,
                       std::function<bool()> cancelled = nullptr);

/// The module of the user's cache that has the digest of `target`: what a mesh file may have left out.
std::optional<Handle> PulledModule(const PortalTarget& target);

}  // namespace portico
