#pragma once

#include <cstddef>
#include <vector>

#include "base/mutex.h"
#include "base/ref.h"
#include "base/tensor.h"

namespace portico {

class StreamChunkPool;

/// Memory that bytes of a connection are read into, and that headers and small tensors are views of. Its last view,
/// dropped on any thread, gives it back to its pool.
class StreamChunk final : public TensorOrigin {
 public:
  char* data() const { return data_; }
  size_t capacity() const { return static_cast<size_t>(held_bytes()); }

 private:
  friend class StreamChunkPool;
  StreamChunk(size_t capacity, char* data, Ref<StreamChunkPool> pool);
  void Destroy() const override;

  char* const data_;
  mutable Ref<StreamChunkPool> pool_;
};

/// Keeps a few chunks of the usual size for the next use. Thread-safe; lives as long as a chunk of it.
class StreamChunkPool final : public RefCounted {
 public:
  /// Chunks of this size are kept.
  static constexpr size_t kChunkBytes = 64 << 10;

  /// At least `bytes`, aligned to 64.
  Ref<StreamChunk> Take(size_t bytes);

 private:
  friend class StreamChunk;
  ~StreamChunkPool() override;
  void Recycle(void* block, size_t capacity);

  Mutex mutex_;
  std::vector<void*> free_ ABSL_GUARDED_BY(mutex_);
};

/// The buffers of one I/O thread. Its connections share the chunk that is being filled: one that has nothing unread
/// holds no memory. Only on that thread.
class StreamBuffers {
 public:
  /// A chunk of which `used` bytes are taken; at least a quarter is free.
  Ref<StreamChunk> TakeOpen(size_t* used);
  /// `used` is a multiple of 8; views of what lies before it go on.
  void GiveOpen(Ref<StreamChunk> chunk, size_t used);
  Ref<StreamChunk> Take(size_t bytes) { return pool_->Take(bytes); }

 private:
  const Ref<StreamChunkPool> pool_ = MakeRef<StreamChunkPool>();
  Ref<StreamChunk> open_;
  size_t open_used_ = 0;
};

}  // namespace portico
