#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/mutex.h"

namespace portico {

/// Follows files that say something together, such as a key and its certificate: reads them once a period, and hands
/// them on when one of them is new. What cannot be read or applied is logged, once, and changes nothing. By content, so
/// that files that are links, or on a network file system, are followed, too.
///
///   FileFollower follower(options, apply);   RETURN_IF_ERROR(follower.Poll());   follower.Start();
class FileFollower {
 public:
  struct Options {
    /// What messages call them: "tenants file".
    std::string subject;
    /// None: there is nothing to follow.
    std::vector<std::string> paths;
    /// 0: they are read once, by the caller of Poll().
    absl::Duration period = absl::Seconds(2);
    /// Of one file.
    uint64_t max_bytes = uint64_t{1} << 20;
    /// What an error that is logged ends with.
    std::string after_error = "what it said before holds on";
  };
  /// Uses the files' contents, in the order of the paths, or refuses them.
  using Apply = std::function<absl::Status(const std::vector<std::string>& texts)>;

  FileFollower(Options options, Apply apply) : options_(std::move(options)), apply_(std::move(apply)) {}
  /// Stops.
  ~FileFollower() { Stop(); }

  /// Looks once. OK where nothing is new; else what was wrong. For one thread at a time.
  absl::Status Poll();
  /// Looks once a period from now on, on a thread of its own. Once; does nothing without paths or
  /// a period.
  void Start();
  /// Joins. `apply` is not called any more.
  void Stop();

 private:
  void Run();

  const Options options_;
  const Apply apply_;
  /// What was read last, good or bad; for the thread that polls.
  std::vector<std::string> seen_;
  Mutex mutex_;
  CondVar stop_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace portico
