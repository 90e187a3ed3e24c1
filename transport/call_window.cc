#include "transport/call_window.h"

#include "absl/strings/str_cat.h"

namespace portico {

absl::Status CallWindow::Enter(uint64_t bytes) {
  const uint64_t calls = calls_.fetch_add(1, std::memory_order_relaxed);
  const uint64_t before = bytes_.fetch_add(bytes, std::memory_order_relaxed);
  if (calls >= max_calls_) {
    Leave(bytes);
    return absl::ResourceExhaustedError(
        absl::StrCat("endpoint '", endpoint_, "': got ", calls, " calls in flight, want at most ", max_calls_));
  }
  if (bytes > max_bytes_ || before > max_bytes_ - bytes) {
    Leave(bytes);
    return absl::ResourceExhaustedError(absl::StrCat("endpoint '", endpoint_, "': got ", bytes, " bytes on top of ",
                                                     before, " in flight, want at most ", max_bytes_));
  }
  return absl::OkStatus();
}

void CallWindow::Leave(uint64_t bytes) {
  calls_.fetch_sub(1, std::memory_order_relaxed);
  bytes_.fetch_sub(bytes, std::memory_order_relaxed);
}

}  // namespace portico
