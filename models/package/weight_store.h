#pragma once

#include <cstdint>
#include <memory>

#include "base/digest.h"
#include "base/tensor.h"

namespace portico {

/// SHA-256 over dtype, shape and bytes: equal exactly when the tensors are.
Digest TensorDigest(const Tensor& tensor);

/// Every initializer of every model of this process, once: keyed by TensorDigest, so that segments, versions, products
/// and tied weights share memory. Holds weakly: a weight goes when the last tensor over it goes. Used while models
/// load, never on a request's path. Thread-safe; tensors it gave out own their memory and may outlive it.
class WeightStore {
 public:
  struct Interned {
    Tensor tensor;
    Digest digest;
  };

  WeightStore();
  ~WeightStore();
  WeightStore(const WeightStore&) = delete;
  WeightStore& operator=(const WeightStore&) = delete;

  /// The stored tensor that equals `tensor`, or `tensor` itself, now stored. Reads every byte once (SHA-256).
  Interned Intern(Tensor tensor);

  /// Distinct bytes alive now, those of mapped files included.
  uint64_t bytes() const;

 private:
  class Entries;
  const std::shared_ptr<Entries> entries_;
};

}  // namespace portico
