// `portico trace` and `portico top` against a real mesh of three nodes that call each other in a chain.

#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

#include <array>
#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/span.h"
#include "cli/tfs_client.h"
#include "cli/trace_document.h"
#include "deploy/node_status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/portico_command.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::ContainsRegex;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

/// y = |target(x)|: a portal, then an op of its own.
void WriteHead(const std::string& target, const std::string& path) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", 2}).Output("y", DType::kFloat, {"N", 2});
  model.Portal("Remote", target, {"x"}, {"answer"}, {DType::kFloat}, {"N,2"}, {Strings("output_names", {"y"})});
  model.Node("Abs", {"answer"}, {"y"}).WriteTo(path);
}

class TraceTopTest : public ::testing::Test {
 protected:
  TraceTopTest() {
    ModelBuilder leaf;
    leaf.Input("x", DType::kFloat, {"N", 2}).Output("y", DType::kFloat, {"N", 2}).Node("Neg", {"x"}, {"y"});
    leaf.WriteTo(folder_.File("leaf/1/model.onnx"));
    WriteHead("leaf", folder_.File("middle/1/model.onnx"));
    WriteHead("middle", folder_.File("head/1/model.onnx"));
    const std::string mesh = folder_.Write(
        "mesh.yaml", absl::StrCat("mesh: chain\nmodels:\n  leaf: {path: ", folder_.path(), "/leaf}\n  middle: {path: ",
                                  folder_.path(), "/middle}\n  head: {path: ", folder_.path(),
                                  "/head}\nnodes:\n  deep: {serve: [leaf], replicas: 2, http: 0}\n"
                                  "  mid: {serve: [middle], http: 0}\n  front: {serve: [head], grpc: 0, http: 0}\n"));
    up_.emplace(std::vector<std::string>{"up", mesh, "--run-folder", run_folder()});
    EXPECT_TRUE(up_->WaitForOutput("mesh 'chain' is ready")) << up_->output();
    front_ = ReadNodeStatus(run_folder() + "/status/front-0.json").value_or(NodeStatus());
  }

  std::string run_folder() const { return folder_.path() + "/run"; }

  absl::Status Predict(const TraceContext& trace = {}) {
    TfsClient client(front_.grpc);
    TfsClient::CallOptions options;
    options.trace = trace;
    return client.Predict("head", "", {{"x", Tensor::Of<float>({3, 2}, {1, 2, 3, 4, 5, 6})}}, options).status();
  }

  const TempFolder folder_;
  std::optional<PorticoCommand> up_;
  NodeStatus front_;
};

/// "front portal" of what `of` caused, itself first, two blanks per level.
void Outline(const TraceDocument& trace, size_t of, const std::string& indent, std::vector<std::string>* lines) {
  const TraceSpan& span = trace.spans[of];
  const std::string kind = std::string(*absl::StrSplit(span.name, ' ').begin());
  lines->push_back(absl::StrCat(indent, *absl::StrSplit(span.node, '/').begin(), " ", kind));
  for (const size_t child : span.caused) Outline(trace, child, indent + "  ", lines);
}

