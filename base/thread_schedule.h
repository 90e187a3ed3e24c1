#pragma once

#include "absl/time/time.h"

namespace portico {

// What the calling thread asks of the kernel's scheduler, for itself and for the threads that it starts from then on.
// All are wishes: where the kernel does not know them, things stay as they are.

/// For threads that serve: slices of at most `slice` of a core at a time (0.1 to 100 ms). One that wakes up takes the
/// core from whoever runs with longer slices at once instead of at the end of its slice, also from a niced thread.
/// Linux 6.12 and later (EEVDF with PREEMPT_SHORT; sched_setattr(2), sched_runtime).
void AskForShortSlices(absl::Duration slice = absl::Microseconds(500));

/// For background work: adds `nice` (1 to 19) to the thread's nice value, and asks for long slices, so that it is in
/// nobody's way.
void YieldToServing(int nice);

}  // namespace portico
