#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "node/tenant_limits.h"

namespace portico {

/// What each tenant has of a node and may have. Thread-safe; where no tenant has limits a request costs one load.
class TenantQuotas {
 public:
  /// `clock` is not owned and must outlive it.
  explicit TenantQuotas(const Clock& clock);
  ~TenantQuotas();

  /// Replaces all limits; what is inside stays counted. A tenant that has none any more is forgotten once nothing of it
  /// is inside.
  void SetLimits(const std::map<std::string, TenantLimits>& limits);

  struct Usage;
  /// What a request holds of its tenant's quota; null: nothing is counted.
  using Place = Usage*;

  /// RESOURCE_EXHAUSTED naming tenant, limit and fill, or counts the request: then one Leave() is owed. Tenants that
  /// never had limits always get in.
  absl::StatusOr<Place> Enter(absl::string_view tenant, int64_t bytes);
  void Leave(Place place, int64_t bytes);
  /// Tenants that are known.
  size_t size() const;

 private:
  const Clock& clock_;
  std::atomic<bool> limited_{false};
  mutable Mutex mutex_;
  absl::flat_hash_map<std::string, std::unique_ptr<Usage>> tenants_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
