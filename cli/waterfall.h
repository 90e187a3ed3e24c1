#pragma once

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cli/trace_document.h"

namespace portico {

struct WaterfallStyle {
  /// Of the terminal. Bars get what names leave, at least 20; names are cut for that.
  size_t columns = 110;
  bool color = false;
};

/// Where the time of one request went, hop by hop: a line per span, what it caused below it, with a bar for when; then
/// how much went to batches, queues and the wire.
///
///     at µs   took µs  node    what
///       0.0     416.0  apps/0  request                     ────────────────────
///      21.0     302.0  apps/0    portal hub/encoder         ┄┄┄┄┄┄────┄┄┄┄┄┄
///     176.0      77.0  hub/0       batch of 1 rows, 1 calls       ████
std::string Waterfall(const TraceDocument& trace, const WaterfallStyle& style);

/// Of the first trace in `traces` (a node's /debug/traces). INVALID_ARGUMENT for other JSON; NOT_FOUND when it holds no
/// trace.
absl::StatusOr<std::string> Waterfall(absl::string_view traces, const WaterfallStyle& style = {});

}  // namespace portico
