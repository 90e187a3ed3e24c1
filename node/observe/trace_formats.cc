#include "node/observe/trace_formats.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "base/json_string.h"

namespace portico {
namespace {

/// Writes "," before everything but the first.
class Comma {
 public:
  void Put(std::string* out) {
    if (!std::exchange(first_, false)) out->push_back(',');
  }

 private:
  bool first_ = true;
};

/// Start and end of a span in nanoseconds.
int64_t StartNs(const Span& span) { return absl::ToUnixNanos(span.start); }
int64_t EndNs(const Span& span) { return absl::ToUnixNanos(span.start + span.duration); }

// --- Own ---

/// "name":value of each.
void AppendAttributes(const std::vector<SpanAttribute>& attributes, Comma& comma, std::string* out) {
  for (const SpanAttribute& attribute : attributes) {
    comma.Put(out);
    AppendJsonString(attribute.name, out);
    out->push_back(':');
    if (const auto* text = std::get_if<std::string>(&attribute.value)) {
      AppendJsonString(*text, out);
    } else {
      absl::StrAppend(out, std::get<int64_t>(attribute.value));
    }
  }
}

void AppendSpan(const Span& span, std::string* out) {
  out->append("{\"name\":");
  AppendJsonString(span.name, out);
  out->append(",\"node\":");
  AppendJsonString(span.node, out);
  absl::StrAppendFormat(out, ",\"span_id\":\"%016x\",\"parent_span_id\":\"%016x\",\"start_us\":%d,\"duration_us\":%.3f",
                        span.span_id, span.parent_span_id, absl::ToUnixMicros(span.start),
                        absl::ToDoubleMicroseconds(span.duration));
  if (!span.error.empty()) {
    out->append(",\"error\":");
    AppendJsonString(span.error, out);
  }
  if (!span.attributes.empty()) {
    out->append(",\"attributes\":{");
    Comma comma;
    AppendAttributes(span.attributes, comma, out);
    out->push_back('}');
  }
  out->push_back('}');
}

// --- Chrome ---

/// What other nodes send begins at whole microseconds: what sticks out of its parent by less belongs into it.
constexpr int64_t kRoundingNs = 1000;

/// A row of events of one trace at one node, in which spans either follow or hold each other.
struct Row {
  int id = 0;
  /// Ends of the spans that are open, outermost first.
  std::vector<int64_t> open;
};

/// Writes the events of all traces, a process per node and rows (threads, in that format's words) per trace.
class ChromeWriter {
 public:
  /// Times are told from `begin_ns` on: nanoseconds since 1970 have more digits than a viewer's numbers.
  ChromeWriter(std::string* out, int64_t begin_ns) : out_(out), begin_ns_(begin_ns) {}

  void Add(const Trace& trace) {
    std::map<std::string, std::vector<const Span*>> by_node;
    for (const Span& span : trace.spans) by_node[span.node].push_back(&span);
    for (auto& [node, spans] : by_node) {
      // What holds another comes before it.
      std::stable_sort(spans.begin(), spans.end(), [](const Span* a, const Span* b) {
        return StartNs(*a) != StartNs(*b) ? StartNs(*a) < StartNs(*b) : EndNs(*a) > EndNs(*b);
      });
      const int process = Process(node);
      std::vector<Row> rows;
      for (const Span* span : spans) AddSpan(trace, *span, process, rows);
    }
  }

 private:
  int Process(const std::string& node) {
    const auto [found, is_new] = processes_.emplace(node, static_cast<int>(processes_.size()) + 1);
    if (is_new) Name("process_name", found->second, 0, node);
    return found->second;
  }

  void Name(absl::string_view what, int process, int row, absl::string_view name) {
    comma_.Put(out_);
    absl::StrAppend(out_, "{\"ph\":\"M\",\"name\":\"", what, "\",\"pid\":", process, ",\"tid\":", row,
                    ",\"args\":{\"name\":");
    AppendJsonString(name, out_);
    out_->append("}}");
  }

  void AddSpan(const Trace& trace, const Span& span, int process, std::vector<Row>& rows) {
    const int64_t start = StartNs(span);
    int64_t end = EndNs(span);
    const auto row = std::find_if(rows.begin(), rows.end(), [&](Row& candidate) {
      while (!candidate.open.empty() && candidate.open.back() <= start) candidate.open.pop_back();
      return candidate.open.empty() || end <= candidate.open.back() + kRoundingNs;
    });
    Row* place = row == rows.end() ? nullptr : &*row;
    if (place == nullptr) {
      place = &rows.emplace_back();
      place->id = ++last_row_;
      Name("thread_name", process, place->id, absl::StrCat("trace ", TraceIdHex(trace.context).substr(0, 8)));
    }
    if (!place->open.empty()) end = std::min(end, place->open.back());
    place->open.push_back(end);
    comma_.Put(out_);
    out_->append("{\"ph\":\"X\",\"cat\":\"portico\",\"name\":");
    AppendJsonString(span.name, out_);
    absl::StrAppendFormat(out_,
                          ",\"pid\":%d,\"tid\":%d,\"ts\":%d.%03d,\"dur\":%.3f,\"args\":{\"trace_id\":\"%s\","
                          "\"span_id\":\"%016x\",\"parent_span_id\":\"%016x\"",
                          process, place->id, (start - begin_ns_) / 1000, (start - begin_ns_) % 1000,
                          static_cast<double>(end - start) / 1000, TraceIdHex(trace.context), span.span_id,
                          span.parent_span_id);
    if (!span.error.empty()) {
      out_->append(",\"error\":");
      AppendJsonString(span.error, out_);
    }
    Comma after_others;
    if (!span.attributes.empty()) out_->push_back(',');
    AppendAttributes(span.attributes, after_others, out_);
    out_->append("}}");
  }

