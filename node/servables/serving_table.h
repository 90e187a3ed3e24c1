#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "base/per_core.h"
#include "base/servable_ref.h"
#include "node/servables/servable.h"

namespace portico {

/// What a model's name means now: immutable but for `last_used`.
struct ServingModel {
  /// Rising; at least one.
  std::vector<std::pair<int64_t, std::shared_ptr<const Servable>>> versions;
  /// Label → version that is among `versions`.
  std::map<std::string, int64_t> labels;
  /// Of a model that is loaded on demand: when it was last asked for, Unix nanoseconds.
  bool on_demand = false;
  mutable std::atomic<int64_t> last_used{0};

  /// The version that `ref` narrows the name to; null when there is none.
  std::shared_ptr<const Servable> Find(const ServableRef& ref) const;
};

/// Name → what serves under it: looked at once by every request. Each core has a copy, so that a lock is its own nearly
/// always; whoever changes a name changes all copies, one after another.
///
/// Thread-safe. Holds the servables it gives out; never destroys the last reference of one while it holds a lock.
class ServingTable {
 public:
  /// `copies`: 0: as many as cores, at most 16. `clock` is not owned and must outlive it.
  explicit ServingTable(const Clock& clock, int copies = 0) : clock_(clock), copies_(copies) {}

  /// The servable that `ref` means now; null when there is none.
  std::shared_ptr<const Servable> Find(const ServableRef& ref) const;
  /// Null: the name serves no more.
  void Set(const std::string& name, const std::shared_ptr<const ServingModel>& model);

  int copies() const { return copies_.size(); }

 private:
  struct Copy {
    Mutex mutex;
    absl::flat_hash_map<std::string, std::shared_ptr<const ServingModel>> models ABSL_GUARDED_BY(mutex);
  };
  const Clock& clock_;
  const PerCore<Copy> copies_;
};

}  // namespace portico
