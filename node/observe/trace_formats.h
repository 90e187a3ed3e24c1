#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "node/observe/traces.h"

namespace portico {

using TraceList = absl::Span<const std::shared_ptr<const Trace>>;

/// {"traces":[{"trace_id","sampled","slow","spans":[{"name","node","span_id","parent_span_id","start_us",
/// "duration_us"[,"error"][,"attributes":{…}]}]}]}.
std::string TracesJson(TraceList traces);

/// Chrome's trace event format, which ui.perfetto.dev and chrome://tracing open: a process per node, and in it rows per
/// trace, where what one span caused stands below it.
std::string ChromeTraceJson(TraceList traces);

/// ExportTraceServiceRequest of OpenTelemetry's protocol in its JSON encoding: a resource per node.
std::string OtlpJson(TraceList traces);

}  // namespace portico
