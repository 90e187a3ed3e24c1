#pragma once

#include <atomic>
#include <cstddef>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "batcher/batcher.h"

namespace portico {

/// A call with more rows than a run may hold, which runs in pieces: joins their outputs, in order, when the last one
/// has come, and completes the call with them (or with the first piece's error) on that one's thread. Shared by the
/// pieces. Thread-safe.
class PiecedCall {
 public:
  PiecedCall(size_t pieces, Batcher::Done done) : results_(pieces), left_(pieces), done_(std::move(done)) {}

  void Finish(size_t piece, absl::StatusOr<std::vector<Tensor>> result) {
    results_[piece] = std::move(result);
    if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) done_(Joined());
  }

 private:
  absl::StatusOr<std::vector<Tensor>> Joined() const;

  std::vector<absl::StatusOr<std::vector<Tensor>>> results_;
  std::atomic<size_t> left_;
  Batcher::Done done_;
};

}  // namespace portico
