#include "embedding/scrubber.h"

#include <utility>

#include "absl/time/clock.h"
#include "base/thread_schedule.h"

namespace portico {

Scrubber::Scrubber(const ShardFile& file, Options options)
    : file_(file), options_(std::move(options)), started_(absl::Now()), thread_([this] { Run(); }) {}

Scrubber::~Scrubber() {
  {
    const MutexLock lock(&mutex_);
    stop_ = true;
  }
  stopped_.NotifyAll();
  thread_.join();
}

void Scrubber::Run() {
  YieldToServing(10);
  const absl::Status status = file_.Verify([this](uint64_t done) { return Pace(done); });
  if (!absl::IsCancelled(status) && options_.on_end) options_.on_end(status);
}

bool Scrubber::Pace(uint64_t done) {
  const MutexLock lock(&mutex_);
  if (options_.bytes_per_second == 0) return !stop_;
  const absl::Time due = started_ + absl::Seconds(static_cast<double>(done * ShardLayout::kBlockBytes) /
                                                  static_cast<double>(options_.bytes_per_second));
  // Wake-ups cost more than a block: sleep for no less than some milliseconds.
  while (!stop_ && due - absl::Now() > absl::Milliseconds(5)) stopped_.WaitFor(&mutex_, due - absl::Now());
  return !stop_;
}

}  // namespace portico
