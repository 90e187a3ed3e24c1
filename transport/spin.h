#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <utility>

#include "absl/time/time.h"

namespace portico {

/// How long a thread of a transport that has run out of work looks for more before it sleeps. To be woken costs more
/// than most calls; to look costs a core. So it is off unless asked for, it ends soon after the last work or where
/// others want the core, and no more threads of a process do it at once than the machine has cores.
///
///   for (Spin::Turn turn(spin_); turn.Goes();) {
///     if (work has come) return …;
///   }
///   sleep
///
/// Belongs to one thread.
class Spin {
 public:
  /// 0: never.
  explicit Spin(absl::Duration most) : most_(absl::ToChronoNanoseconds(most)) {}

  class Turn {
   public:
    explicit Turn(const Spin& spin) {
      if (spin.most_.count() == 0) return;
      counted_ = true;
      if (Spinners().fetch_add(1, std::memory_order_relaxed) >= Cores()) return;
      until_ = std::chrono::steady_clock::now() + spin.most_;
    }
    ~Turn() {
      if (counted_) Spinners().fetch_sub(1, std::memory_order_relaxed);
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

    /// To be asked before every look. False: sleep.
    bool Goes() {
      const auto now = std::chrono::steady_clock::now();
      if (!counted_ || now >= until_) return false;
      if (!std::exchange(looked_, true)) return true;
      // Who has the work may wait for this very core. Who keeps it has other work: then this is the last look, for who
      // sleeps is put first when work comes, who looks is not.
      std::this_thread::yield();
      if (std::chrono::steady_clock::now() - now > kCrowded) until_ = now;
      return true;
    }

   private:
    /// A yield that took longer let somebody else compute.
    static constexpr std::chrono::microseconds kCrowded{25};

    bool counted_ = false;
    bool looked_ = false;
    std::chrono::steady_clock::time_point until_;
  };

 private:
  static std::atomic<unsigned>& Spinners() {
    static std::atomic<unsigned> spinners{0};
    return spinners;
  }
  static unsigned Cores() {
    static const unsigned cores = std::max(std::thread::hardware_concurrency(), 1u);
    return cores;
  }

  const std::chrono::nanoseconds most_;
};

}  // namespace portico
