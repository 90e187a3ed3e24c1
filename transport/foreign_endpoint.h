#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace portico {

/// Where a server of somebody else's make listens, and what we know of it: `SCHEME://HOST:PORT[?KEY=VALUE&…]`.
///
/// Schemes: `tfs+grpc`, `v2+grpc`, `tfs+http`, `v2+http`, and with TLS `tfs+grpcs`, `v2+grpcs`, `tfs+https`,
/// `v2+https`. Keys: `model=NAME` (as often as there are
/// models: the server counts as connected while it says that one of them is ready), `token_file=PATH` (holds a bearer
/// token; TLS or loopback only), `ca_file=PATH` (root certificates in place of the system's; TLS only),
/// `target=NAME` (what portals call the one `model`), `version=N` (of that model, in place of the newest).
struct ForeignEndpoint {
  enum class Api : uint8_t { kTfs, kV2 };
  enum class Wire : uint8_t { kGrpc, kRest };

  Api api = Api::kV2;
  Wire wire = Wire::kGrpc;
  bool tls = false;
  /// HOST:PORT, an IPv6 host in brackets.
  std::string address;
  std::vector<std::string> models;
  /// What portals call `models[0]`, the only one; empty: the same.
  std::string target;
  /// Of calls, whatever the portal says; −1: as it says.
  int64_t version = -1;
  std::string token_file;
  std::string ca_file;

  /// INVALID_ARGUMENT for another form.
  static absl::StatusOr<ForeignEndpoint> Parse(const std::string& endpoint);
  /// Whether the endpoint has a scheme of such servers.
  static bool IsForeign(absl::string_view endpoint);
};

}  // namespace portico
