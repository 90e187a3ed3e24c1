#pragma once

#include <functional>

#include "absl/strings/string_view.h"
#include "deploy/mesh.h"

namespace portico {

/// Finds hub modules in the user's cache, where they are pulled into first; `say` gets lines for people and may be
/// null. A module is checked once, and then as long as its folder is there. Copies share that; for one thread at a
/// time.
FindModule PullModules(std::function<void(absl::string_view line)> say = nullptr);

}  // namespace portico
