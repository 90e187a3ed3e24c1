#pragma once

#include <ctime>

#include "absl/time/time.h"

namespace portico {

// What the calling thread asks of the kernel's scheduler, for itself and for the threads that it starts from then on.
// All are wishes: where the kernel does not know them, things stay as they are.

/// For threads that serve: slices of at most `slice` of a core at a time (0.1 to 100 ms). One that wakes up takes the
/// core from whoever runs with longer slices at once instead of at the end of its slice, also from a niced thread.
/// Linux 6.12 and later (EEVDF with PREEMPT_SHORT; sched_setattr(2), sched_runtime).
void AskForShortSlices(absl::Duration slice = absl::Microseconds(500));

/// For threads of background work: adds `nice` (1 to 19) to the thread's nice value, and asks for slices as the kernel
/// deals them out.
void YieldToServing(int nice);

/// A piece of background work on the thread that made it: until it is destroyed, the thread gives up its core for a
/// moment every 300 µs. Between its ticks (4 ms at 250 Hz) the kernel takes a core from a niced thread only for one
/// that it owes time; a thread that serves and that has just used a little more than its share waits for the next tick.
///
/// By a timer that sends SIGURG to the thread (ignored otherwise; where the process handles it itself, nothing yields).
/// System calls that block are begun again (SA_RESTART), but for those that never are: poll(), epoll_wait(),
/// nanosleep() see EINTR. See signal(7).
class YieldOften {
 public:
  YieldOften();
  ~YieldOften();
  YieldOften(const YieldOften&) = delete;
  YieldOften& operator=(const YieldOften&) = delete;

 private:
  timer_t timer_;
  bool armed_ = false;
};

}  // namespace portico