TEST_F(TraceTopTest, OneTraceTellsOfOneRequestAtAllNodes) {
  ASSERT_TRUE(Predict().ok());  // Connections are made.
  const TraceContext asked = {
      .trace_id_high = 0xabcdef, .trace_id_low = 0x123456, .parent_span_id = 7, .sampled = true};
  ASSERT_TRUE(Predict(asked).ok()) << Predict(asked);
  const CommandResult json =
      RunPortico({"trace", "--run-folder", run_folder(), "--trace-id", TraceIdHex(asked), "--format", "json"});
  ASSERT_EQ(json.end, "exit status 0") << json.output;
  const auto traces = ParseTraces(json.output);
  ASSERT_TRUE(traces.ok()) << traces.status();
  ASSERT_EQ(traces->size(), 1u);
  const TraceDocument& trace = traces->front();
  std::vector<std::string> outline;
  Outline(trace, 0, "", &outline);
  EXPECT_THAT(outline,
              ElementsAre("front request", "  front model", "    front portal", "      mid model", "        mid portal",
                          "          deep model", "            deep segment", "              deep queue",
                          "              deep batch", "        mid segment", "          mid queue",
                          "          mid batch", "    front segment", "      front queue", "      front batch"));
  for (const TraceSpan& span : trace.spans) {
    if (span.kind == SpanKind::kPortal) {
      EXPECT_GT(span.wire_us, 0) << span.name;
      EXPECT_LT(span.wire_us, span.duration_us) << span.name;
      EXPECT_THAT(span.endpoint, HasSubstr("://")) << span.name;
    }
    if (span.cause < 0) continue;
    const TraceSpan& cause = trace.spans[static_cast<size_t>(span.cause)];
    // Starts travel as whole microseconds.
    EXPECT_GE(span.start_us + 2, cause.start_us) << span.name;
    EXPECT_LE(span.end_us(), cause.end_us() + 2) << span.name;
  }

  const CommandResult waterfall = RunPortico({"trace", "--http", front_.http, "--trace-id", TraceIdHex(asked)});
  EXPECT_EQ(waterfall.end, "exit status 0");
  EXPECT_THAT(waterfall.output, HasSubstr(absl::StrCat("trace ", TraceIdHex(asked), ", ")));
  EXPECT_THAT(waterfall.output, HasSubstr("front/0, 3 nodes, sampled"));
  EXPECT_THAT(waterfall.output, ContainsRegex("\n +[0-9.]+ +[0-9.]+  mid/0 +portal leaf, wire [0-9.]+ +┄"));
  EXPECT_THAT(waterfall.output, ContainsRegex("\n +[0-9.]+ +[0-9.]+  deep/[01] +batch of 3 rows, 1 calls +█"));
  EXPECT_THAT(waterfall.output, ContainsRegex("µs = █ batch .* \\+ ░ queue .* \\+ ┄ wire .* \\+ ─ rest "));
  EXPECT_THAT(waterfall.output, Not(HasSubstr("\x1b"))) << "no terminal, no colours";

  EXPECT_THAT(RunPortico({"trace", "--run-folder", run_folder(), "--list"}).output,
              ContainsRegex(absl::StrCat("\n", TraceIdHex(asked), " .* model head at front/0")));
  EXPECT_THAT(RunPortico({"trace", "--http", front_.http, "--slowest", "--format", "chrome"}).output,
              HasSubstr("\"traceEvents\":["));
}

TEST_F(TraceTopTest, WhatIsNotThereIsSaid) {
  const CommandResult unknown =
      RunPortico({"trace", "--http", front_.http, "--trace-id", "00000000000000000000000000000001"});
  EXPECT_EQ(unknown.end, "exit status 1");
  EXPECT_THAT(unknown.output, HasSubstr("got none of that id"));
  const CommandResult nobody = RunPortico({"trace", "--http", "127.0.0.1:1"});
  EXPECT_EQ(nobody.end, "exit status 1");
  EXPECT_THAT(nobody.output, HasSubstr("connect to '127.0.0.1:1'"));
  EXPECT_THAT(RunPortico({"trace", "--trace-id", "x"}).output, HasSubstr("want 32 hex digits"));
  EXPECT_THAT(RunPortico({"trace", "--run-folder", folder_.path() + "/none"}).output, HasSubstr("No such file"));
  EXPECT_THAT(RunPortico({"top", "--run-folder", folder_.path() + "/none", "--once"}).output,
              HasSubstr("No such file"));
  EXPECT_EQ(RunPortico({"top", "--http", "127.0.0.1:1", "--once"}).end, "exit status 1");
  EXPECT_THAT(RunPortico({"top", "--interval", "soon"}).output, HasSubstr("--interval: got 'soon'"));
  for (const char* command : {"trace", "top"}) {
    EXPECT_THAT(RunPortico({command, "--help"}).output, HasSubstr("Example"));
  }
}

/// The cells of the first line that begins with `first`.
std::vector<std::string> Row(const std::string& text, const std::string& first) {
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    if (absl::StripLeadingAsciiWhitespace(line).rfind(first, 0) == 0) {
      return absl::StrSplit(line, ' ', absl::SkipEmpty());
    }
  }
  return {};
}
double Number(const std::vector<std::string>& row, size_t cell) {
  double value = -1;
  return cell < row.size() && absl::SimpleAtod(row[cell], &value) ? value : -1;
}

