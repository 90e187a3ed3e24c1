#include "node/frontend/access.h"

#include <openssl/crypto.h>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"

namespace portico {

void Access::SetTenants(TenantTable table) {
  MutexLock lock(&mutex_);
  tables_.push_back(std::make_unique<const TenantTable>(std::move(table)));
  table_.store(tables_.back().get(), std::memory_order_release);
}

absl::StatusOr<const Tenant*> Access::Check(absl::string_view authorization) const {
  const TenantTable* const table = table_.load(std::memory_order_acquire);
  if (table == nullptr) return &anybody_;
  constexpr absl::string_view kScheme = "bearer ";
  if (!absl::StartsWithIgnoreCase(authorization, kScheme)) {
    return absl::UnauthenticatedError("request: got no bearer token; send 'Authorization: Bearer TOKEN'");
  }
  const Digest hash = Sha256(absl::StripAsciiWhitespace(authorization.substr(kScheme.size())));
  const Tenant* found = nullptr;
  // Every hash is looked at, whole, whichever fits.
  for (const auto& [known, tenant] : table->tokens) {
    if (CRYPTO_memcmp(known.bytes.data(), hash.bytes.data(), hash.bytes.size()) == 0) found = &table->tenants[tenant];
  }
  if (found != nullptr) return found;
  return absl::UnauthenticatedError("request: got a bearer token that is not known here; ask for one that is");
}

}  // namespace portico
