#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/mutex.h"

namespace portico {

/// Which portals of one request, here and at the hops behind, were answered by a fallback instead of their target:
/// "hub/encoder=defaults". Few, each once. Thread-safe; empty for nearly all requests, and then one load to find out.
class FallbackNotes {
 public:
  static constexpr size_t kMaxNotes = 16;
  static constexpr size_t kMaxLength = 256;

  /// What `kind` of fallback stood in for `target`.
  void Add(absl::string_view target, absl::string_view kind);
  /// One that a peer has sent. Dropped where it could not be the value of a header: only printable ASCII without spaces
  /// and commas, at most kMaxLength characters.
  void AddReceived(absl::string_view note);
  bool empty() const { return !any_.load(std::memory_order_acquire); }
  std::vector<std::string> Notes() const;
  /// "hub/encoder=defaults, ranker=last_known"; empty where there are none.
  std::string Joined() const;

 private:
  std::atomic<bool> any_{false};
  mutable Mutex mutex_;
  std::vector<std::string> notes_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
