#include "node/frontend/admin.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "codec/json_text.h"
#include "node/observe/table_report.h"
#include "node/observe/trace_formats.h"

namespace portico {
namespace {

bool IsMetrics(absl::string_view path) { return path == "/metrics" || path == "/monitoring/prometheus/metrics"; }

/// The value of `key` in a URL's query; empty where there is none.
absl::string_view QueryValue(absl::string_view query, absl::string_view key) {
  for (absl::string_view part : absl::StrSplit(query, '&')) {
    if (absl::ConsumePrefix(&part, key) && absl::ConsumePrefix(&part, "=")) return part;
  }
  return {};
}

void AppendStrings(const std::vector<std::string>& texts, std::string* out) {
  out->push_back('[');
  for (size_t i = 0; i < texts.size(); ++i) {
    if (i != 0) out->push_back(',');
    AppendJsonString(texts[i], out);
  }
  out->push_back(']');
}

}  // namespace

bool Admin::Handles(absl::string_view path) {
  return path == "/healthz" || path == "/readyz" || path == "/debug/traces" || path == "/debug/memory" ||
         path == "/debug/traffic" || path == "/debug/tables" || IsMetrics(path);
}

void Admin::Handle(const HttpRequest& request, HttpServer::Respond respond) const {
  HttpReply reply;
  if (request.method == "POST") {
    reply.code = 405;
    reply.body = ErrorJson("method: got POST, want GET or HEAD");
  } else if (request.path == "/readyz") {
    reply = Readiness();
  } else if (request.path == "/debug/traces") {
    reply = TracesReply(request.query);
  } else if (request.path == "/debug/memory") {
    reply.body = memory_.Json();
  } else if (request.path == "/debug/traffic") {
    reply.body = traffic_();
  } else if (request.path == "/debug/tables") {
    reply = TablesReply(request.query);
  } else if (IsMetrics(request.path)) {
    memory_.Refresh();
    reply.content_type = "text/plain; version=0.0.4; charset=utf-8";
    reply.body = metrics_.Expose();
  } else {
    reply.content_type = "text/plain";
    reply.body = "ok\n";
  }
  respond(std::move(reply));
}

HttpReply Admin::TracesReply(absl::string_view query) const {
  const absl::string_view format = QueryValue(query, "format");
  const absl::string_view slow = QueryValue(query, "slow");
  const auto traces = traces_.Find(QueryValue(query, "id"), !slow.empty() && slow != "0");
  HttpReply reply;
  if (format.empty() || format == "json") {
    reply.body = TracesJson(traces);
  } else if (format == "chrome") {
    reply.body = ChromeTraceJson(traces);
  } else if (format == "otlp") {
    reply.body = OtlpJson(traces);
  } else {
    reply.code = 400;
    reply.body = ErrorJson(absl::StrCat("format: got '", format, "', want json, chrome or otlp"));
  }
  return reply;
}

HttpReply Admin::TablesReply(absl::string_view query) const {
  const absl::string_view format = QueryValue(query, "format");
  const std::vector<ShardReport> shards = ReportShards(servables_.Available());
  HttpReply reply;
  if (format.empty() || format == "json") {
    reply.body = TablesJson(shards);
  } else if (format == "html") {
    reply.content_type = "text/html; charset=utf-8";
    reply.body = TablesHtml(shards);
  } else {
    reply.code = 400;
    reply.body = ErrorJson(absl::StrCat("format: got '", format, "', want json or html"));
  }
  return reply;
}

HttpReply Admin::Readiness() const {
  const absl::Status ready = ready_();
  const std::vector<std::shared_ptr<const Servable>> available = servables_.Available();
  HttpReply reply;
  reply.code = ready.ok() ? 200 : 503;
  reply.body = ready.ok() ? "{\"ready\":true" : "{\"ready\":false,\"reason\":";
  if (!ready.ok()) AppendJsonString(ready.message(), &reply.body);
  std::vector<std::string> not_ready;
  for (const std::string& name : servables_.Names()) {
    const bool serves =
        std::any_of(available.begin(), available.end(), [&](const auto& s) { return s->name() == name; });
    if (!serves) not_ready.push_back(name);
  }
  reply.body += ",\"not_ready\":";
  AppendStrings(not_ready, &reply.body);
  // A portal whose target is away degrades a model and never makes the node unready.
  reply.body += ",\"degraded\":{";
  bool first = true;
  for (const std::shared_ptr<const Servable>& servable : available) {
    const std::vector<std::string> reasons = servable->Degraded();
    if (reasons.empty()) continue;
    if (!std::exchange(first, false)) reply.body.push_back(',');
    AppendJsonString(servable->name(), &reply.body);
    reply.body.push_back(':');
    AppendStrings(reasons, &reply.body);
  }
  reply.body += "}}\n";
  return reply;
}

}  // namespace portico
