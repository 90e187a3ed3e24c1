#include "transport/stream_buffers.h"

#include <algorithm>
#include <new>
#include <utility>

namespace portico {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHeadBytes = 64;
constexpr size_t kKeptChunks = 32;

}  // namespace

static_assert(sizeof(StreamChunk) <= kHeadBytes);

StreamChunk::StreamChunk(size_t capacity, char* data, Ref<StreamChunkPool> pool)
    : TensorOrigin(capacity), data_(data), pool_(std::move(pool)) {}

void StreamChunk::Destroy() const {
  auto* const self = const_cast<StreamChunk*>(this);
  const Ref<StreamChunkPool> pool = std::move(self->pool_);
  const size_t size = capacity();
  self->~StreamChunk();
  pool->Recycle(self, size);
}

Ref<StreamChunk> StreamChunkPool::Take(size_t bytes) {
  const size_t capacity = std::max(bytes, kChunkBytes);
  void* block = nullptr;
  if (capacity == kChunkBytes) {
    MutexLock lock(&mutex_);
    if (!free_.empty()) {
      block = free_.back();
      free_.pop_back();
    }
  }
  if (block == nullptr) block = ::operator new (kHeadBytes + capacity, std::align_val_t{kAlignment});
  return Ref<StreamChunk>(
      new (block) StreamChunk(capacity, static_cast<char*>(block) + kHeadBytes, Ref<StreamChunkPool>(this)));
}

void StreamChunkPool::Recycle(void* block, size_t capacity) {
  if (capacity == kChunkBytes) {
    MutexLock lock(&mutex_);
    if (free_.size() < kKeptChunks) return free_.push_back(block);
  }
  ::operator delete (block, std::align_val_t{kAlignment});
}

StreamChunkPool::~StreamChunkPool() {
  MutexLock lock(&mutex_);
  for (void* block : free_) ::operator delete (block, std::align_val_t{kAlignment});
}

Ref<StreamChunk> StreamBuffers::TakeOpen(size_t* used) {
  if (open_) {
    *used = open_used_;
    return std::move(open_);
  }
  *used = 0;
  return pool_->Take(StreamChunkPool::kChunkBytes);
}

void StreamBuffers::GiveOpen(Ref<StreamChunk> chunk, size_t used) {
  if (open_ || chunk->capacity() != StreamChunkPool::kChunkBytes || used > chunk->capacity() / 4 * 3) return;
  open_ = std::move(chunk);
  open_used_ = used;
}

}  // namespace portico
