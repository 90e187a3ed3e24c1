#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"

namespace portico {

/// One line on standard error that changes, at a terminal alone; gone with the object. For one thread.
class ProgressLine {
 public:
  explicit ProgressLine(std::string what);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  /// Shown five times a second at most.
  void Show(uint64_t done, uint64_t all, const std::string& unit);

 private:
  const std::string what_;
  const bool terminal_;
  const absl::Time start_;
  absl::Time last_ = absl::InfinitePast();
  bool shown_ = false;
  /// What was done when it began.
  std::optional<uint64_t> first_;
};

}  // namespace portico
