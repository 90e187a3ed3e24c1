#include "node/servables/reaper.h"

#include <malloc.h>

#include <utility>

#include "base/executor.h"
#include "base/mutex.h"

namespace portico {
namespace {

/// Trimming walks the allocator's arenas: not for less than this.
constexpr uint64_t kTrimBytes = uint64_t{16} << 20;
/// What a servable takes besides its weights, roughly.
constexpr uint64_t kServableBytes = uint64_t{1} << 20;

}  // namespace

class Reaper::Core {
 public:
  explicit Core(Gone gone) : gone_(std::move(gone)) {}

  void Bury(std::shared_ptr<const Servable> servable) {
    MutexLock lock(&mutex_);
    if (stopped_) return;  // The parameter goes with the caller.
    pool_.Schedule([this, servable = std::move(servable)]() mutable { Destroy(std::move(servable)); });
  }

  void Stop() {
    {
      MutexLock lock(&mutex_);
      stopped_ = true;
    }
    pool_.Stop();
  }

 private:
  void Destroy(std::shared_ptr<const Servable> servable) {
    const std::string name = servable->name();
    const int64_t version = servable->version();
    freed_bytes_ += servable->weight_bytes() + servable->result_cache_bytes() + kServableBytes;
    servable.reset();
    if (freed_bytes_ >= kTrimBytes) {
      // The allocator is tuned to keep what is freed (base/allocator.h); a model's weights are not for keeping.
      malloc_trim(0);
      freed_bytes_ = 0;
    }
    gone_(name, version);
  }

  const Gone gone_;
  Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  /// Of the reaper's thread.
  uint64_t freed_bytes_ = 0;
  ThreadPool pool_{{.threads = 1, .name = "reaper", .nice = 10}};
};

Reaper::Reaper(Gone gone) : core_(std::make_shared<Core>(std::move(gone))) {}
Reaper::~Reaper() { Stop(); }

std::shared_ptr<const Servable> Reaper::Adopt(std::shared_ptr<const Servable> servable) {
  const Servable* const raw = servable.get();
  return std::shared_ptr<const Servable>(raw, [core = core_, servable = std::move(servable)](const Servable*) mutable {
    core->Bury(std::move(servable));
  });
}

void Reaper::Stop() { core_->Stop(); }

}  // namespace portico
