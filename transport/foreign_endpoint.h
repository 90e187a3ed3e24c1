#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace portico {

/// Where a server of somebody else's make listens, and what we know of it: `SCHEME://HOST:PORT[?KEY=VALUE&…]`.
///
/// Schemes: `tfs+grpc`, `v2+grpc`, and with TLS `tfs+grpcs`, `v2+grpcs`. Keys: `model=NAME` (as often as there are
/// models: the server counts as connected while it says that one of them is ready), `token_file=PATH` (holds a bearer
/// token; TLS or loopback only), `ca_file=PATH` (root certificates in place of the system's; TLS only).
struct ForeignEndpoint {
  enum class Api : uint8_t { kTfs, kV2 };

  Api api = Api::kV2;
  bool tls = false;
  /// HOST:PORT, an IPv6 host in brackets.
  std::string address;
  std::vector<std::string> models;
  std::string token_file;
  std::string ca_file;

  /// INVALID_ARGUMENT for another form.
  static absl::StatusOr<ForeignEndpoint> Parse(const std::string& endpoint);
};

}  // namespace portico
