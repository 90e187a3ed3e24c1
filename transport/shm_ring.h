#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace portico {

/// The words of one ring that both processes see: what its writer has put in and its reader has taken out, each counted
/// from the beginning, and who wants to be told. Begins as zeros.
struct ShmRingWords {
  alignas(64) std::atomic<uint64_t> written;
  alignas(64) std::atomic<uint64_t> read;
  /// 1: the reader does not look and wants to be woken. It begins awake.
  alignas(64) std::atomic<uint32_t> reader_sleeps;
  /// 1: the writer waits for room.
  alignas(64) std::atomic<uint32_t> writer_waits;
};
static_assert(std::atomic<uint64_t>::is_always_lock_free && sizeof(ShmRingWords) == 256);

/// The writing end of a ring of bytes that lies in memory shared with another process. What the other process says is
/// checked and otherwise not believed: the worst it can bring about is broken().
///
/// One thread at a time, but for TailMoved(). Owns nothing.
class ShmRingWriter {
 public:
  /// `capacity` is a power of two; `data` has as many bytes.
  ShmRingWriter(ShmRingWords& words, char* data, size_t capacity) : words_(words), data_(data), capacity_(capacity) {}

  /// Bytes that may be written. 0 as well where the ring is broken.
  size_t Room();
  /// REQUIRES: size <= Room().
  void Write(const void* from, size_t size);
  /// Shows the reader what was written. True: it sleeps and has to be woken, once.
  bool Publish();
  /// Says that the writer waits. False: there is room by now.
  bool AwaitRoom();
  /// Any thread: whether the reader has taken something out since AwaitRoom() returned true.
  bool TailMoved() const { return words_.read.load(std::memory_order_acquire) != awaited_.load(); }
  bool broken() const { return broken_; }

 private:
  ShmRingWords& words_;
  char* const data_;
  const size_t capacity_;
  uint64_t written_ = 0;
  uint64_t read_ = 0;
  bool broken_ = false;
  std::atomic<uint64_t> awaited_{0};
};

/// The reading end, likewise. One thread.
class ShmRingReader {
 public:
  ShmRingReader(ShmRingWords& words, const char* data, size_t capacity)
      : words_(words), data_(data), capacity_(capacity) {}

  /// Whether something has come, or the ring is broken.
  bool HasData() const { return words_.written.load(std::memory_order_acquire) != read_; }
  /// Bytes that have come.
  size_t Ready();
  /// Copies out, so that what is looked at afterwards cannot change. REQUIRES: size <= Ready().
  void Read(void* to, size_t size);
  /// Gives the room of what was read back. True: the writer waits for it and has to be told, once.
  bool Publish();
  /// Asks to be woken. False: something has come by now.
  bool Sleep();
  bool broken() const { return broken_; }

 private:
  ShmRingWords& words_;
  const char* const data_;
  const size_t capacity_;
  uint64_t written_ = 0;
  uint64_t read_ = 0;
  bool broken_ = false;
};

}  // namespace portico
