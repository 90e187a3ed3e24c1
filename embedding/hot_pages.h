#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "base/mutex.h"
#include "embedding/huge_pages.h"
#include "embedding/shard_file.h"

namespace portico {

/// Keeps the parts of a process' mapped shard files that are read most in memory of huge pages, within a budget: what
/// samples of lookups name is promoted, hottest by the byte first; where the budget is full, a part that is read twice
/// as often takes the place of the coldest. Rows that are hot together stand together where ids were given by
/// popularity or age, as vocabularies mostly are; indexes are read by each lookup and come first by themselves.
///
/// Thread-safe. Works on a thread of its own that gives way to those that serve; readers never wait for it.
class HotPages {
 public:
  struct Options {
    /// Of memory, for all files together.
    uint64_t bytes = 0;
    absl::Duration interval = absl::Seconds(2);
    /// Promoted in one round at most, so that a change of what is hot does not take the memory's bandwidth.
    uint64_t bytes_per_round = uint64_t{512} << 20;
    /// False: rounds are the caller's.
    bool start = true;
  };

  explicit HotPages(const Options& options);
  ~HotPages();
  HotPages(const HotPages&) = delete;
  HotPages& operator=(const HotPages&) = delete;

  /// From now on, until nobody else has it. A file that is a copy in memory already is left alone.
  void Watch(const std::shared_ptr<const ShardFile>& file);
  /// Takes samples and moves. By its own thread, or by a caller's.
  void Round();

  /// Taken of the budget.
  uint64_t bytes() const { return used_.load(std::memory_order_relaxed); }
  /// How many bytes of a section lie on huge pages. 0 for files that are not watched.
  uint64_t BytesIn(const ShardFile& file, const ShardLayout::Section& section) const;

 private:
  struct Watched;
  struct Choice;

  void Run();
  std::vector<std::shared_ptr<Watched>> Files() const;
  /// Whether `piece` has, or is given, its bytes of the budget; takes from the front of `coldest`.
  bool MakeRoom(const Choice& piece, std::vector<Choice>& coldest);

  const Options options_;
  std::atomic<uint64_t> used_{0};
  Mutex round_;
  mutable Mutex mutex_;
  CondVar stopped_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::shared_ptr<Watched>> files_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace portico
