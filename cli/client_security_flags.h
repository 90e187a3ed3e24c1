#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "cli/client_security.h"

namespace CLI {
class App;
}

namespace portico {

/// The flags by which a command says how it reaches a node: --tls, --tls-ca, --tls-key, --tls-cert, --tls-server-name,
/// --token-file, --insecure. One object per command, kept until it has run.
class ClientSecurityFlags {
 public:
  void AddTo(CLI::App& command);
  /// After parsing: reads the files. INVALID_ARGUMENT "--flag: got …, want …"; also for a token that would go to
  /// `address` (HOST:PORT) over a network in the clear.
  absl::StatusOr<ClientSecurity> Read(const std::string& address) const;

 private:
  bool tls_ = false;
  bool insecure_ = false;
  std::string roots_, key_, cert_, server_name_, token_;
};

}  // namespace portico
