#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace portico {

/// Why a channel does not send a call or ends it without an answer, in words that are the same whatever carries it.
class CallRefusal {
 public:
  /// `endpoint` is not owned and must outlive it.
  explicit CallRefusal(absl::string_view endpoint) : endpoint_(endpoint) {}

  absl::Status NoConnection(absl::string_view why) const;
  absl::Status Leaving() const;
  absl::Status TooManyCalls(uint64_t calls, uint64_t max_calls) const;
  absl::Status TooManyBytes(uint64_t bytes, uint64_t in_flight, uint64_t max_bytes) const;
  absl::Status Cancelled() const;
  absl::Status Expired(bool sent) const;
  absl::Status Failed(absl::StatusCode code, absl::string_view why, bool sent) const;

 private:
  absl::string_view endpoint_;
};

}  // namespace portico
