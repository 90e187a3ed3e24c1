#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "transport/shm_region.h"

namespace portico {

// How a connection's memory gets from its maker to the other side: the first message on their Unix socket is `PTM1`,
// 4 zeros, u64 ring_bytes, u64 arena_bytes, and beside it the memory's descriptor (SCM_RIGHTS).

/// Sends `memory`, which stays the caller's, over a new connection.
absl::Status SendShmOffer(int socket, const ShmSizes& sizes, int memory);

/// The memory that the peer offers; nothing where its message has not come yet. INVALID_ARGUMENT for anything else than
/// such an offer. Keeps no descriptor open.
absl::StatusOr<std::optional<Ref<ShmRegion>>> ReceiveShmOffer(int socket);

}  // namespace portico
