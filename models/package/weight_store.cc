#include "models/package/weight_store.h"

#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/check.h"
#include "base/mutex.h"

namespace portico {

/// Digest → weight that is alive. Shared by the store and its weights, which take themselves out.
class WeightStore::Entries {
 public:
  /// One stored tensor, alive as long as somebody holds it.
  class Weight {
   public:
    Weight(std::shared_ptr<Entries> entries, const Digest& digest, Tensor tensor)
        : entries_(std::move(entries)), digest_(digest), tensor_(std::move(tensor)) {}
    ~Weight() { entries_->Remove(digest_, tensor_.bytes().size()); }
    Weight(const Weight&) = delete;
    Weight& operator=(const Weight&) = delete;
    const Tensor& tensor() const { return tensor_; }

   private:
    const std::shared_ptr<Entries> entries_;
    const Digest digest_;
    const Tensor tensor_;
  };

  /// Keeps a weight alive for the tensors over it.
  class Origin final : public TensorOrigin {
   public:
    explicit Origin(std::shared_ptr<const Weight> weight)
        : TensorOrigin(weight->tensor().bytes().size()), weight_(std::move(weight)) {}

   private:
    const std::shared_ptr<const Weight> weight_;
  };

  /// The weight of that digest: the one alive, or a new one over `tensor`.
  static std::shared_ptr<const Weight> FindOrAdd(const std::shared_ptr<Entries>& self, const Digest& digest,
                                                 Tensor tensor) {
    std::shared_ptr<const Weight> weight;  // declared before the lock: a Weight's destructor takes it
    MutexLock lock(&self->mutex_);
    std::weak_ptr<const Weight>& entry = self->weights_[digest];
    weight = entry.lock();
    if (weight == nullptr) {
      self->bytes_ += tensor.bytes().size();
      weight = std::make_shared<const Weight>(self, digest, std::move(tensor));
      entry = weight;
    }
    return weight;
  }

  uint64_t bytes() {
    MutexLock lock(&mutex_);
    return bytes_;
  }

 private:
  void Remove(const Digest& digest, uint64_t bytes) {
    MutexLock lock(&mutex_);
    bytes_ -= bytes;
    const auto entry = weights_.find(digest);
    // Between the last release and here another thread may have put a new weight in this place; it stays.
    if (entry != weights_.end() && entry->second.expired()) weights_.erase(entry);
  }

  Mutex mutex_;
  absl::flat_hash_map<Digest, std::weak_ptr<const Weight>> weights_ ABSL_GUARDED_BY(mutex_);
  uint64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

Digest TensorDigest(const Tensor& tensor) {
  Hasher hasher;
  hasher.Add(static_cast<uint64_t>(tensor.dtype())).Add(tensor.shape().size());
  for (const int64_t extent : tensor.shape()) hasher.Add(static_cast<uint64_t>(extent));
  return hasher.Add(tensor.bytes()).Finish();
}

WeightStore::WeightStore() : entries_(std::make_shared<Entries>()) {}
WeightStore::~WeightStore() = default;

WeightStore::Interned WeightStore::Intern(Tensor tensor) {
  const Digest digest = TensorDigest(tensor);
  const std::shared_ptr<const Entries::Weight> weight = Entries::FindOrAdd(entries_, digest, std::move(tensor));
  const Tensor& stored = weight->tensor();
  auto view = Tensor::View(stored.dtype(), stored.shape(), stored.bytes(), MakeRef<Entries::Origin>(weight));
  PORTICO_CHECK(view.ok());
  return {*std::move(view), digest};
}

uint64_t WeightStore::bytes() const { return entries_->bytes(); }

}  // namespace portico
