#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace boost::asio::ssl {
class context;
}

namespace portico {

/// PEM texts of a client.
struct TlsClientKeys {
  /// Empty: the system's.
  std::string roots;
  /// Its own, for servers that want to see one; both or none.
  std::string certificates;
  std::string private_key;
};

/// What a client's handshakes over HTTP need: TLS 1.2 and later, a server's certificate that the roots vouch for (for
/// whom: ExpectTlsHost()). INVALID_ARGUMENT for what is no PEM text.
absl::StatusOr<std::unique_ptr<boost::asio::ssl::context>> NewTlsClientContext(const TlsClientKeys& keys);

}  // namespace portico
