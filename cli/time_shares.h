#pragma once

#include "cli/trace_document.h"

namespace portico {

/// Where the time of a request went. Adds up to the time that it took: of what went on at once, what came last in this
/// list counts least, so that overlapping branches are counted once.
struct TimeShares {
  double batch_us = 0;
  double queue_us = 0;
  double wire_us = 0;
  /// Reading, writing, waiting for nothing that is known.
  double rest_us = 0;
};
TimeShares SharesOf(const TraceDocument& trace);

/// When a portal's call was with the peer: from the first of the topmost spans there to the end of the last one. Where
/// there are none, `begin` is `end`.
struct PeerTime {
  double begin_us = 0;
  double end_us = 0;
};
PeerTime PeerTimeOf(const TraceDocument& trace, const TraceSpan& portal);

}  // namespace portico
