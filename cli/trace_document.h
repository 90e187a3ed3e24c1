#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace portico {

/// What a span's time went to, told by the first word of its name.
enum class SpanKind : uint8_t {
  /// Holds others, or is of a kind that this release does not know: what its inner spans leave is the node's own work.
  kWork,
  kQueue,
  kBatch,
  /// What the peer's spans leave of it went to the wire and the transports' queues.
  kPortal,
};

/// One span of a trace as a node's /debug/traces tells it.
struct TraceSpan {
  /// Texts are fit for a terminal: what would control it is replaced by '?'.
  std::string name;
  std::string node;
  std::string id;
  std::string parent;
  double start_us = 0;
  double duration_us = 0;
  /// Empty where it went well.
  std::string error;
  SpanKind kind = SpanKind::kWork;
  /// Of a portal: −1 where it is not known.
  double wire_us = -1;
  /// Of what another node did: by how much its clock seemed to be ahead when its times were moved; 0: they were not.
  double clock_skew_us = 0;
  /// Of a batch: ids of other sampled traces in the same run.
  std::vector<std::string> shared_with;
  /// Whose rows were in the run; empty where they were of one product.
  std::string products;
  std::string endpoint;
  /// What caused it, as an index into the spans; −1: nothing that is there.
  int64_t cause = -1;
  /// Indices of what it caused, in order of time.
  std::vector<size_t> caused;

  double end_us() const { return start_us + duration_us; }
};

/// A trace of one request.
struct TraceDocument {
  std::string id;
  bool sampled = false;
  bool slow = false;
  /// In order of time.
  std::vector<TraceSpan> spans;

  /// From the first span's start to the last one's end. REQUIRES: there are spans.
  double begin_us() const { return spans.front().start_us; }
  double took_us() const;
};

/// Reads the JSON of /debug/traces; traces without spans are left out. INVALID_ARGUMENT for other JSON.
absl::StatusOr<std::vector<TraceDocument>> ParseTraces(absl::string_view json);

}  // namespace portico
