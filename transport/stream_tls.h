#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "transport/stream_parts.h"
#include "transport/transport.h"

namespace portico {

/// Makes TLS sockets (1.2 and later) of accepted connections. A caller has to show a certificate that `allowed_keys`
/// (PEM of certificate authorities or of single certificates) vouch for. INVALID_ARGUMENT where PEM contents cannot be
/// read.
absl::StatusOr<SocketMaker> TlsServerSockets(const TransportSecurity& security);

/// The same for connections that were made to `host`: its certificate has to be for that name and vouched for by
/// `peer_public_key`. Shows its own where it has one.
absl::StatusOr<SocketMaker> TlsClientSockets(const TransportSecurity& security, const std::string& host);

}  // namespace portico
