#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace portico {

/// Says who may serve a target. Thread-safe.
class Resolver {
 public:
  virtual ~Resolver() = default;
  /// Peer endpoints of the nodes that should serve `servable`, in a stable order; empty when nobody does.
  virtual std::vector<std::string> Resolve(absl::string_view servable) const = 0;
};

}  // namespace portico
