#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace portico {

/// Whose requests these are, for quotas, priorities and metrics.
struct Tenant {
  /// Empty: nobody in particular.
  std::string name;
  /// Of its requests; higher goes first.
  int32_t priority = 0;
};

/// Who may send requests. Immutable and thread-safe.
class Access {
 public:
  /// Everybody may, as no tenant in particular.
  Access() = default;

  /// The tenant of a request with this `authorization` header (may be empty), valid as long as this object.
  absl::StatusOr<const Tenant*> Check(absl::string_view authorization) const;

 private:
  const Tenant anybody_;
};

}  // namespace portico
