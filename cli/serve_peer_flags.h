#pragma once

#include <memory>

#include "cli/serve_flags.h"

namespace portico {

/// How the node talks with other nodes: TLS of `tcp://` and `grpc://`, threads, spinning.
std::unique_ptr<ServeFlags> NewPeerFlags();

}  // namespace portico
