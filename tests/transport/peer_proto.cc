#include "tests/transport/peer_proto.h"

// The generated classes have names that our own structs have too. They are compiled here once more under a namespace of their own;
// the library with the first copy is not linked, because nothing asks for it.
#include <google/protobuf/arena.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/generated_message_reflection.h>
#include <google/protobuf/wire_format.h>
#define portico portico_generated
#include "peer.pb.cc"
#undef portico

namespace portico {

const google::protobuf::Message& PeerHeaderPrototype() { return portico_generated::Header::default_instance(); }

}  // namespace portico
