#include "transport/unix_peer.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "base/file.h"

namespace portico {

absl::Status CheckUnixPeer(int fd) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    return ErrnoStatus(errno, "ask for the user of", "Unix socket");
  }
  if (peer.uid == geteuid()) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat("Unix socket: got a peer of user ", peer.uid, " (process ", peer.pid,
                                                  "), want one of user ", geteuid(),
                                                  "; run the nodes of a host as one user, or use tcp:// with TLS"));
}

}  // namespace portico
