#pragma once

#include <cstdint>
#include <memory>

#include "absl/container/flat_hash_map.h"
#include "base/digest.h"
#include "base/mutex.h"
#include "base/tensor.h"

namespace portico {

/// Every initializer of every model of this process, once: keyed by digest of dtype, shape and bytes, so that segments,
/// versions, products and tied weights share memory. Holds weakly: a weight goes when the last model that uses it goes.
/// Thread-safe; must outlive nothing (tensors it gave out own their memory).
class WeightStore {
 public:
  struct Interned {
    Tensor tensor;
    Digest digest;
  };

  /// The stored tensor that equals `tensor`, or `tensor` itself, now stored. Reads every byte once (SHA-256).
  Interned Intern(Tensor tensor);

  /// Distinct bytes alive now.
  uint64_t bytes() const;

 private:
  // Implementation (models' owner): digest → weak entry, removed when the last tensor over its origin is dropped.
  struct State;
  std::shared_ptr<State> state();
  mutable Mutex mutex_;
  std::shared_ptr<State> state_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
