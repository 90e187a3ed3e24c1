#pragma once

#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

namespace portico {

/// Whether a sanitizer keeps what is freed: memory in use says little then.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

/// Bytes of a process (0: this one) that are in memory now.
inline int64_t ResidentBytes(pid_t pid = 0) {
  std::ifstream in("/proc/" + (pid == 0 ? "self" : std::to_string(pid)) + "/statm");
  int64_t total = 0, resident = 0;
  in >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

/// Descriptors that a process (0: this one) has open now. This one's count has the folder that is read for it.
inline int OpenDescriptors(pid_t pid = 0) {
  int count = 0;
  const std::string folder = "/proc/" + (pid == 0 ? "self" : std::to_string(pid)) + "/fd";
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++count;
  return count;
}

}  // namespace portico
