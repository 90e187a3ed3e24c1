#pragma once

#include <atomic>
#include <cstdint>

namespace portico {

/// Tokens for the retries of one target, or for its hedges: each first call earns a part of one, each further one takes
/// a whole one. What keeps them from doubling the load of a mesh that is failing because it is overloaded.
///
/// The bucket is full at first. That of retries holds as many as a peer can have calls in flight, so that the loss of
/// one peer under full load is covered. Thread-safe; one atomic operation a call.
class RetryBudget {
 public:
  /// `percent` of the calls may be retries in the long run, `burst` at once.
  RetryBudget(int percent, int64_t burst) : percent_(percent), full_(burst * kToken), parts_(full_) {}

  void SetPercent(int percent) { percent_.store(percent, std::memory_order_relaxed); }

  /// A first call went out.
  void Earn() {
    // Nearly always full: then nothing is written. Threads that earn at once may overfill it by a part each.
    const int percent = percent_.load(std::memory_order_relaxed);
    if (percent == 0 || parts_.load(std::memory_order_relaxed) >= full_) return;
    parts_.fetch_add(percent, std::memory_order_relaxed);
  }
  /// True where a retry may go out.
  bool Take() {
    int64_t parts = parts_.load(std::memory_order_relaxed);
    while (percent_.load(std::memory_order_relaxed) > 0 && parts >= kToken) {
      if (parts_.compare_exchange_weak(parts, parts - kToken, std::memory_order_relaxed)) return true;
    }
    return false;
  }
  /// What was taken was not used.
  void GiveBack() { parts_.fetch_add(kToken, std::memory_order_relaxed); }

 private:
  /// Parts of a retry.
  static constexpr int64_t kToken = 100;

  std::atomic<int> percent_;
  const int64_t full_;
  std::atomic<int64_t> parts_;
};

}  // namespace portico
