#pragma once

#include <memory>

#include "cli/serve_flags.h"

namespace portico {

/// Who may connect, who may ask, and how much one client may take: --tenants-file, --tls-*, --insecure, --max-*.
std::unique_ptr<ServeFlags> NewSecurityFlags();

/// Whether only this machine reaches HOST:PORT: 127.0.0.0/8, [::1], localhost.
bool IsLoopbackAddress(absl::string_view address);

}  // namespace portico
