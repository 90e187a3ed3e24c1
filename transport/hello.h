#pragma once

#include <cstdint>
#include <string>

#include "transport/peer_header.h"
#include "transport/transport.h"

namespace portico {

/// The header of a HELLO that says what `self` is. `pace_ms`: PeerHeader::pace_ms.
std::string HelloHeader(const PeerState& self, uint32_t pace_ms = 0);
/// What a received HELLO says; `connected` is set.
PeerState StateOfHello(const PeerHeader& hello);
/// A header of nothing but its kind and, where it is not 0, a call's id.
std::string BareHeader(PeerHeader::Kind kind, uint64_t call_id);

}  // namespace portico
