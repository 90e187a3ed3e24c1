#pragma once

#include <string>

#include "models/compose/composition.h"
#include "models/package/package.h"

namespace portico {

/// servable.yaml of a composition. `leading`: the first model whose graph is part of it, which says how its segments
/// are run; null: none. `declare_axes`: what counts rows is said, not inferred.
std::string ComposedConfig(const Composition& composition, const Signature& signature, const Package* leading,
                           bool declare_axes);

}  // namespace portico
