#pragma once

#include <atomic>
#include <cstdint>

namespace portico {

/// Counts the calls of one target that are in flight from this node, against a limit. Thread-safe, lock-free.
class CallWindow {
 public:
  /// What Enter() found.
  struct Place {
    bool entered = false;
    /// Calls in flight besides this one.
    int64_t fill = 0;
  };
  /// Where it entered, one Leave() is owed.
  Place Enter(int64_t limit) {
    const int64_t fill = in_flight_.fetch_add(1, std::memory_order_relaxed);
    if (fill < limit) return {true, fill};
    in_flight_.fetch_sub(1, std::memory_order_relaxed);
    return {false, fill};
  }
  void Leave() { in_flight_.fetch_sub(1, std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> in_flight_{0};
};

}  // namespace portico
