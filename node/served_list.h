#pragma once

#include <vector>

#include "node/servables/servables.h"
#include "transport/transport.h"

namespace portico {

/// What a node tells its peers that it serves (HELLO), so that portals send their calls where these can be answered:
/// every version that is available, with its digest, and every model that is loaded when it is asked for, without: any
/// call for it is welcome, and waits there for the load. Empty, which says nothing, where the list would not fit into a
/// header.
std::vector<PeerState::Served> ServedList(const Servables& servables);

}  // namespace portico
