#include "node/frontend/request_entry.h"

#include <utility>
#include <vector>

#include "base/status_macros.h"

namespace portico {

absl::Status RequestEntry::Start(absl::FunctionRef<absl::string_view(absl::string_view name)> header,
                                 Deadline deadline) {
  context_->deadline = deadline;
  if (ParseTraceparent(header("traceparent"), &context_->trace) && context_->trace.sampled) {
    start_ = entrance_.inference.clock().Now();
    caller_span_id_ = std::exchange(context_->trace.parent_span_id, NewSpanId());
  }
  ASSIGN_OR_RETURN(const Tenant* const tenant, entrance_.access.Check(header("authorization")));
  context_->tenant = tenant->name;
  context_->priority = tenant->priority;
  return absl::OkStatus();
}

std::string RequestEntry::Finish() {
  if (!context_->trace.sampled) return "";
  Span root;
  root.span_id = context_->trace.parent_span_id;
  root.parent_span_id = caller_span_id_;
  root.name = "request";
  root.start = start_;
  root.duration = entrance_.inference.clock().Now() - start_;
  std::vector<Span> spans = context_->spans.Take();
  spans.insert(spans.begin(), std::move(root));
  for (Span& span : spans) {
    if (span.node.empty()) span.node = entrance_.inference.node_name();
  }
  entrance_.traces.Add(context_->trace, std::move(spans));
  return FormatTraceparent(context_->trace);
}

}  // namespace portico
