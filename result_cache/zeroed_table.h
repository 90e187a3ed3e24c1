#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "base/check.h"

namespace portico {

/// An array of zeros whose pages take memory once they are written: a large one costs nothing until it is used. All
/// bytes zero have to be a T.
template <typename T>
class ZeroedTable {
 public:
  static_assert(std::is_trivially_destructible_v<T>);

  /// REQUIRES: at least one, and memory for them was asked for of whoever limits it.
  explicit ZeroedTable(size_t size) : size_(size) {
    void* const memory =
        mmap(nullptr, bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    PORTICO_CHECK(memory != MAP_FAILED);
    items_ = static_cast<T*>(memory);
  }
  ~ZeroedTable() { munmap(items_, bytes()); }
  ZeroedTable(const ZeroedTable&) = delete;
  ZeroedTable& operator=(const ZeroedTable&) = delete;

  size_t size() const { return size_; }
  T& operator[](size_t index) { return items_[index]; }
  /// Where all of it is used.
  uint64_t bytes() const {
    constexpr uint64_t kPage = 4096;
    return (size_ * sizeof(T) + kPage - 1) / kPage * kPage;
  }

 private:
  const size_t size_;
  T* items_;
};

}  // namespace portico