  std::string* const out_;
  const int64_t begin_ns_;
  Comma comma_;
  std::map<std::string, int> processes_;
  int last_row_ = 0;
};

// --- OpenTelemetry ---

/// Its SpanKind.
int KindOf(const Trace& trace, const Span& span) {
  if (span.span_id == trace.context.parent_span_id) return 2;  // SERVER
  return absl::StartsWith(span.name, "portal ") ? 3 : 1;       // CLIENT, INTERNAL
}

void AppendOtlpAttribute(const SpanAttribute& attribute, Comma& comma, std::string* out) {
  comma.Put(out);
  out->append("{\"key\":");
  AppendJsonString(absl::StrCat("portico.", attribute.name), out);
  if (const auto* text = std::get_if<std::string>(&attribute.value)) {
    out->append(",\"value\":{\"stringValue\":");
    AppendJsonString(*text, out);
  } else {
    // 64-bit numbers are strings there.
    absl::StrAppend(out, ",\"value\":{\"intValue\":\"", std::get<int64_t>(attribute.value), "\"");
  }
  out->append("}}");
}

void AppendOtlpSpan(const Trace& trace, const Span& span, std::string* out) {
  absl::StrAppendFormat(out, "{\"traceId\":\"%s\",\"spanId\":\"%016x\"", TraceIdHex(trace.context), span.span_id);
  if (span.parent_span_id != 0) absl::StrAppendFormat(out, ",\"parentSpanId\":\"%016x\"", span.parent_span_id);
  if (!trace.state.empty()) {
    out->append(",\"traceState\":");
    AppendJsonString(trace.state, out);
  }
  out->append(",\"name\":");
  AppendJsonString(span.name, out);
  absl::StrAppend(out, ",\"kind\":", KindOf(trace, span), ",\"startTimeUnixNano\":\"", StartNs(span),
                  "\",\"endTimeUnixNano\":\"", EndNs(span), "\",\"flags\":", trace.context.sampled ? 1 : 0);
  if (!span.error.empty()) {
    out->append(",\"status\":{\"code\":2,\"message\":");  // ERROR
    AppendJsonString(span.error, out);
    out->push_back('}');
  }
  const bool slow_root = trace.slow && span.span_id == trace.context.parent_span_id;
  if (slow_root || !span.attributes.empty()) {
    out->append(",\"attributes\":[");
    Comma comma;
    if (slow_root) {
      comma.Put(out);
      out->append("{\"key\":\"portico.slow\",\"value\":{\"boolValue\":true}}");
    }
    for (const SpanAttribute& attribute : span.attributes) AppendOtlpAttribute(attribute, comma, out);
    out->push_back(']');
  }
  out->push_back('}');
}

void AppendResource(absl::string_view node, std::string* out) {
  out->append(
      "{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":{\"stringValue\":\"portico\"}},"
      "{\"key\":\"service.instance.id\",\"value\":{\"stringValue\":");
  AppendJsonString(node, out);
  out->append("}}]},\"scopeSpans\":[{\"scope\":{\"name\":\"portico\"},\"spans\":[");
}

}  // namespace

std::string TracesJson(TraceList traces) {
  std::string out = "{\"traces\":[";
  Comma between_traces;
  for (const auto& trace : traces) {
    between_traces.Put(&out);
    absl::StrAppend(&out, "{\"trace_id\":\"", TraceIdHex(trace->context),
                    "\",\"sampled\":", trace->context.sampled ? "true" : "false",
                    ",\"slow\":", trace->slow ? "true" : "false", ",\"spans\":[");
    Comma between_spans;
    for (const Span& span : trace->spans) {
      between_spans.Put(&out);
      AppendSpan(span, &out);
    }
    out.append("]}");
  }
  out.append("]}");
  return out;
}

std::string ChromeTraceJson(TraceList traces) {
  absl::Time begin = absl::InfiniteFuture();
  for (const auto& trace : traces) {
    for (const Span& span : trace->spans) begin = std::min(begin, span.start);
  }
  if (traces.empty()) begin = absl::UnixEpoch();
  std::string out =
      absl::StrCat("{\"displayTimeUnit\":\"ms\",\"otherData\":{\"begin\":\"",
                   absl::FormatTime(absl::RFC3339_full, begin, absl::UTCTimeZone()), "\"},\"traceEvents\":[");
  ChromeWriter writer(&out, absl::ToUnixNanos(begin));
  for (const auto& trace : traces) writer.Add(*trace);
  out.append("]}");
  return out;
}

std::string OtlpJson(TraceList traces) {
  std::map<std::string, std::vector<std::pair<const Trace*, const Span*>>> by_node;
  for (const auto& trace : traces) {
    for (const Span& span : trace->spans) by_node[span.node].emplace_back(trace.get(), &span);
  }
  std::string out = "{\"resourceSpans\":[";
  Comma between_nodes;
  for (const auto& [node, spans] : by_node) {
    between_nodes.Put(&out);
    AppendResource(node, &out);
    Comma between_spans;
    for (const auto& [trace, span] : spans) {
      between_spans.Put(&out);
      AppendOtlpSpan(*trace, *span, &out);
    }
    out.append("]}]}");
  }
  out.append("]}");
  return out;
}

}  // namespace portico
