#include "node/frontend/request_entry.h"

#include <iterator>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "router/request_key.h"

namespace portico {

absl::Status RequestEntry::Start(absl::FunctionRef<absl::string_view(absl::string_view name)> header,
                                 Deadline deadline) {
  const auto tenant = entrance_.access.Check(header("authorization"));
  const absl::Status status = StartFor(tenant.ok() ? tenant->get() : nullptr, header, deadline);
  return tenant.ok() ? status : tenant.status();
}

absl::Status RequestEntry::StartFor(const Tenant* tenant,
                                    absl::FunctionRef<absl::string_view(absl::string_view name)> header,
                                    Deadline deadline) {
  context_->deadline = deadline;
  const absl::string_view traceparent = header("traceparent");
  StartTrace(traceparent, traceparent.empty() ? "" : header("tracestate"));
  if (tenant == nullptr) return absl::UnauthenticatedError("request: got nobody who sends it, want a tenant");
  context_->tenant = tenant->name;
  context_->priority = tenant->priority;
  return entrance_.reads_key ? TakeRequestKey(header("x-portico-key"), context_.get()) : absl::OkStatus();
}

void RequestEntry::StartTrace(absl::string_view traceparent, absl::string_view tracestate) {
  TraceContext& trace = context_->trace;
  const bool brought = ParseTraceparent(traceparent, &trace);
  answers_traceparent_ = trace.sampled;
  if (!brought) trace.sampled = entrance_.traces.DrawSampled();
  if (brought && tracestate.size() <= RequestContext::kMaxTraceState) context_->trace_state = std::string(tracestate);
  context_->span_floor = entrance_.traces.span_floor();
  if (!context_->MayRecord()) return;
  start_ = entrance_.inference.clock().Now();
  if (!brought) {
    trace.trace_id_high = NewSpanId();
    trace.trace_id_low = NewSpanId();
  }
  caller_span_id_ = std::exchange(trace.parent_span_id, NewSpanId());
  context_->entry_span_id = NewSpanId();
}

std::string RequestEntry::Finish(absl::string_view error) {
  // What failed before it ran: its arm does not take what it was sent.
  if (!error.empty()) context_->CountArm(absl::InvalidArgumentError(error), absl::ZeroDuration());
  if (!context_->MayRecord()) return "";
  const absl::Time now = entrance_.inference.clock().Now();
  Trace trace;
  trace.slow = entrance_.traces.IsSlow(now - start_);
  if (!context_->trace.sampled && !(trace.slow && entrance_.traces.TakeSlowTurn(now))) return "";
  trace.context = context_->trace;
  trace.context.parent_span_id = context_->entry_span_id;
  trace.state = context_->trace_state;
  std::vector<Span> spans = context_->spans.Take();
  trace.spans.reserve(spans.size() + 1);
  Span& root = trace.spans.emplace_back();
  root.span_id = context_->entry_span_id;
  root.parent_span_id = caller_span_id_;
  root.name = "request";
  root.start = start_;
  root.duration = now - start_;
  root.error = std::string(error);
  trace.spans.insert(trace.spans.end(), std::make_move_iterator(spans.begin()), std::make_move_iterator(spans.end()));
  for (Span& span : trace.spans) {
    if (span.node.empty()) span.node = entrance_.inference.node_name();
  }
  std::string traceparent = answers_traceparent_ ? FormatTraceparent(trace.context) : "";
  entrance_.traces.Add(std::move(trace));
  return traceparent;
}

}  // namespace portico
