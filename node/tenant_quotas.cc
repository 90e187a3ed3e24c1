#include "node/tenant_quotas.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace portico {
namespace {

/// A second's worth, and at least one request.
double Burst(const TenantLimits& limits) { return std::max(limits.requests_per_second, 1.0); }

absl::Status Refused(absl::string_view tenant, const std::string& what) {
  return absl::ResourceExhaustedError(
      absl::StrCat("tenant '", tenant, "': got ", what, "; try again later or ask for a larger quota"));
}

}  // namespace

/// Guarded by mutex_; never destroyed before the quotas are, since requests hold it.
struct TenantQuotas::Usage {
  TenantLimits limits;
  /// Key of tenants_ of one that has no limits any more: forgotten with its last request.
  std::string gone;
  int64_t requests = 0;
  int64_t bytes = 0;
  /// Requests that may come at once, as of `filled`.
  double tokens = 0;
  absl::Time filled;
};

TenantQuotas::TenantQuotas(const Clock& clock) : clock_(clock) {}
TenantQuotas::~TenantQuotas() = default;

void TenantQuotas::SetLimits(const std::map<std::string, TenantLimits>& limits) {
  MutexLock lock(&mutex_);
  for (auto it = tenants_.begin(); it != tenants_.end();) {
    const auto known = it++;
    if (limits.count(known->first) != 0) continue;
    known->second->limits = TenantLimits();
    known->second->gone = known->first;
    if (known->second->requests == 0) tenants_.erase(known);
  }
  for (const auto& [tenant, limit] : limits) {
    std::unique_ptr<Usage>& known = tenants_[tenant];
    const bool is_new = known == nullptr;
    if (is_new) known = std::make_unique<Usage>();
    Usage& usage = *known;
    usage.gone.clear();
    // Reading the same file again gives nobody a second's worth.
    if (is_new || usage.limits.requests_per_second != limit.requests_per_second) {
      usage.tokens = Burst(limit);
      usage.filled = clock_.Now();
    }
    usage.limits = limit;
  }
  limited_.store(!tenants_.empty(), std::memory_order_release);
}

size_t TenantQuotas::size() const {
  MutexLock lock(&mutex_);
  return tenants_.size();
}

absl::StatusOr<TenantQuotas::Place> TenantQuotas::Enter(absl::string_view tenant, int64_t bytes) {
  if (!limited_.load(std::memory_order_acquire)) return nullptr;
  MutexLock lock(&mutex_);
  const auto found = tenants_.find(tenant);
  if (found == tenants_.end()) return nullptr;
  Usage& usage = *found->second;
  const TenantLimits& limits = usage.limits;
  if (limits.max_requests > 0 && usage.requests >= limits.max_requests) {
    return Refused(tenant, absl::StrCat(usage.requests, " requests inside, want at most ", limits.max_requests));
  }
  if (limits.max_bytes > 0 && usage.bytes + bytes > limits.max_bytes) {
    return Refused(tenant, absl::StrCat(bytes, " bytes of inputs while ", usage.bytes, " are inside, want at most ",
                                        limits.max_bytes));
  }
  if (limits.requests_per_second > 0) {
    const absl::Time now = clock_.Now();
    const double came = limits.requests_per_second * absl::ToDoubleSeconds(now - usage.filled);
    usage.tokens = std::min(usage.tokens + std::max(came, 0.0), Burst(limits));
    usage.filled = now;
    if (usage.tokens < 1) {
      return Refused(tenant, absl::StrCat("more than ", limits.requests_per_second, " requests a second, want at most ",
                                          limits.requests_per_second));
    }
    usage.tokens -= 1;
  }
  ++usage.requests;
  usage.bytes += bytes;
  return &usage;
}

void TenantQuotas::Leave(Place place, int64_t bytes) {
  if (place == nullptr) return;
  MutexLock lock(&mutex_);
  --place->requests;
  place->bytes -= bytes;
  if (place->requests == 0 && !place->gone.empty()) tenants_.erase(std::string(place->gone));
}

}  // namespace portico
