#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "absl/types/span.h"
#include "embedding/row_cache.h"

namespace portico {

/// What a lookup makes of the rows that are kept.
enum class KeptUse : uint8_t {
  /// Nothing.
  kNone,
  /// Those that are there are not asked for; rows are asked for where the others are fewer bytes than sums.
  kLook,
  /// Rows are asked for where they are no more than a few times the bytes of sums, so that they come to be kept.
  kLearn,
};

/// What a plan may use of the rows that this process keeps. Borrowed; without a cache it may use none.
struct KeptRows {
  const RowCache* cache = nullptr;
  /// By shard: of which version its rows have to be; 0: none will do.
  absl::Span<const uint64_t> origins;
  /// By lookup: the number of its table in the cache's keys.
  absl::Span<const uint32_t> tables;
  absl::Span<const KeptUse> uses;
};

/// When a lookup whose bags have many ids looks for kept rows, which pays only once so many are kept that those which
/// are not are fewer bytes than sums. Where it did not pay a number of requests do not look, the next one asks for rows
/// so that there are more, and the one behind it looks again; the number doubles each time, up to 64. Thread-safe;
/// threads that meet may count one request too few.
class KeptTurns {
 public:
  KeptUse Next() {
    const uint32_t left = left_.load(std::memory_order_relaxed);
    if (left == 0) return KeptUse::kLook;
    left_.store(left - 1, std::memory_order_relaxed);
    return left == 1 ? KeptUse::kLearn : KeptUse::kNone;
  }
  /// What came of a kLook.
  void Looked(bool paid) {
    if (paid) {
      if (rest_.load(std::memory_order_relaxed) != kLeast) rest_.store(kLeast, std::memory_order_relaxed);
      return;
    }
    const uint32_t rest = rest_.load(std::memory_order_relaxed);
    left_.store(rest, std::memory_order_relaxed);
    rest_.store(std::min(2 * rest, kMost), std::memory_order_relaxed);
  }

 private:
  static constexpr uint32_t kLeast = 4;
  static constexpr uint32_t kMost = 64;

  std::atomic<uint32_t> left_{0};
  std::atomic<uint32_t> rest_{kLeast};
};

}  // namespace portico
