#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "node/frontend/server_tls.h"

namespace boost::asio::ssl {
class context;
}

namespace portico {

/// What a listener's handshakes need of `tls`: TLS 1.2 and later. INVALID_ARGUMENT for what is no PEM text, and for a
/// private key that is not the certificate's.
absl::StatusOr<std::unique_ptr<boost::asio::ssl::context>> NewTlsContext(const ServerTls& tls);

}  // namespace portico
