#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace portico {

/// Which version the last answer of each client was of, where clients never pause and a revision follows the other: a
/// node follows a little after `portico up` says that a revision is current, and a request that is under way then may
/// still be answered by the revision before. Thread-safe.
class ClientVersions {
 public:
  static constexpr size_t kMaxClients = 16;

  /// REQUIRES: one thread at a time for each client, client < kMaxClients.
  void Set(size_t client, int64_t version) { last_[client] = version; }

  /// Blocks until each of the first `clients` was answered by that version last. Expects that to be within a minute.
  void WaitFor(int64_t version, size_t clients) const {
    const auto all = [&] {
      for (size_t i = 0; i < clients; ++i) {
        if (last_[i] != version) return false;
      }
      return true;
    };
    for (const absl::Time end = absl::Now() + absl::Minutes(1); !all();) {
      if (absl::Now() >= end) {
        ADD_FAILURE() << "not all clients are answered by version " << version;
        return;
      }
      absl::SleepFor(absl::Milliseconds(1));
    }
  }

 private:
  std::array<std::atomic<int64_t>, kMaxClients> last_ = {};
};

}  // namespace portico
