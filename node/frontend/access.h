#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/digest.h"
#include "base/mutex.h"
#include "base/per_core.h"
#include "node/tenant_limits.h"

namespace portico {

/// Whose requests these are, for quotas, priorities and metrics.
struct Tenant {
  /// Empty: nobody in particular.
  std::string name;
  /// Of its requests; higher goes first.
  int32_t priority = 0;
  TenantLimits limits;
  /// May change the node: load, unload and configure models, look into its insides.
  bool admin = false;
};

/// Everybody who may send requests, and by which tokens.
struct TenantTable {
  std::vector<Tenant> tenants;
  /// SHA-256 of a bearer token → index into `tenants`.
  std::vector<std::pair<Digest, size_t>> tokens;
};

/// Who may send requests, asked at the door of every client API. Everybody may do everything, as no tenant in
/// particular, until there is a table; then whoever has a token of it. Thread-safe.
class Access {
 public:
  Access() = default;
  Access(const Access&) = delete;
  Access& operator=(const Access&) = delete;

  /// Replaces the table.
  void SetTenants(const TenantTable& table);

  /// The tenant of a request with this `authorization` header (may be empty), as it is now; never null.
  /// UNAUTHENTICATED without saying anything about tokens. The time it takes tells nothing about them either.
  absl::StatusOr<std::shared_ptr<const Tenant>> Check(absl::string_view authorization) const;
  /// The same of a request that only an admin may send: PERMISSION_DENIED for other tenants.
  absl::Status CheckAdmin(absl::string_view authorization) const;

 private:
  struct Copy {
    Mutex mutex;
    std::shared_ptr<const TenantTable> table ABSL_GUARDED_BY(mutex);
  };

  std::atomic<bool> guarded_{false};
  const PerCore<Copy> copies_;
};

/// PERMISSION_DENIED for a tenant without the role of an admin; UNAUTHENTICATED for null, a request nobody asked about.
absl::Status CheckAdmin(const Tenant* tenant);

}  // namespace portico
