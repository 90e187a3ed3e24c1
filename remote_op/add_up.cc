#include "remote_op/add_up.h"

#include <utility>

namespace portico {
namespace {

/// A task that is dropped unrun says so.
class Work {
 public:
  Work(Ref<const RequestContext> context, absl::AnyInvocable<void(const absl::Status&)> work)
      : context_(std::move(context)), work_(std::move(work)) {}
  Work(Work&& other) noexcept : context_(std::move(other.context_)), work_(std::exchange(other.work_, nullptr)) {}
  Work& operator=(Work&&) = delete;
  ~Work() {
    if (work_) work_(absl::CancelledError("the node is stopping"));
  }
  void operator()() {
    const bool gone = context_->cancelled.load(std::memory_order_relaxed);
    std::exchange(work_, nullptr)(gone ? absl::CancelledError("the client has gone") : absl::OkStatus());
  }

 private:
  Ref<const RequestContext> context_;
  absl::AnyInvocable<void(const absl::Status&)> work_;
};

}  // namespace

void AddUp(Executor* workers, uint64_t numbers, Ref<const RequestContext> context,
           absl::AnyInvocable<void(const absl::Status&)> work) {
  if (workers == nullptr || numbers < kNumbersInPlace) return work(absl::OkStatus());
  workers->Schedule(Work(std::move(context), std::move(work)));
}

}  // namespace portico
