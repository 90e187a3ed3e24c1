#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/digest.h"
#include "base/mutex.h"
#include "node/tenant_limits.h"

namespace portico {

/// Whose requests these are, for quotas, priorities and metrics.
struct Tenant {
  /// Empty: nobody in particular.
  std::string name;
  /// Of its requests; higher goes first.
  int32_t priority = 0;
  TenantLimits limits;
};

/// Everybody who may send requests, and by which tokens.
struct TenantTable {
  std::vector<Tenant> tenants;
  /// SHA-256 of a bearer token → index into `tenants`.
  std::vector<std::pair<Digest, size_t>> tokens;
};

/// Who may send requests, asked at the door of every client API. Everybody, as no tenant in particular, until there is
/// a table; then whoever has a token of it. Thread-safe; Check() takes no lock.
class Access {
 public:
  Access() = default;
  Access(const Access&) = delete;
  Access& operator=(const Access&) = delete;

  /// Replaces the table. Old ones are kept: requests hold tenants of theirs.
  void SetTenants(TenantTable table);

  /// The tenant of a request with this `authorization` header (may be empty), valid as long as this object.
  /// UNAUTHENTICATED without saying anything about tokens. The time it takes tells nothing about them either.
  absl::StatusOr<const Tenant*> Check(absl::string_view authorization) const;

 private:
  const Tenant anybody_ = {};
  std::atomic<const TenantTable*> table_{nullptr};
  Mutex mutex_;
  std::vector<std::unique_ptr<const TenantTable>> tables_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
