#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "batcher/batcher.h"

namespace portico {

/// What one servable version has done since it was loaded, in exact counts, as the statistics of the Open Inference
/// Protocol tell it. (Metrics tell the same in histograms.) Thread-safe, lock-free.
class ServableStats final : public BatchObserver {
 public:
  struct Total {
    uint64_t count = 0;
    absl::Duration time;
  };
  struct BatchSize {
    /// Runs of so many rows; of more than kMaxExactRows: the power of two they do not exceed.
    int64_t rows = 0;
    Total runs;
  };
  struct Snapshot {
    /// Requests answered and failed, from admission to answer.
    Total succeeded;
    Total failed;
    /// Calls of segments: the time they waited, and the time of the runs they shared.
    Total queued;
    Total computed;
    /// Requests that were looked for among kept answers (result_cache/), all of whose rows were there, or not; the time
    /// that looking took.
    Total cache_hits;
    Total cache_misses;
    /// Rows of requests that succeeded, and runs of segments.
    uint64_t rows = 0;
    uint64_t runs = 0;
    absl::Time last_request;
    /// Sizes that occurred, rising.
    std::vector<BatchSize> batch_sizes;
  };
  static constexpr int64_t kMaxExactRows = 128;

  void RequestDone(bool ok, absl::Duration latency, int64_t rows, absl::Time now);
  void OnRun(const Run& run) override;
  void LookedInCache(bool hit, absl::Duration took) { (hit ? cache_hits_ : cache_misses_).Add(1, took); }
  Snapshot Read() const;

 private:
  struct Sum {
    std::atomic<uint64_t> count{0};
    std::atomic<int64_t> ns{0};

    void Add(uint64_t times, absl::Duration time) {
      count.fetch_add(times, std::memory_order_relaxed);
      ns.fetch_add(absl::ToInt64Nanoseconds(time), std::memory_order_relaxed);
    }
    Total Read() const {
      return {count.load(std::memory_order_relaxed), absl::Nanoseconds(ns.load(std::memory_order_relaxed))};
    }
  };
  /// Exact sizes, then one for each power of two above.
  static constexpr size_t kSizes = kMaxExactRows + 1 + 56;
  static size_t SizeIndex(int64_t rows);
  static int64_t RowsOfIndex(size_t index);

  Sum succeeded_, failed_, queued_, computed_, cache_hits_, cache_misses_;
  std::atomic<uint64_t> rows_{0};
  std::atomic<uint64_t> runs_{0};
  std::atomic<int64_t> last_request_ns_{0};
  std::array<Sum, kSizes> sizes_;
};

}  // namespace portico
