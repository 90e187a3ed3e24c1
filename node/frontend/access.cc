#include "node/frontend/access.h"

#include <openssl/crypto.h>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace portico {
namespace {

/// Without tokens nobody is told apart, and whoever reaches the listener may do everything.
const Tenant& Anybody() {
  static const Tenant* const kAnybody = new Tenant{.admin = true};
  return *kAnybody;
}

}  // namespace

void Access::SetTenants(const TenantTable& table) {
  for (int i = 0; i < copies_.size(); ++i) {
    // One of its own for each, so that counting references doesn't let threads meet either.
    std::shared_ptr<const TenantTable> mine = std::make_shared<const TenantTable>(table);
    Copy& copy = copies_[i];
    MutexLock lock(&copy.mutex);
    copy.table.swap(mine);
  }
  guarded_.store(true, std::memory_order_release);
}

absl::StatusOr<std::shared_ptr<const Tenant>> Access::Check(absl::string_view authorization) const {
  if (!guarded_.load(std::memory_order_acquire)) {
    return std::shared_ptr<const Tenant>(std::shared_ptr<void>(), &Anybody());
  }
  constexpr absl::string_view kScheme = "bearer ";
  if (!absl::StartsWithIgnoreCase(authorization, kScheme)) {
    return absl::UnauthenticatedError("request: got no bearer token; send 'Authorization: Bearer TOKEN'");
  }
  const Digest hash = Sha256(absl::StripAsciiWhitespace(authorization.substr(kScheme.size())));
  std::shared_ptr<const TenantTable> table;
  {
    Copy& copy = copies_.Own();
    MutexLock lock(&copy.mutex);
    table = copy.table;
  }
  const Tenant* found = nullptr;
  // Every hash is looked at, whole, whichever fits.
  for (const auto& [known, tenant] : table->tokens) {
    if (CRYPTO_memcmp(known.bytes.data(), hash.bytes.data(), hash.bytes.size()) == 0) found = &table->tenants[tenant];
  }
  if (found != nullptr) return std::shared_ptr<const Tenant>(std::move(table), found);
  return absl::UnauthenticatedError("request: got a bearer token that is not known here; ask for one that is");
}

absl::Status Access::CheckAdmin(absl::string_view authorization) const {
  ASSIGN_OR_RETURN(const std::shared_ptr<const Tenant> tenant, Check(authorization));
  return portico::CheckAdmin(tenant.get());
}

absl::Status CheckAdmin(const Tenant* tenant) {
  if (tenant == nullptr) return absl::UnauthenticatedError("request: got no tenant, want one that is an admin");
  if (tenant->admin) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat(
      "tenant '", tenant->name, "': got a request for admins, want the role 'admin' in the node's tenants file"));
}

}  // namespace portico
