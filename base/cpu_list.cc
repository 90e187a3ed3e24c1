#include "base/cpu_list.h"

#include <sched.h>
#include <sys/types.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace portico {
namespace {

constexpr int kMaxCpu = 4096;

/// Room for any core that a list can name.
using CpuSet = std::vector<cpu_set_t>;
CpuSet NoCpus() {
  CpuSet set(CPU_ALLOC_SIZE(kMaxCpu) / sizeof(cpu_set_t) + 1);
  CPU_ZERO_S(set.size() * sizeof(cpu_set_t), set.data());
  return set;
}
size_t BytesOf(const CpuSet& set) { return set.size() * sizeof(cpu_set_t); }

/// "0-3,8".
std::string Text(const CpuSet& set) {
  std::string text;
  const auto has = [&](int cpu) { return cpu < kMaxCpu && CPU_ISSET_S(cpu, BytesOf(set), set.data()); };
  for (int cpu = 0; cpu < kMaxCpu; ++cpu) {
    if (!has(cpu)) continue;
    const int first = cpu;
    while (has(cpu + 1)) ++cpu;
    absl::StrAppend(&text, text.empty() ? "" : ",", first);
    if (cpu > first) absl::StrAppend(&text, "-", cpu);
  }
  return text;
}

/// Has all threads of this process run there.
absl::Status MoveThreads(const CpuSet& cpus) {
  // A thread that was not moved yet may have started another one: until nothing is new.
  std::set<pid_t> moved;
  for (bool is_new = true; is_new;) {
    is_new = false;
    std::error_code error;
    std::filesystem::directory_iterator task("/proc/self/task", error);
    for (; !error && task != std::filesystem::directory_iterator(); task.increment(error)) {
      pid_t thread = 0;
      if (!absl::SimpleAtoi(task->path().filename().native(), &thread) || !moved.insert(thread).second) continue;
      is_new = true;
      // ESRCH: it has ended.
      if (sched_setaffinity(thread, BytesOf(cpus), cpus.data()) != 0 && errno != ESRCH) {
        return absl::InternalError(absl::StrCat("cpus: sched_setaffinity: ", std::strerror(errno)));
      }
    }
    if (error) return absl::InternalError(absl::StrCat("cpus: /proc/self/task: ", error.message()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<int>> ParseCpuList(absl::string_view text) {
  std::vector<int> cpus;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    const std::pair<absl::string_view, absl::string_view> ends = absl::StrSplit(part, absl::MaxSplits('-', 1));
    int first = 0, last = 0;
    const bool is_range = part.find('-') != absl::string_view::npos;
    const bool read = absl::SimpleAtoi(ends.first, &first) && absl::SimpleAtoi(is_range ? ends.second : part, &last);
    if (!read || first < 0 || last < first || last >= kMaxCpu || (!cpus.empty() && first <= cpus.back())) {
      return absl::InvalidArgumentError(
          absl::StrCat("cpus: got '", text.substr(0, 100), "', want numbers of cores, rising, such as 0-3,8"));
    }
    for (int cpu = first; cpu <= last; ++cpu) cpus.push_back(cpu);
  }
  return cpus;
}

absl::Status RunOnCpus(const std::vector<int>& cpus) {
  CpuSet allowed = NoCpus(), wanted = NoCpus();
  if (sched_getaffinity(0, BytesOf(allowed), allowed.data()) != 0) {
    return absl::InternalError(absl::StrCat("cpus: sched_getaffinity: ", std::strerror(errno)));
  }
  for (const int cpu : cpus) {
    if (!CPU_ISSET_S(cpu, BytesOf(allowed), allowed.data())) {
      return absl::FailedPreconditionError(
          absl::StrCat("cpus: got ", cpu, ", want some of ", Text(allowed), ", on which this process may run"));
    }
    CPU_SET_S(cpu, BytesOf(wanted), wanted.data());
  }
  return MoveThreads(wanted);
}

}  // namespace portico
