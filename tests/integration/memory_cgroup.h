#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace portico {

/// A limit on the memory of processes that are started in it: a memory cgroup of its own, version 1 or 2. What they
/// read of files counts too, so that files larger than the limit are read again and again. Needs the right to make one.
/// For one thread.
class MemoryCgroup {
 public:
  /// An error says what is missing.
  static absl::StatusOr<std::unique_ptr<MemoryCgroup>> Create(int64_t limit_bytes);
  /// REQUIRES: no process is in it any more.
  ~MemoryCgroup();
  MemoryCgroup(const MemoryCgroup&) = delete;

  /// Words before a command that is to run in it.
  std::vector<std::string> prefix() const;
  /// In use now, by processes and by files that they have read.
  int64_t used_bytes() const;
  /// How often more than the limit was wanted, and pages had to go.
  int64_t times_full() const;

 private:
  MemoryCgroup(std::string path, bool first_version) : path_(std::move(path)), first_version_(first_version) {}

  const std::string path_;
  const bool first_version_;
};

}  // namespace portico
