#include "router/locality.h"

#include "absl/strings/match.h"

namespace portico {

int DistanceOf(const PeerAddress& peer, absl::string_view own_zone) {
  const absl::string_view url = peer.url;
  const size_t colon = url.find("://");
  if (colon == absl::string_view::npos) return 4;
  const absl::string_view scheme = url.substr(0, colon), host = url.substr(colon + 3);
  if (scheme == "inproc") return 0;
  for (const absl::string_view of_host : {"unix", "shm", "zmq+ipc"}) {
    if (scheme == of_host) return 1;
  }
  for (const absl::string_view loopback : {"127.", "localhost:", "[::1]:"}) {
    if (absl::StartsWith(host, loopback)) return 2;
  }
  return !own_zone.empty() && peer.zone == own_zone ? 3 : 4;
}

}  // namespace portico
