#pragma once

#include "google/protobuf/message.h"

namespace portico {

/// proto/peer.proto's Header, as protobuf's own generated code has it.
const google::protobuf::Message& PeerHeaderPrototype();

}  // namespace portico