TEST_F(TraceTopTest, TopShowsModelsPortalsAndReplicasUnderLoad) {
  std::atomic<bool> over{false};
  std::atomic<int> failed{0};
  std::thread load([&] {
    TfsClient client(front_.grpc);
    while (!over) {
      failed += !client.Predict("head", "", {{"x", Tensor::Of<float>({3, 2}, {1, 2, 3, 4, 5, 6})}}, {}).ok();
    }
  });
  const CommandResult top = RunPortico({"top", "--run-folder", run_folder(), "--once", "--interval", "2s"});
  over = true;
  load.join();
  EXPECT_EQ(failed, 0);
  ASSERT_EQ(top.end, "exit status 0") << top.output;
  SCOPED_TRACE(top.output);
  for (const char* node : {"front/0 ", "mid/0 ", "deep/0 ", "deep/1 "}) {
    const auto row = Row(top.output, node);
    ASSERT_GE(row.size(), 4u) << node;
    EXPECT_EQ(row[1], "ready");
  }
  for (const char* model : {"head", "middle", "leaf"}) {
    const auto row = Row(top.output, absl::StrCat(model, " "));
    ASSERT_GE(row.size(), 5u) << model;
    EXPECT_EQ(row[1], "1") << "version";
    EXPECT_GT(Number(row, 3), 1) << "calls per second";
    EXPECT_EQ(Number(row, 4), 0) << "errors per second";
    EXPECT_EQ(row.back(), "%");
    EXPECT_EQ(row[row.size() - 3], "3.0") << "rows per run";
  }
  const auto calls = Number(Row(top.output, "head "), 3);
  EXPECT_NEAR(Number(Row(top.output, "middle "), 3), calls, 0.3 * calls + 2) << "each asks the next";
  EXPECT_THAT(top.output, ContainsRegex("\nmid/0 +leaf +2 replicas +[1-9]"));
  EXPECT_THAT(top.output, ContainsRegex("\n +deep/0 +here +[0-9]"));
  EXPECT_THAT(top.output, ContainsRegex("\n +deep/1 +here +[0-9]"));
}

/// A command at a terminal of 100 columns and 30 rows.
class AtTerminal {
 public:
  explicit AtTerminal(std::vector<std::string> words) {
    words.insert(words.begin(), PORTICO_BINARY_DIR "/portico");
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    winsize size{30, 100, 0, 0};
    // This side stays open, too, so that there is a terminal to look at in the end.
    EXPECT_EQ(openpty(&terminal_, &other_side_, nullptr, nullptr, &size), 0);
    pid_ = fork();
    if (pid_ == 0) {
      login_tty(other_side_);
      execv(arguments[0], arguments.data());
      _exit(127);
    }
  }
  ~AtTerminal() {
    if (!ended_) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    close(terminal_);
    close(other_side_);
  }

  /// Reads until `text` has been written. False after twenty seconds, or at the end.
  bool WaitForText(const std::string& text) {
    while (written_.find(text) == std::string::npos) {
      std::array<char, 4096> bytes;
      pollfd wanted{terminal_, POLLIN, 0};
      if (poll(&wanted, 1, 20'000) <= 0) return false;
      const ssize_t got = read(terminal_, bytes.data(), bytes.size());
      if (got <= 0) return false;
      written_.append(bytes.data(), static_cast<size_t>(got));
    }
    return true;
  }
  void Press(char key) { EXPECT_EQ(write(terminal_, &key, 1), 1); }
  pid_t pid() const { return pid_; }
  const std::string& written() const { return written_; }
  bool Echoes() const {
    termios now{};
    return tcgetattr(other_side_, &now) == 0 && (now.c_lflag & ECHO) != 0 && (now.c_lflag & ICANON) != 0;
  }
  /// Exit status; −1 where it did not end by one.
  int Wait() {
    int status = 0;
    waitpid(pid_, &status, 0);
    ended_ = true;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  int terminal_ = -1;
  int other_side_ = -1;
  pid_t pid_ = -1;
  bool ended_ = false;
  std::string written_;
};

TEST_F(TraceTopTest, TopGivesTheTerminalBack) {
  constexpr char kBack[] = "\x1b[?25h\x1b[?1049l";
  for (const bool by_key : {true, false}) {
    AtTerminal top({"top", "--run-folder", run_folder(), "--interval", "200ms"});
    ASSERT_TRUE(top.WaitForText("MODEL")) << top.written();
    EXPECT_THAT(top.written(), HasSubstr("\x1b[?1049h"));
    EXPECT_FALSE(top.Echoes());
    top.Press('n');
    if (by_key) {
      top.Press('q');
    } else {
      kill(top.pid(), SIGINT);
    }
    EXPECT_TRUE(top.WaitForText(kBack)) << top.written();
    EXPECT_EQ(top.Wait(), 0);
    EXPECT_TRUE(top.Echoes());
  }
}

}  // namespace
}  // namespace portico
