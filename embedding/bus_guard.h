#pragma once

#include <cstddef>

namespace portico {

/// Keeps the process alive where a page of a mapped file cannot be read (the file shrank, the disk failed): the
/// kernel's SIGBUS becomes a page of zeros in its place, and a call to whoever owns the mapping, who must see to it
/// that nothing read meanwhile is believed. SIGBUS elsewhere is left to whoever handled it before. Costs nothing where
/// nothing fails.
///
/// Thread-safe. REQUIRES: outlived by the mapping, and no read of it without the guard; at most 4,096 at a time.
class BusGuard {
 public:
  /// Runs in the signal handler of the thread that read `page`: only what is async-signal-safe, no lock, no memory.
  using OnFault = void (*)(void* owner, const char* page);

  BusGuard(const char* begin, size_t size, OnFault on_fault, void* owner);
  ~BusGuard();
  BusGuard(const BusGuard&) = delete;
  BusGuard& operator=(const BusGuard&) = delete;

 private:
  size_t slot_;
};

}  // namespace portico
