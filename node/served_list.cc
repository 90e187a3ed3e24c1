#include "node/served_list.h"

#include <string>
#include <utility>
#include <vector>

namespace portico {
namespace {

/// Of PeerLimits::max_header_bytes, with room for the rest of the header.
constexpr size_t kMaxBytes = 900 << 10;
/// Of an entry besides its name: digest, version, the numbers of the fields and their lengths.
constexpr size_t kEntryBytes = 56;

}  // namespace

void SayServed(const Servables& servables, PeerState* self) {
  std::vector<PeerState::Served> served;
  for (const auto& servable : servables.Available()) {
    served.push_back({servable->name(), servable->version(), servable->digest()});
  }
  for (std::string& name : servables.OnDemand()) served.push_back({std::move(name), 0, Digest()});
  size_t bytes = 0;
  for (const PeerState::Served& one : served) bytes += one.name.size() + kEntryBytes;
  self->lists_all = bytes <= kMaxBytes;
  if (!self->lists_all) served.clear();
  self->served = std::move(served);
}

}  // namespace portico
