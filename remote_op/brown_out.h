#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "base/tensor.h"
#include "remote_op/shed_level.h"

namespace portico {

/// Which rows a cascade keeps from its full model while that is overloaded: those that need it least, as many as the
/// level (ShedLevel) allows. Of all rows that come while it lasts, never more than the declared share is kept, however
/// they are spread over requests: each earns a part of a row, and each that is kept takes a whole one. Who needs it
/// least is judged among the rows of late, so that a request of one row is treated as one of many.
///
/// Nothing is done as long as no call is refused or late. Thread-safe, lock-free. Step() is called by one thread at a
/// time, every kStep from when Ended() said so until it says that it is over.
class BrownOut {
 public:
  static constexpr absl::Duration kStep = absl::Milliseconds(100);

  /// `max_shed`: 0 to 1.
  explicit BrownOut(double max_shed) : shed_level_(max_shed) {}

  /// A call of the full model has ended. True where that is the first sign of an overload: Step() is wanted.
  bool Ended(bool overloaded);

  struct State {
    double level = 0;
    /// Of those that were looked at for it.
    int64_t calls = 0;
    int64_t overloaded = 0;
    /// No Step() is wanted any more.
    bool over = false;
  };
  State Step();

  /// Whether there are steps: nearly never.
  bool active() const { return active_.load(std::memory_order_acquire); }
  /// Share of rows that are kept now.
  double level() const { return level_.load(std::memory_order_relaxed); }

  /// Takes rows out of `rows` (ascending), which want the full model; `need` has a value for each row of the request,
  /// the higher the more. What is NaN is never taken. Returns them, ascending. REQUIRES: `need` is float[N].
  std::vector<int64_t> Take(const Tensor& need, std::vector<int64_t>* rows);

 private:
  /// Steps that are waited for so many calls, before few are taken for all.
  static constexpr int64_t kEnoughCalls = 4;
  static constexpr int kMaxWait = 5;
  /// Rows of late whose need is known.
  static constexpr uint32_t kSeen = 256;
  static constexpr uint32_t kEnoughSeen = 16;
  /// Parts of a row, and what can be saved up.
  static constexpr int64_t kRow = 1'000'000;
  static constexpr int64_t kMaxCredit = 64 * kRow;

  void See(float need);
  /// What a share `level_` of the rows of late did not exceed.
  float Threshold() const;
  /// Earns for `rows`; how many of `wanted` may be kept.
  size_t Afford(size_t rows, size_t wanted);

  std::atomic<bool> active_{false};
  std::atomic<int64_t> calls_{0};
  std::atomic<int64_t> overloaded_{0};
  std::atomic<double> level_{0};
  std::atomic<float> threshold_{0};
  std::atomic<int64_t> credit_{0};
  std::atomic<uint32_t> seen_{0};
  std::array<std::atomic<float>, kSeen> needs_{};
  // Of Step() alone.
  ShedLevel shed_level_;
  State waiting_;
  int waited_ = 0;
};

}  // namespace portico
