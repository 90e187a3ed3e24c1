#pragma once

#include <cstdint>
#include <cstring>

#include "absl/status/statusor.h"
#include "base/tensor.h"

namespace portico {

/// What stands in a stream before each large tensor where both ends share memory (`shm://`): where it lies. 16 bytes.
struct StreamLoan {
  static constexpr size_t kBytes = 16;
  /// The tensor's bytes follow in the stream instead.
  static constexpr uint64_t kNone = ~uint64_t{0};

  uint64_t offset = kNone;
  uint32_t lease = 0;
  uint32_t sequence = 0;

  void Store(char* at) const {
    std::memcpy(at, &offset, 8);
    std::memcpy(at + 8, &lease, 4);
    std::memcpy(at + 12, &sequence, 4);
  }
  void Load(const char* at) {
    std::memcpy(&offset, at, 8);
    std::memcpy(&lease, at + 8, 4);
    std::memcpy(&sequence, at + 12, 4);
  }
};

/// Makes tensors of loans for a StreamReader. Not thread-safe.
class StreamLender {
 public:
  virtual ~StreamLender() = default;
  /// The tensor that `loan` speaks of. INVALID_ARGUMENT where there can be none. REQUIRES: loan.offset is not kNone,
  /// and `bytes` is what dtype and shape take (strings: at least the offsets).
  virtual absl::StatusOr<Tensor> Lend(DType dtype, const Shape& shape, uint64_t bytes, const StreamLoan& loan) = 0;
};

}  // namespace portico
