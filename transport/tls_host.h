#pragma once

#include <string>

struct ssl_st;

namespace portico {

/// A handshake of `ssl`, of a connection that was made to `host` (a name or an address), wants a certificate for that,
/// and tells the server which name was meant.
void ExpectTlsHost(ssl_st* ssl, const std::string& host);

}  // namespace portico
