#include "transport/shm_ring.h"

#include <algorithm>
#include <cstring>

namespace portico {

// Where one side writes a word and then reads another, and the other side the other way round (bytes and sleep, room
// and wait), all four are sequentially consistent: one of the two sees what the other wrote.

size_t ShmRingWriter::Room() {
  const uint64_t read = words_.read.load(std::memory_order_acquire);
  // The reader goes forward, and no further than we are.
  broken_ = broken_ || read - read_ > written_ - read_;
  if (broken_) return 0;
  read_ = read;
  return capacity_ - static_cast<size_t>(written_ - read_);
}

void ShmRingWriter::Write(const void* from, size_t size) {
  const size_t at = static_cast<size_t>(written_) & (capacity_ - 1);
  const size_t first = std::min(size, capacity_ - at);
  std::memcpy(data_ + at, from, first);
  std::memcpy(data_, static_cast<const char*>(from) + first, size - first);
  written_ += size;
}

bool ShmRingWriter::Publish() {
  words_.written.store(written_);
  return words_.reader_sleeps.load() != 0 && words_.reader_sleeps.exchange(0) != 0;
}

bool ShmRingWriter::AwaitRoom() {
  words_.writer_waits.store(1);
  const uint64_t read = words_.read.load();
  if (read != read_) {
    words_.writer_waits.store(0);
    return false;
  }
  awaited_.store(read);
  return true;
}

size_t ShmRingReader::Ready() {
  const uint64_t written = words_.written.load(std::memory_order_acquire);
  // The writer goes forward, and no further than there is room.
  broken_ = broken_ || written - read_ > capacity_ || written - read_ < written_ - read_;
  if (broken_) return 0;
  written_ = written;
  return static_cast<size_t>(written - read_);
}

void ShmRingReader::Read(void* to, size_t size) {
  const size_t at = static_cast<size_t>(read_) & (capacity_ - 1);
  const size_t first = std::min(size, capacity_ - at);
  std::memcpy(to, data_ + at, first);
  std::memcpy(static_cast<char*>(to) + first, data_, size - first);
  read_ += size;
}

bool ShmRingReader::Publish() {
  words_.read.store(read_);
  // Not for every few bytes: the writer would wake for each.
  if (words_.writer_waits.load() == 0 || written_ - read_ > capacity_ / 2) return false;
  return words_.writer_waits.exchange(0) != 0;
}

bool ShmRingReader::Sleep() {
  words_.reader_sleeps.store(1);
  if (words_.written.load() == read_) return true;
  words_.reader_sleeps.store(0);
  return false;
}

}  // namespace portico
