#include "base/thread_schedule.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace portico {
namespace {

/// sched_attr of sched_setattr(2), first version; glibc 2.36 has none, and the kernel's header clashes with sched.h.
struct SchedAttributes {
  uint32_t size = sizeof(SchedAttributes);
  uint32_t policy = 0;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime_ns = 0;
  uint64_t deadline_ns = 0;
  uint64_t period_ns = 0;
};
static_assert(sizeof(SchedAttributes) == 48);

void AskForSlices(absl::Duration slice) {
  SchedAttributes attributes;
  if (syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0) != 0) return;
  // Realtime and batch threads are as somebody wanted them.
  if (attributes.policy != 0) return;
  attributes.size = sizeof(attributes);
  attributes.runtime_ns = static_cast<uint64_t>(absl::ToInt64Nanoseconds(slice));
  [[maybe_unused]] const long unknown = syscall(SYS_sched_setattr, 0, &attributes, 0);
}

}  // namespace

void AskForShortSlices(absl::Duration slice) { AskForSlices(slice); }

void YieldToServing(int nice) {
  setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), nice);
  AskForSlices(absl::Milliseconds(20));
}

}  // namespace portico
