#pragma once

#include <string>

#include "absl/status/status.h"

namespace portico {

/// Keys of a listener that clients reach, PEM texts. Without a key the listener is plain.
struct ServerTls {
  std::string private_key;
  /// The server's certificate, then the chain to its root.
  std::string certificates;
  /// Roots of the clients' certificates; where set, a client without one that they signed is refused (mutual TLS).
  std::string client_roots;

  bool enabled() const { return !private_key.empty(); }
  bool mutual() const { return !client_roots.empty(); }
};

/// INVALID_ARGUMENT for what is no PEM text, and for a private key that is not the certificate's.
absl::Status CheckServerTls(const ServerTls& tls);

}  // namespace portico
