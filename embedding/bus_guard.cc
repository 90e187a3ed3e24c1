#include "embedding/bus_guard.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>

#include "base/check.h"
#include "base/mutex.h"

namespace portico {
namespace {

/// `end` is set last and taken back first: while it is there, the rest is.
struct Slot {
  std::atomic<uintptr_t> begin{0};
  std::atomic<uintptr_t> end{0};
  std::atomic<BusGuard::OnFault> on_fault{nullptr};
  std::atomic<void*> owner{nullptr};
};

constexpr size_t kSlots = 4096;
Slot slots[kSlots];
/// Slots from here on were never used.
std::atomic<size_t> slots_used{0};
uintptr_t page_size = 0;
struct sigaction before {};

Mutex& SlotsMutex() {
  static auto& mutex = *new Mutex;
  return mutex;
}

/// What would have happened without us.
void PassOn(int signal, siginfo_t* info, void* context) {
  if ((before.sa_flags & SA_SIGINFO) != 0 && before.sa_sigaction != nullptr) {
    before.sa_sigaction(signal, info, context);
  } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
    before.sa_handler(signal);
  } else {
    // The read is done again, and ends the process.
    struct sigaction default_action {};
    default_action.sa_handler = SIG_DFL;
    sigaction(signal, &default_action, nullptr);
  }
}

void OnBusError(int signal, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  const auto at = reinterpret_cast<uintptr_t>(info->si_addr);
  const size_t used = slots_used.load(std::memory_order_acquire);
  for (size_t i = 0; i < used; ++i) {
    // Whoever reads this memory keeps its guard, so that the slot it is in stays as it is.
    if (at >= slots[i].end.load(std::memory_order_acquire) || at < slots[i].begin.load(std::memory_order_relaxed))
      continue;
    auto* const page = reinterpret_cast<char*>(at / page_size * page_size);
    if (mmap(page, page_size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) break;
    slots[i].on_fault.load(std::memory_order_relaxed)(slots[i].owner.load(std::memory_order_relaxed), page);
    errno = saved_errno;
    return;
  }
  errno = saved_errno;
  PassOn(signal, info, context);
}

void Install() {
  page_size = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  struct sigaction action {};
  action.sa_sigaction = OnBusError;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  PORTICO_CHECK(sigaction(SIGBUS, &action, &before) == 0);
}

}  // namespace

BusGuard::BusGuard(const char* begin, size_t size, OnFault on_fault, void* owner) {
  const MutexLock lock(&SlotsMutex());
  if (page_size == 0) Install();
  slot_ = 0;
  while (slot_ < kSlots && slots[slot_].end.load(std::memory_order_relaxed) != 0) ++slot_;
  PORTICO_CHECK(slot_ < kSlots);
  Slot& slot = slots[slot_];
  slot.begin.store(reinterpret_cast<uintptr_t>(begin), std::memory_order_relaxed);
  slot.on_fault.store(on_fault, std::memory_order_relaxed);
  slot.owner.store(owner, std::memory_order_relaxed);
  slot.end.store(reinterpret_cast<uintptr_t>(begin) + size, std::memory_order_release);
  if (slot_ >= slots_used.load(std::memory_order_relaxed)) slots_used.store(slot_ + 1, std::memory_order_release);
}

BusGuard::~BusGuard() {
  const MutexLock lock(&SlotsMutex());
  slots[slot_].end.store(0, std::memory_order_release);
}

}  // namespace portico
