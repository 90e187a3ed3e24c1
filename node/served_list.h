#pragma once

#include "node/servables/servables.h"
#include "transport/transport.h"

namespace portico {

/// What a node tells its peers that it serves (HELLO), so that portals send their calls where these can be answered:
/// every version that is available, with its digest, and every model that is loaded when it is asked for, without: any
/// call for it is welcome, and waits there for the load. What is not in the list is not here, so that a node whose
/// models are being loaded is not asked for them; but where the list would not fit into a header, it says nothing.
/// Leaves the rest of `self` as it is.
void SayServed(const Servables& servables, PeerState* self);

}  // namespace portico
