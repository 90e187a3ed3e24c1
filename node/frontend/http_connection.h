#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <memory>

namespace boost::asio::ssl {
class context;
}

namespace portico {

class HttpLoop;

/// Serves the client of `socket`, over TLS where there is `tls`, until one of the two goes: the loop holds the
/// connection. On the loop's I/O thread.
void StartHttpConnection(std::shared_ptr<HttpLoop> loop, boost::asio::ip::tcp::socket socket,
                         boost::asio::ssl::context* tls);

}  // namespace portico
