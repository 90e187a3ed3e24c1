#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "cli/commands.h"
#include "cli/mesh_nodes.h"
#include "cli/report_error.h"
#include "cli/terminal.h"
#include "cli/waterfall.h"

namespace portico {
namespace {

struct TraceFlags {
  MeshNodesFlags nodes;
  std::string trace_id;
  bool last = false;
  bool slowest = false;
  bool list = false;
  std::string format = "waterfall";
};

/// A trace, and the node that the request entered.
struct FoundTrace {
  MeshNode node;
  TraceDocument trace;
};

/// All that the nodes keep, newest first. Nodes that do not answer are told on standard error; the error where none do.
absl::StatusOr<std::vector<FoundTrace>> Fetch(const TraceFlags& flags) {
  ASSIGN_OR_RETURN(const std::vector<MeshNode> nodes, FindNodes(flags.nodes));
  const std::string target = absl::StrCat("/debug/traces", flags.trace_id.empty() ? "" : "?id=", flags.trace_id);
  std::vector<FoundTrace> found;
  absl::Status failed;
  size_t answered = 0;
  for (const MeshNode& node : nodes) {
    ASSIGN_OR_RETURN(const HttpCall call, CallOf(flags.nodes, node, target));
    const absl::StatusOr<std::string> json = AskNode(node, call);
    if (!json.ok()) {
      failed = json.status();
      std::fprintf(stderr, "portico trace: %s\n", std::string(failed.message()).c_str());
      continue;
    }
    ++answered;
    ASSIGN_OR_RETURN(std::vector<TraceDocument> traces, ParseTraces(*json));
    for (TraceDocument& trace : traces) found.push_back({node, std::move(trace)});
  }
  if (answered == 0) return absl::Status(failed.code(), "no node answers");
  std::stable_sort(found.begin(), found.end(),
                   [](const FoundTrace& a, const FoundTrace& b) { return a.trace.begin_us() > b.trace.begin_us(); });
  return found;
}

std::string Title(const FoundTrace& found) {
  std::set<std::string> nodes;
  for (const TraceSpan& span : found.trace.spans) nodes.insert(span.node);
  const absl::Time begin = absl::FromUnixMicros(static_cast<int64_t>(found.trace.begin_us()));
  return absl::StrCat("trace ", found.trace.id, ", ",
                      absl::FormatTime("%Y-%m-%d %H:%M:%E3S", begin, absl::UTCTimeZone()), " UTC, ",
                      found.trace.spans.front().node, ", ", nodes.size(), nodes.size() == 1 ? " node" : " nodes",
                      found.trace.sampled ? ", sampled" : "", found.trace.slow ? ", slow" : "",
                      found.trace.sampled ? "" : ": only its longer spans are kept");
}

void PrintList(const std::vector<FoundTrace>& found) {
  std::printf("%-32s  %-23s  %10s  %5s  %s\n", "trace", "UTC", "took ms", "spans", "request");
  for (const FoundTrace& one : found) {
    const TraceSpan& root = one.trace.spans.front();
    const absl::Time begin = absl::FromUnixMicros(static_cast<int64_t>(one.trace.begin_us()));
    std::string what;
    for (const TraceSpan& span : one.trace.spans) {
      if (span.cause == 0 && span.name.rfind("model ", 0) == 0) what = span.name;
    }
    if (what.empty()) what = root.name;
    std::printf("%-32s  %-23s  %10.3f  %5zu  %s at %s%s%s\n", one.trace.id.c_str(),
                absl::FormatTime("%Y-%m-%d %H:%M:%E3S", begin, absl::UTCTimeZone()).c_str(), one.trace.took_us() / 1000,
                one.trace.spans.size(), what.c_str(), root.node.c_str(), root.error.empty() ? "" : ": ",
                root.error.c_str());
  }
}

/// As the node writes it.
absl::Status PrintRaw(const TraceFlags& flags, const FoundTrace& found) {
  ASSIGN_OR_RETURN(
      const HttpCall call,
      CallOf(flags.nodes, found.node, absl::StrCat("/debug/traces?id=", found.trace.id, "&format=", flags.format)));
  ASSIGN_OR_RETURN(const std::string text, AskNode(found.node, call));
  std::puts(text.c_str());
  return absl::OkStatus();
}

absl::Status ShowTrace(const TraceFlags& flags) {
  ASSIGN_OR_RETURN(std::vector<FoundTrace> found, Fetch(flags));
  if (found.empty()) {
    return absl::NotFoundError(
        flags.trace_id.empty()
            ? "got no trace, want one; nodes keep those of slow requests, and a share of all (--trace-sample of serve)"
            : absl::StrCat("trace '", flags.trace_id,
                           "': got none of that id, want one; nodes keep the last 64 of a kind"));
  }
  if (flags.list) {
    PrintList(found);
    return absl::OkStatus();
  }
  if (flags.trace_id.empty()) {
    if (flags.slowest) {
      std::iter_swap(found.begin(), std::max_element(found.begin(), found.end(), [](const auto& a, const auto& b) {
                       return a.trace.took_us() < b.trace.took_us();
                     }));
    }
    found.resize(1);
  }
  if (flags.format != "waterfall") return PrintRaw(flags, found.front());
  const Terminal terminal = Terminal::Of(STDOUT_FILENO);
  WaterfallStyle style;
  if (terminal.is_terminal) style.columns = terminal.columns;
  style.color = terminal.color;
  for (const FoundTrace& one : found) {
    std::printf("%s\n%s", Title(one).c_str(), Waterfall(one.trace, style).c_str());
  }
  return absl::OkStatus();
}

}  // namespace

void AddTraceCommand(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<TraceFlags>();
  CLI::App* command = app.add_subcommand("trace", "Show where the time of a request went, hop by hop");
  flags->nodes.AddTo(*command);
  auto* id =
      command->add_option("--trace-id", flags->trace_id, "The trace with this id")->check([](const std::string& text) {
        const bool hex = text.size() == 32 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
        return hex ? std::string() : absl::StrCat("got '", text, "', want 32 hex digits");
      });
  auto* last = command->add_flag("--last", flags->last, "The newest one kept (default)")->excludes(id);
  command->add_flag("--slowest", flags->slowest, "The one kept that took longest")->excludes(id)->excludes(last);
  command->add_flag("--list", flags->list, "A line for each that is kept");
  command->add_option("--format", flags->format, "waterfall; chrome for ui.perfetto.dev; json; otlp")
      ->check(CLI::IsMember({"waterfall", "chrome", "json", "otlp"}))
      ->capture_default_str();
  command->footer(
      "Example:\n"
      "  portico trace --http 127.0.0.1:8501 --slowest\n"
      "  portico trace --run-folder run --list\n"
      "  portico trace --http node:8501 --tls-ca ca.pem --token-file admin.token --last\n"
      "  portico trace --run-folder run --trace-id 4bf92f3577b34da6a3ce929d0e0e4736 --format chrome > trace.json");
  command->callback([flags, &exit_code] { exit_code = ReportError("trace", ShowTrace(*flags)); });
}

}  // namespace portico
