#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace portico {

// What somebody who does not keep to the peer protocol can do to a listener. `endpoint`: zmq+tcp://HOST:PORT.

/// Sends bytes over TCP, and no more, and waits until the other side closes, or 2 s.
void SendBytes(const std::string& endpoint, const std::string& bytes);

/// Sends one ZeroMQ message of these frames from a DEALER, and waits until the listener has it or 2 s have passed.
void SendMessage(const std::string& endpoint, const std::vector<std::string>& frames);

/// Does ZeroMQ's handshake (ZMTP 3.0, NULL), then begins a frame that claims `bytes`, and sends a little of it. True
/// when the other side then closes the connection within 5 s.
bool ClaimFrame(const std::string& endpoint, uint64_t bytes);

}  // namespace portico
