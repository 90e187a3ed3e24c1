#pragma once

#include <string>

namespace portico {

/// How a command reaches a node, and as whom; docs/security.md.
struct ClientSecurity {
  /// Speaks TLS, and wants a server's certificate that `roots` (PEM; empty: the system's) have signed.
  bool tls = false;
  std::string roots;
  /// The client's own, PEM, for servers that want to see one. Both or none.
  std::string private_key;
  std::string certificates;
  /// What the server's certificate must be for. Empty: the host of the address.
  std::string server_name;
  /// Sent with every request as `authorization: Bearer …`. Empty: none is.
  std::string token;
};

}  // namespace portico
