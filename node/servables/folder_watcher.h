#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "models/package/package.h"

namespace portico {

/// Lists the base folders of models: at once when it is told of one, then every period, and sooner where inotify says
/// that a folder has changed (network file systems don't say so, hence the polling). Models are isolated from each
/// other: each has one listing under way at most, and a listing that hangs keeps one thread of several.
///
/// Thread-safe. `on_listed` is called on its threads, of several models at once, never twice at once for one.
class FolderWatcher {
 public:
  struct Options {
    /// 0: each folder is listed once, and when Look() says so.
    absl::Duration period = absl::Seconds(1);
    /// Listings at once: how many hung file systems it takes to stop the rest.
    int max_threads = 16;
  };
  using Listing = absl::StatusOr<std::vector<VersionFolder>>;
  /// `number` is that of the Watch() call that began it.
  using OnListed = std::function<void(const std::string& name, uint64_t number, const Listing& listing)>;

  FolderWatcher(Options options, OnListed on_listed);
  /// Stops.
  ~FolderWatcher();

  /// From now on `name`'s folder is `base`. It is listed at once.
  void Watch(const std::string& name, const std::string& base, uint64_t number);
  void Forget(const std::string& name);
  /// Lists soon, whenever it was listed last.
  void Look(const std::string& name);
  /// Joins; listings under way end first. `on_listed` is not called any more.
  void Stop();

 private:
  struct Folder {
    std::string base;
    uint64_t number = 0;
    absl::Time due;
    bool listing = false;
    /// inotify's; below 0: none.
    int watch = -1;
  };

  void Run();
  void List();
  void Wake();
  void ReadEvents();
  absl::Duration Dispatch() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SetDue(const std::string& name, Folder& folder, absl::Time due) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AddNotice(const std::string& name, Folder& folder) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DropNotice(const std::string& name, Folder& folder) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  const OnListed on_listed_;
  const int notices_;
  const int wake_;
  Mutex mutex_;
  CondVar work_;
  std::map<std::string, Folder> folders_ ABSL_GUARDED_BY(mutex_);
  /// Folders that are not being listed, soonest first.
  std::set<std::pair<absl::Time, std::string>> due_ ABSL_GUARDED_BY(mutex_);
  /// inotify's number → the models of that folder.
  std::map<int, std::set<std::string>> watches_ ABSL_GUARDED_BY(mutex_);
  /// To be listed now.
  std::deque<std::string> queue_ ABSL_GUARDED_BY(mutex_);
  size_t idle_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> listers_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace portico
