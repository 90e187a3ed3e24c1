#include "node/process_name.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace portico {
namespace {

/// The machine since it was started, and the processes that see each other there. Empty where that is not known.
std::string OwnSurroundings() {
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  char space[128];
  const ssize_t length = readlink("/proc/self/ns/pid", space, sizeof space);
  if (boot.empty() || length <= 0) return "";
  return absl::StrCat(boot, "/", absl::string_view(space, static_cast<size_t>(length)));
}

/// What /proc says of a process: its state, a letter, and when it was started. Empty where it says nothing.
struct ProcessStat {
  std::string state;
  std::string start;
};

ProcessStat StatOf(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  std::string line;
  std::getline(file, line);
  // Its second field is a name in brackets, which may hold anything.
  const size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return {};
  const std::vector<std::string> fields = absl::StrSplit(line.substr(name_end + 1), ' ', absl::SkipEmpty());
  constexpr size_t kState = 0, kStart = 19;
  if (fields.size() <= kStart) return {};
  return {fields[kState], fields[kStart]};
}

}  // namespace

std::string OwnProcessName() {
  const std::string surroundings = OwnSurroundings();
  const ProcessStat own = StatOf(getpid());
  if (surroundings.empty() || own.start.empty()) return "";
  return absl::StrCat(surroundings, "/", getpid(), "/", own.start);
}

ProcessState StateOfProcess(absl::string_view name) {
  const std::vector<absl::string_view> parts = absl::StrSplit(name, '/');
  pid_t pid = 0;
  if (parts.size() != 4 || !absl::SimpleAtoi(parts[2], &pid) || pid <= 0) return ProcessState::kUnknown;
  if (absl::StrCat(parts[0], "/", parts[1]) != OwnSurroundings()) return ProcessState::kUnknown;
  if (kill(pid, 0) != 0 && errno == ESRCH) return ProcessState::kEnded;
  const ProcessStat now = StatOf(pid);
  if (now.start.empty()) return ProcessState::kUnknown;  // Another user's, which is not shown to us.
  // Its number may be another one's by now; Z and X wait only for their parent to look.
  return now.start == parts[3] && now.state != "Z" && now.state != "X" ? ProcessState::kRuns : ProcessState::kEnded;
}

std::string PidOf(absl::string_view name) {
  const std::vector<std::string> parts = absl::StrSplit(name, '/');
  return parts.size() == 4 ? parts[2] : "";
}

}  // namespace portico
