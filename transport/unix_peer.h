#pragma once

#include "absl/status/status.h"

namespace portico {

/// Whether the process at the other end of a connected Unix socket belongs to the user that this one runs as, by the
/// kernel's word (SO_PEERCRED). PERMISSION_DENIED where it does not: a file's mode keeps strangers from connecting, but
/// not from making a socket where ours is looked for, and not who was let in by a mode that somebody changed.
absl::Status CheckUnixPeer(int fd);

}  // namespace portico
