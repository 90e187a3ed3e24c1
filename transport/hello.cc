#include "transport/hello.h"

namespace portico {

std::string HelloHeader(const PeerState& self, uint32_t pace_ms) {
  PeerHeader header;
  header.kind = PeerHeader::Kind::kHello;
  header.incarnation = self.incarnation;
  header.node = self.node;
  header.pace_ms = pace_ms;
  header.lists_all = self.lists_all;
  for (const PeerState::Served& served : self.served) {
    header.served.push_back(
        {served.name, served.version, served.digest.empty() ? absl::string_view() : served.digest.View()});
  }
  std::string bytes;
  EncodeHeader(header, &bytes);
  return bytes;
}

PeerState StateOfHello(const PeerHeader& hello) {
  PeerState state;
  state.connected = true;
  state.incarnation = hello.incarnation;
  state.node = std::string(hello.node);
  state.lists_all = hello.lists_all;
  state.served.reserve(hello.served.size());
  for (const ServedEntry& entry : hello.served) {
    // DecodeHeader() let only digests of the right length pass.
    state.served.push_back(
        {std::string(entry.name), entry.version, Digest::FromBytes(entry.digest).value_or(Digest())});
  }
  return state;
}

std::string BareHeader(PeerHeader::Kind kind, uint64_t call_id) {
  PeerHeader header;
  header.kind = kind;
  header.call_id = call_id;
  std::string bytes;
  EncodeHeader(header, &bytes);
  return bytes;
}

}  // namespace portico
