#pragma once

#include <cstdint>
#include <functional>
#include <thread>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "embedding/shard_file.h"

namespace portico {

/// Verifies the blocks of a shard file that no lookup has wanted yet, on a thread of its own that gives way to those
/// that serve: afterwards lookups ask about no block any more, and what is broken is known before a request meets it.
class Scrubber {
 public:
  struct Options {
    /// 0: as fast as the disk goes.
    uint64_t bytes_per_second = uint64_t{256} << 20;
    /// Called once on the scrubber's thread when it ends: OK, or the first broken block. Not when it was stopped.
    std::function<void(const absl::Status&)> on_end;
  };

  /// `file` must outlive it.
  Scrubber(const ShardFile& file, Options options);
  /// Stops at the next block.
  ~Scrubber();
  Scrubber(const Scrubber&) = delete;
  Scrubber& operator=(const Scrubber&) = delete;

 private:
  void Run();
  /// False: stop.
  bool Pace(uint64_t done);

  const ShardFile& file_;
  const Options options_;
  absl::Time started_;
  Mutex mutex_;
  CondVar stopped_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace portico
