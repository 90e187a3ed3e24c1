#include "node/frontend/request_trace.h"

#include <utility>
#include <vector>

namespace portico {

void RequestTrace::Start(absl::string_view traceparent, const Clock& clock, RequestContext* context) {
  if (traceparent.empty() || !ParseTraceparent(traceparent, &context->trace) || !context->trace.sampled) return;
  start_ = clock.Now();
  caller_span_id_ = std::exchange(context->trace.parent_span_id, NewSpanId());
}

std::string RequestTrace::Finish(const std::string& node, const Clock& clock, const RequestContext& context,
                                 TraceRing& ring) {
  if (!context.trace.sampled) return "";
  Span root;
  root.span_id = context.trace.parent_span_id;
  root.parent_span_id = caller_span_id_;
  root.name = "request";
  root.start = start_;
  root.duration = clock.Now() - start_;
  std::vector<Span> spans = context.spans.Take();
  spans.insert(spans.begin(), std::move(root));
  for (Span& span : spans) {
    if (span.node.empty()) span.node = node;
  }
  ring.Add(context.trace, std::move(spans));
  return FormatTraceparent(context.trace);
}

}  // namespace portico
