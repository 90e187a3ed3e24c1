#pragma once

#include "absl/types/span.h"
#include "base/span.h"
#include "transport/peer_header.h"

namespace portico {

/// Adds to `log` the span of a portal's call and what the peer that answered did meanwhile, as its reply says.
///
/// The peer stamps its spans by its own clock, and between machines clocks differ. What it did lies within the call,
/// so: where its times do, they are believed (they are off by less than the time on the wire), else all of them are
/// moved to the middle of the call, and the peer's topmost span gets `clock_skew_us`: by how much its clock seems to be
/// ahead. How long the call was on the wire and in the transports' queues does not depend on clocks: `wire_us` of the
/// portal is its duration less that of the peer's topmost spans. Not there where the peer sent none.
void AddPortalSpans(Span portal, absl::Span<const WireSpan> from_peer, SpanLog& log);

}  // namespace portico
