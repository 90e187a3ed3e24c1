#pragma once

#include <cstdint>
#include <limits>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/clock.h"
#include "base/deadline.h"
#include "base/tensor.h"
#include "transport/peer_header.h"

namespace portico {

/// A call that may be sent, as it goes over the wire.
struct OutgoingCall {
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

  /// Encoded. A view that lives until this thread encodes its next call.
  absl::string_view header;
  /// Header and tensors.
  uint64_t bytes = 0;
  /// In nanoseconds since the epoch.
  int64_t deadline_ns = kNever;

  /// Checks and encodes. DEADLINE_EXCEEDED where no time is left, INVALID_ARGUMENT for what the limits do not allow.
  static absl::StatusOr<OutgoingCall> Encode(const PeerHeader& header, uint64_t call_id,
                                             absl::Span<const Tensor> tensors, Deadline deadline,
                                             const PeerLimits& limits, const Clock& clock, absl::string_view endpoint);
};

}  // namespace portico
