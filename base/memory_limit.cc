#include "base/memory_limit.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace portico {
namespace {

constexpr uint64_t kNone = std::numeric_limits<uint64_t>::max();

/// The group of version 2 that this process is in; empty: none.
std::string OwnCgroup() {
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    absl::string_view group = line;
    if (absl::ConsumePrefix(&group, "0::")) return std::string(group);
  }
  return "";
}

}  // namespace

uint64_t CgroupMemoryLimit(const std::string& mount, const std::string& group) {
  uint64_t least = kNone;
  for (std::filesystem::path at = std::filesystem::path(group).relative_path();; at = at.parent_path()) {
    std::ifstream file(std::filesystem::path(mount) / at / "memory.max");
    std::string text;
    uint64_t bytes = 0;
    // "max" is none.
    if (std::getline(file, text) && absl::SimpleAtoi(text, &bytes)) least = std::min(least, bytes);
    if (at.empty()) return least;
  }
}

uint64_t MemoryLimit() {
  const uint64_t physical =
      static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return std::min(physical, CgroupMemoryLimit("/sys/fs/cgroup", OwnCgroup()));
}

}  // namespace portico
