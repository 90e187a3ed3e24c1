#pragma once

#include "absl/time/time.h"

namespace portico {

/// Where time comes from, so that tests can set it. Implementations are thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() const = 0;

  /// The machine's clock. Never destroyed.
  static const Clock& Real();
};

}  // namespace portico
