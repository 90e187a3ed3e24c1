#pragma once

#include <sched.h>

#include <algorithm>
#include <memory>
#include <thread>
#include <vector>

namespace portico {

/// A T for each core, 16 at most: whoever reads takes the one of the core it runs on, so that a lock in T is its own
/// nearly always; whoever writes goes through all of them. T is default constructed.
template <typename T>
class PerCore {
 public:
  /// `copies`: 0: as many as cores, at most 16.
  explicit PerCore(int copies = 0) {
    constexpr int kMaxCopies = 16;
    if (copies <= 0) copies = std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMaxCopies);
    for (int i = 0; i < copies; ++i) copies_.push_back(std::make_unique<Aligned>());
  }

  /// Costs a nanosecond; threads meet only where one is preempted or moved while it holds on to what it got.
  T& Own() const { return copies_[static_cast<size_t>(std::max(sched_getcpu(), 0)) % copies_.size()]->value; }

  int size() const { return static_cast<int>(copies_.size()); }
  T& operator[](int index) const { return copies_[static_cast<size_t>(index)]->value; }

 private:
  /// Cache lines of its own, so that threads with different copies don't meet.
  struct alignas(128) Aligned {
    T value;
  };
  std::vector<std::unique_ptr<Aligned>> copies_;
};

}  // namespace portico
