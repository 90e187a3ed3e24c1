#pragma once

#include <string>

#include "absl/status/status.h"
#include "transport/transport.h"

namespace portico {

/// Reads the CURVE keys of a node into what it listens and calls with.
///
/// `key_file`: two lines, the public and the secret key, 40 characters of Z85 each; nobody but its owner may read it.
/// `allow_file`: a public key per line: who may connect. The nodes it calls are taken to have its own key pair, as all
/// nodes of a mesh may; a node that calls nodes of another pair names their public key by `server_key_file` (one line).
/// REQUIRES: key_file and allow_file are not empty.
absl::Status ReadCurveKeys(const std::string& key_file, const std::string& allow_file,
                           const std::string& server_key_file, TransportSecurity* listen, TransportSecurity* call);

}  // namespace portico
