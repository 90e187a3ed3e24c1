#pragma once

#include <string>

#include "base/digest.h"

namespace portico {

/// What a portal calls.
struct PortalTarget {
  /// A servable.
  std::string name;
  /// Empty: whatever the revision says the servable is.
  Digest digest;
};

}  // namespace portico
