#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/mutex.h"

namespace portico {

/// Which trace a request belongs to: the ids of W3C trace-context. A value.
struct TraceContext {
  uint64_t trace_id_high = 0;
  uint64_t trace_id_low = 0;
  /// The span that caused this work; 0 at the root.
  uint64_t parent_span_id = 0;
  /// All spans are recorded where true; else only long ones (RequestContext::span_floor).
  bool sampled = false;
};

/// A fact about a piece of work. A value.
struct SpanAttribute {
  /// "rows", "endpoint": what docs/observability.md lists.
  std::string name;
  std::variant<int64_t, std::string> value;
};

/// A piece of a request's time at one node.
struct Span {
  uint64_t span_id = 0;
  uint64_t parent_span_id = 0;
  /// "queue", "segment", "portal", "request", ...
  std::string name;
  /// The node that did it; filled in by the node that sends the span on.
  std::string node;
  absl::Time start;
  absl::Duration duration;
  /// What became of it: "DEADLINE_EXCEEDED", "HTTP 404"; empty where it went well.
  std::string error;
  std::vector<SpanAttribute> attributes = {};

  /// Null where there is none of that name and kind.
  const int64_t* Number(absl::string_view attribute) const;
  const std::string* Text(absl::string_view attribute) const;
};

/// Collects the spans of one request at one node, those of inner hops too. Thread-safe. At most kMaxSpans; what
/// comes later is counted, not kept.
class SpanLog {
 public:
  static constexpr size_t kMaxSpans = 1024;

  void Add(Span span);
  std::vector<Span> Take();
  uint64_t dropped() const;

 private:
  mutable Mutex mutex_;
  std::vector<Span> spans_ ABSL_GUARDED_BY(mutex_);
  uint64_t dropped_ ABSL_GUARDED_BY(mutex_) = 0;
};

/// "DEADLINE_EXCEEDED"; empty for OK.
std::string ErrorName(const absl::Status& status);

/// Random, never 0. Thread-safe.
uint64_t NewSpanId();

/// Reads a W3C `traceparent` header. False (and `context` unchanged) when it is not of that form.
bool ParseTraceparent(absl::string_view header, TraceContext* context);
/// "00-<trace id>-<parent id>-<flags>".
std::string FormatTraceparent(const TraceContext& context);
/// 32 hex digits.
std::string TraceIdHex(const TraceContext& context);

}  // namespace portico
