#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "base/clock.h"
#include "transport/stream_loop.h"

namespace portico {

/// The threads of a transport that carry native sockets. Thread-safe.
class StreamLoops {
 public:
  StreamLoops(int count, const Clock& clock, absl::Duration spin) {
    for (int i = 0; i < count; ++i) loops_.push_back(std::make_unique<StreamLoop>(clock, spin));
  }

  /// Where the next channel, listener or connection lives: in turn.
  StreamLoop& Next() { return *loops_[next_.fetch_add(1, std::memory_order_relaxed) % loops_.size()]; }

  /// Returns when each has run what was posted to it before. Holding no lock; on a thread of theirs only where no other
  /// of them does the same.
  void Settle() {
    for (const auto& loop : loops_) {
      loop->RunAndWait([] {});
    }
  }

 private:
  std::vector<std::unique_ptr<StreamLoop>> loops_;
  std::atomic<uint64_t> next_{0};
};

}  // namespace portico
