#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/ref.h"

namespace portico {

/// The arm of a traffic split that a request was given where its name was resolved (router/traffic.h): counts what
/// became of it. Shared by all requests of the arm. Thread-safe.
class RequestArm : public RefCounted {
 public:
  /// "2", "canary" or "digit-v2", as the mesh file says.
  virtual absl::string_view name() const = 0;
  /// A request was answered, or failed.
  virtual void Finished(const absl::Status& status, absl::Duration latency) const = 0;
};

}  // namespace portico
