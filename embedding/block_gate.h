#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"

namespace portico {

/// What a table asks about the memory it reads. Thread-safe.
class BlockGate {
 public:
  virtual ~BlockGate() = default;

  /// Whether everything was verified, and nothing broke since: no need to ask about parts.
  virtual bool AllVerified() const = 0;
  /// OK when the blocks under [at, at + bytes) are as they were written: verifies them where nobody did yet, which
  /// reads them. DATA_LOSS names the first that is not. May be called for each row: no work once verified.
  virtual absl::Status Ensure(const char* at, size_t bytes) = 0;
  /// Grows each time that memory turned out to be gone while somebody read it; what was read meanwhile is void.
  virtual uint64_t Faults() const = 0;
};

}  // namespace portico
