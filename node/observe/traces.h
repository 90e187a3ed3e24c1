#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/span.h"

namespace portico {

/// The last sampled traces that entered at this node, for /debug/traces. Thread-safe.
class TraceRing {
 public:
  explicit TraceRing(size_t capacity = 64) : capacity_(capacity) {}
  void Add(const TraceContext& context, std::vector<Span> spans);
  /// {"traces":[{"trace_id","spans":[{"name","node","span_id","parent_span_id","start_us","duration_us"}]}]}, newest
  /// first. `trace_id` (32 hex digits) narrows to one; empty: all.
  std::string Json(absl::string_view trace_id) const;

 private:
  struct Trace {
    std::string id;
    std::vector<Span> spans;
  };
  const size_t capacity_;
  mutable Mutex mutex_;
  std::deque<Trace> traces_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
