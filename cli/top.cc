#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "cli/commands.h"
#include "cli/mesh_nodes.h"
#include "cli/report_error.h"
#include "cli/terminal.h"
#include "cli/terminal_text.h"
#include "cli/top_tables.h"
#include "simdjson.h"

namespace portico {
namespace {

/// A node that answers later than this is away for this time.
constexpr absl::Duration kMaxPatience = absl::Seconds(2);

struct TopFlags {
  MeshNodesFlags nodes;
  std::string interval = "1s";
  std::string sort = "calls";
  bool once = false;
  int count = 0;
};

/// What /readyz says, in a few words.
std::string StateOf(const absl::StatusOr<HttpAnswer>& answer) {
  if (!answer.ok()) return "?";
  simdjson::dom::parser parser;
  simdjson::dom::element root, value;
  if (parser.parse(answer->body).get(root) != simdjson::SUCCESS) return "?";
  std::string_view reason;
  if (answer->code != 200) {
    return root["reason"].get(reason) == simdjson::SUCCESS ? ForTerminal("not ready: " + std::string(reason))
                                                           : "not ready";
  }
  std::vector<std::string> degraded;
  simdjson::dom::object models;
  if (root["degraded"].get(models) == simdjson::SUCCESS) {
    for (const auto& [name, reasons] : models) degraded.emplace_back(name);
  }
  return degraded.empty() ? "ready" : ForTerminal(absl::StrCat("degraded: ", absl::StrJoin(degraded, ", ")));
}

NodeReading Read(const TopFlags& flags, const MeshNode& node, absl::Duration patience) {
  NodeReading reading;
  reading.node = node.name.empty() ? node.http : node.name;
  const auto ask = [&](const char* target) -> absl::StatusOr<HttpCall> {
    ASSIGN_OR_RETURN(HttpCall call, CallOf(flags.nodes, node, target));
    call.timeout = patience;
    return call;
  };
  const auto text = [&]() -> absl::StatusOr<std::string> {
    ASSIGN_OR_RETURN(const HttpCall call, ask("/metrics"));
    return AskNode(node, call);
  }();
  reading.at = absl::Now();
  reading.status = text.status();
  if (!text.ok()) return reading;
  absl::StatusOr<MetricsText> metrics = MetricsText::Parse(*text);
  reading.status = metrics.status();
  if (!metrics.ok()) return reading;
  reading.metrics = std::make_shared<const MetricsText>(*std::move(metrics));
  const absl::StatusOr<HttpCall> ready = ask("/readyz");
  reading.state = ready.ok() ? StateOf(CallHttp(node.http, *ready)) : "?";
  return reading;
}

/// All nodes at once, so that one that hangs does not make the others late.
std::vector<NodeReading> ReadAll(const TopFlags& flags, const std::vector<MeshNode>& nodes, absl::Duration patience) {
  std::vector<NodeReading> readings(nodes.size());
  std::vector<std::thread> threads;
  threads.reserve(nodes.size());
  for (size_t i = 0; i < nodes.size(); ++i) {
    threads.emplace_back([&, i] { readings[i] = Read(flags, nodes[i], patience); });
  }
  for (std::thread& thread : threads) thread.join();
  return readings;
}

std::string FirstLines(absl::string_view text, size_t rows) {
  size_t end = 0;
  for (size_t row = 0; row < rows && end < text.size(); ++row)
    end = std::min(text.find('\n', end), text.size() - 1) + 1;
  text = text.substr(0, end);
  // The line break behind the last row would scroll the picture.
  if (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  return std::string(text);
}

class Top {
 public:
  Top(const TopFlags& flags, absl::Duration interval, TopOrder order)
      : flags_(flags), interval_(interval), order_(order) {}

  /// Tables one below the other, `count` of them; 0: without end.
  absl::Status Print(int count) {
    RETURN_IF_ERROR(Take());
    if (std::none_of(now_.begin(), now_.end(), [](const NodeReading& reading) { return reading.metrics != nullptr; })) {
      return now_.front().status;
    }
    const Terminal terminal = Terminal::Of(STDOUT_FILENO);
    for (int i = 0; count == 0 || i < count; ++i) {
      if (i > 0) std::putchar('\n');
      absl::SleepFor(interval_);
      RETURN_IF_ERROR(Take());
      std::fputs(TopTables(before_, now_, order_, terminal.is_terminal ? terminal.columns : 160).c_str(), stdout);
      std::fflush(stdout);
    }
    return absl::OkStatus();
  }

  absl::Status Live() {
    FullScreen screen;
    absl::Time next = absl::Now();
    while (true) {
      if (absl::Now() >= next) {
        RETURN_IF_ERROR(Take());
        next = std::max(next + interval_, absl::Now());
      }
      Draw();
      const char key = screen.WaitForKey(next - absl::Now());
      if (key == 'q') return absl::OkStatus();
      if (key == 'n') order_ = TopOrder::kName;
      if (key == 'c') order_ = TopOrder::kCalls;
      if (key == 'e') order_ = TopOrder::kErrors;
      if (key == 'p') order_ = TopOrder::kP99;
    }
  }

 private:
  /// The next reading. Nodes may have come or gone.
  absl::Status Take() {
    absl::StatusOr<std::vector<MeshNode>> nodes = FindNodes(flags_.nodes);
    // A mesh that is starting or stopping; those known before are asked again.
    if (nodes.ok()) nodes_ = *std::move(nodes);
    if (nodes_.empty()) return nodes.status();
    before_ = std::exchange(
        now_, ReadAll(flags_, nodes_, std::min(std::max(interval_, absl::Milliseconds(200)), kMaxPatience)));
    return absl::OkStatus();
  }

  void Draw() const {
    const Terminal terminal = Terminal::Of(STDOUT_FILENO);
    const auto answer =
        std::count_if(now_.begin(), now_.end(), [](const auto& node) { return node.metrics != nullptr; });
    const std::string title =
        absl::StrCat("portico top, ", absl::FormatTime("%H:%M:%S", absl::Now(), absl::LocalTimeZone()), ", ", answer,
                     " of ", now_.size(), " nodes answer, every ", absl::FormatDuration(interval_),
                     "   keys: q ends; sort by c calls, e errors, p p99, n name");
    const std::string text =
        absl::StrCat(FitLeft(title, terminal.columns), "\n\n", TopTables(before_, now_, order_, terminal.columns));
    std::string fit;
    for (absl::string_view line : absl::StrSplit(FirstLines(text, terminal.rows), '\n')) {
      absl::StrAppend(&fit, fit.empty() ? "" : "\n",
                      ColumnsOf(line) > terminal.columns ? FitLeft(line, terminal.columns) : line);
    }
    FullScreen::Draw(fit);
  }

  const TopFlags& flags_;
  const absl::Duration interval_;
  TopOrder order_;
  std::vector<MeshNode> nodes_;
  std::vector<NodeReading> before_;
  std::vector<NodeReading> now_;
};

absl::Status RunTop(const TopFlags& flags) {
  absl::Duration interval;
  if (!absl::ParseDuration(flags.interval, &interval) || interval < absl::Milliseconds(100) ||
      interval > absl::Hours(1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--interval: got '", flags.interval, "', want 100ms to 1h, such as 1s"));
  }
  const TopOrder order = flags.sort == "name"     ? TopOrder::kName
                         : flags.sort == "errors" ? TopOrder::kErrors
                         : flags.sort == "p99"    ? TopOrder::kP99
                                                  : TopOrder::kCalls;
  Top top(flags, interval, order);
  if (flags.once) return top.Print(1);
  if (flags.count > 0 || !Terminal::Of(STDOUT_FILENO).is_terminal) return top.Print(flags.count);
  return top.Live();
}

}  // namespace

void AddTopCommand(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<TopFlags>();
  CLI::App* command = app.add_subcommand("top", "Live table of nodes, models, portals and their replicas");
  flags->nodes.AddTo(*command);
  command->add_option("--interval", flags->interval, "Time that figures are of")
      ->capture_default_str()
      ->type_name("DURATION");
  command->add_option("--sort", flags->sort, "calls, errors, p99 or name")
      ->check(CLI::IsMember({"calls", "errors", "p99", "name"}))
      ->capture_default_str();
  auto* once = command->add_flag("--once", flags->once, "Print the tables of one interval, and end");
  command->add_option("--count", flags->count, "Print the tables of so many intervals, one below the other")
      ->check(CLI::PositiveNumber)
      ->excludes(once);
  command->footer(
      "Example:\n"
      "  portico top --run-folder run\n"
      "  portico top --http node:8501 --tls-ca ca.pem --token-file token\n"
      "  portico top --http 127.0.0.1:8501 --http 127.0.0.1:8601 --once --interval 10s --sort p99");
  command->callback([flags, &exit_code] { exit_code = ReportError("top", RunTop(*flags)); });
}

}  // namespace portico
