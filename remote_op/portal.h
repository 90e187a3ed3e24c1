#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "models/graph/graph_plan.h"
#include "models/graph/op.h"
#include "router/router.h"

namespace portico {

/// A portal: a step whose body is served elsewhere.
class Portal : public AsyncOp {
 public:
  /// Whether its target can be reached now; for readiness ("degraded") and `inspect`. Thread-safe.
  virtual absl::Status Health() const = 0;
  /// Whether it could go by the revision's policies. INVALID_ARGUMENT, naming portal and output.
  virtual absl::Status AcceptsPolicies(const Revision& revision) const { return absl::OkStatus(); }
  /// What it calls, for people.
  virtual std::string Target() const = 0;
};

/// Makes the portal that `spec` describes, by op type: the table of this folder. INVALID_ARGUMENT with the list of
/// known ops for another. `router` is not owned and must outlive the portal. Contacts nobody.
absl::StatusOr<std::unique_ptr<Portal>> NewPortal(const PortalSpec& spec, Router& router);

/// One factory per portal op.
absl::StatusOr<std::unique_ptr<Portal>> NewRemote(const PortalSpec& spec, Router& router);
absl::StatusOr<std::unique_ptr<Portal>> NewCascade(const PortalSpec& spec, Router& router);
absl::StatusOr<std::unique_ptr<Portal>> NewExperts(const PortalSpec& spec, Router& router);
absl::StatusOr<std::unique_ptr<Portal>> NewEmbeddingBag(const PortalSpec& spec, Router& router);

}  // namespace portico
