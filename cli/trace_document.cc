#include "cli/trace_document.h"

#include <algorithm>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cli/terminal_text.h"
#include "simdjson.h"

namespace portico {
namespace {

using simdjson::dom::element;

SpanKind KindOf(absl::string_view name) {
  if (name == "queue") return SpanKind::kQueue;
  if (absl::StartsWith(name, "batch ")) return SpanKind::kBatch;
  return absl::StartsWith(name, "portal ") ? SpanKind::kPortal : SpanKind::kWork;
}

std::string Text(element from) {
  const std::string_view text = from.get_string();
  return ForTerminal({text.data(), text.size()});
}

void ReadAttributes(element from, TraceSpan& span) {
  element value;
  if (from["wire_us"].get(value) == simdjson::SUCCESS) span.wire_us = value.get_double();
  if (from["clock_skew_us"].get(value) == simdjson::SUCCESS) span.clock_skew_us = value.get_double();
  if (from["endpoint"].get(value) == simdjson::SUCCESS) span.endpoint = Text(value);
  if (from["products"].get(value) == simdjson::SUCCESS && absl::StrContains(Text(value), ", ")) {
    span.products = Text(value);
  }
  if (from["shared_with"].get(value) == simdjson::SUCCESS) span.shared_with = absl::StrSplit(Text(value), ',');
}

TraceSpan ReadSpan(element from) {
  TraceSpan span;
  span.name = Text(from["name"]);
  span.node = Text(from["node"]);
  span.id = Text(from["span_id"]);
  span.parent = Text(from["parent_span_id"]);
  span.start_us = from["start_us"].get_double();
  span.duration_us = std::max<double>(from["duration_us"].get_double(), 0);
  span.kind = KindOf(span.name);
  element more;
  if (from["error"].get(more) == simdjson::SUCCESS) span.error = Text(more);
  if (from["attributes"].get(more) == simdjson::SUCCESS) ReadAttributes(more, span);
  return span;
}

/// Whether `index` is among what caused `of`, or is it: ids that came over the network may go round in circles.
bool IsAbove(const std::vector<TraceSpan>& spans, size_t index, size_t of) {
  for (auto at = static_cast<int64_t>(of); at >= 0; at = spans[static_cast<size_t>(at)].cause) {
    if (static_cast<size_t>(at) == index) return true;
  }
  return false;
}

void Connect(TraceDocument& trace) {
  std::vector<TraceSpan>& spans = trace.spans;
  std::stable_sort(spans.begin(), spans.end(),
                   [](const TraceSpan& a, const TraceSpan& b) { return a.start_us < b.start_us; });
  std::map<std::string, size_t> by_id;
  for (size_t i = 0; i < spans.size(); ++i) by_id.emplace(spans[i].id, i);
  for (size_t i = 0; i < spans.size(); ++i) {
    const auto cause = by_id.find(spans[i].parent);
    if (cause == by_id.end() || IsAbove(spans, i, cause->second)) continue;
    spans[i].cause = static_cast<int64_t>(cause->second);
    spans[cause->second].caused.push_back(i);
  }
}

}  // namespace

double TraceDocument::took_us() const {
  double end = begin_us();
  for (const TraceSpan& span : spans) end = std::max(end, span.end_us());
  return end - begin_us();
}

absl::StatusOr<std::vector<TraceDocument>> ParseTraces(absl::string_view json) {
  try {
    simdjson::dom::parser parser;
    const element root = parser.parse(json.data(), json.size());
    std::vector<TraceDocument> traces;
    for (const element from : root["traces"].get_array()) {
      TraceDocument trace;
      trace.id = Text(from["trace_id"]);
      trace.sampled = from["sampled"].get_bool();
      trace.slow = from["slow"].get_bool();
      for (const element span : from["spans"].get_array()) trace.spans.push_back(ReadSpan(span));
      if (trace.spans.empty()) continue;
      Connect(trace);
      traces.push_back(std::move(trace));
    }
    return traces;
  } catch (const simdjson::simdjson_error& error) {
    return absl::InvalidArgumentError(absl::StrCat("traces: got ", error.what(), ", want the JSON of /debug/traces"));
  }
}

}  // namespace portico
