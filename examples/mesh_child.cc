#include "examples/mesh_child.h"

#include <poll.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"

namespace portico::examples {
namespace {

void PrintLine(absl::string_view line) {
  std::printf("  %.*s\n", static_cast<int>(line.size()), line.data());
  std::fflush(stdout);
}

/// Prints what is left until the end of output.
void PrintRest(Process& process, LineCutter& lines) {
  bool more = true;
  while (more) {
    pollfd wanted{process.output(), POLLIN, 0};
    poll(&wanted, 1, -1);
    std::string bytes;
    more = process.ReadOutput(&bytes);
    lines.Add(bytes, PrintLine);
  }
  lines.Finish(PrintLine);
}

/// /proc/PID/stat: what follows the name in parentheses, which may hold blanks, begins with field 3.
absl::StatusOr<double> ProcessCpuSeconds(int64_t pid) {
  constexpr size_t kUserTime = 14 - 3, kSystemTime = 15 - 3;
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const absl::string_view after_name = absl::string_view(text).substr(text.rfind(')') + 1);
  const std::vector<absl::string_view> fields = absl::StrSplit(after_name, ' ', absl::SkipEmpty());
  int64_t user = 0, system = 0;
  if (fields.size() <= kSystemTime || !absl::SimpleAtoi(fields[kUserTime], &user) ||
      !absl::SimpleAtoi(fields[kSystemTime], &system)) {
    return absl::InternalError(absl::StrCat("process ", pid, ": got no times in /proc, want it to run"));
  }
  return static_cast<double>(user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

}  // namespace

absl::Status RunToEnd(const std::vector<std::string>& command) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Process> process, Process::Start(command));
  LineCutter lines;
  PrintRest(*process, lines);
  const std::string end = process->Wait();
  if (process->succeeded()) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("'", command[0], " ", command[1], "': got ", end, ", want 0; see above"));
}

absl::StatusOr<std::unique_ptr<MeshChild>> MeshChild::Start(const std::string& portico, const std::string& mesh_file,
                                                            const std::string& run_folder, SignalFd& signals) {
  ASSIGN_OR_RETURN(std::unique_ptr<Process> process,
                   Process::Start({portico, "up", mesh_file, "--run-folder", run_folder}));
  std::unique_ptr<MeshChild> child(new MeshChild(std::move(process), run_folder, signals));
  bool ready = false;
  while (!ready) {
    bool signalled = false;
    RETURN_IF_ERROR(child->Step(&ready, &signalled));
    if (!signalled) continue;
    RETURN_IF_ERROR(child->Stop());
    return absl::CancelledError("stopped");
  }
  return child;
}

absl::StatusOr<NodeStatus> MeshChild::Status(const std::string& node) const {
  return ReadNodeStatus(absl::StrCat(run_folder_, "/status/", node, "-0.json"));
}

absl::StatusOr<double> MeshChild::CpuSeconds() const {
  double seconds = 0;
  for (const auto& file : std::filesystem::directory_iterator(run_folder_ + "/status")) {
    if (file.path().extension() != ".json") continue;
    ASSIGN_OR_RETURN(const NodeStatus node, ReadNodeStatus(file.path().string()));
    ASSIGN_OR_RETURN(const double used, ProcessCpuSeconds(node.pid));
    seconds += used;
  }
  return seconds;
}

absl::Status MeshChild::ServeUntilSignal() {
  bool ready = false, signalled = false;
  while (!signalled) RETURN_IF_ERROR(Step(&ready, &signalled));
  return absl::OkStatus();
}

absl::Status MeshChild::Stop() {
  process_->Signal(SIGTERM);
  PrintRest(*process_, lines_);
  const std::string end = process_->Wait();
  if (process_->succeeded()) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("portico up: got ", end, " after SIGTERM, want 0"));
}

absl::Status MeshChild::Step(bool* ready, bool* signalled) {
  pollfd wanted[] = {{signals_.fd(), POLLIN, 0}, {process_->output(), POLLIN, 0}};
  poll(wanted, 2, -1);
  *signalled = signals_.Next() != 0;
  if (wanted[1].revents == 0) return absl::OkStatus();
  std::string bytes;
  const bool more = process_->ReadOutput(&bytes);
  lines_.Add(bytes, [ready](absl::string_view line) {
    PrintLine(line);
    // Lines of nodes have their name in front.
    *ready |= absl::StartsWith(line, "mesh '") && absl::StrContains(line, "' is ready after ");
  });
  if (more) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("portico up: got ", process_->Wait(), ", want it to serve; see above"));
}

}  // namespace portico::examples
