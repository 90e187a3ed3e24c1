#pragma once

#include <functional>
#include <memory>

#include "transport/shm_region.h"
#include "transport/stream_parts.h"

namespace portico {

// `shm://`: a connection is a Unix socket, over which the listening side passes memory of the connection's own. What
// the stream carries then goes through a ring in it, large tensors through an arena. The socket stays for two things:
// a byte on it wakes a side that sleeps, and its end is the peer's end.

SocketMaker ShmClientSockets();
SocketMaker ShmServerSockets(const ShmSizes& sizes);

}  // namespace portico
