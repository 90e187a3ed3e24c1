#include "node/observe/traces.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "node/json_text.h"

namespace portico {
namespace {

void AppendSpan(const Span& span, std::string* out) {
  out->append("{\"name\":");
  AppendJsonString(span.name, out);
  out->append(",\"node\":");
  AppendJsonString(span.node, out);
  absl::StrAppendFormat(
      out, ",\"span_id\":\"%016x\",\"parent_span_id\":\"%016x\",\"start_us\":%d,\"duration_us\":%.3f}", span.span_id,
      span.parent_span_id, absl::ToUnixMicros(span.start), absl::ToDoubleMicroseconds(span.duration));
}

}  // namespace

void TraceRing::Add(const TraceContext& context, std::vector<Span> spans) {
  Trace trace{TraceIdHex(context), std::move(spans)};
  Trace oldest;  // Freed outside the lock.
  MutexLock lock(&mutex_);
  traces_.push_front(std::move(trace));
  if (traces_.size() > capacity_) {
    oldest = std::move(traces_.back());
    traces_.pop_back();
  }
}

std::string TraceRing::Json(absl::string_view trace_id) const {
  std::string out = "{\"traces\":[";
  MutexLock lock(&mutex_);
  bool first_trace = true;
  for (const Trace& trace : traces_) {
    if (!trace_id.empty() && trace.id != trace_id) continue;
    absl::StrAppend(&out, first_trace ? "" : ",", "{\"trace_id\":\"", trace.id, "\",\"spans\":[");
    first_trace = false;
    bool first_span = true;
    for (const Span& span : trace.spans) {
      if (!std::exchange(first_span, false)) out.push_back(',');
      AppendSpan(span, &out);
    }
    out.append("]}");
  }
  out.append("]}");
  return out;
}

}  // namespace portico
