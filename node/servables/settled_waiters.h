#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

namespace portico {

/// Those who wait until a model, or all models, have settled (Servables::WhenSettled()): a start, a reload, a test; no
/// request. Not thread-safe: guarded with all of ServedModels. Whoever takes one out calls it, not under a lock.
class SettledWaiters {
 public:
  using Done = absl::AnyInvocable<void(absl::Status)>;
  /// None: all models.
  using Model = std::optional<std::string>;
  /// One that waits no more, and what it gets.
  struct Finished {
    Done done;
    absl::Status status;
  };

  /// Returns its name, for TakeOne().
  uint64_t Add(Model model, Done done);
  bool empty() const { return waiters_.empty(); }
  bool Has(uint64_t id) const { return waiters_.contains(id); }
  /// Takes out those for which `settled` has a status.
  std::vector<Finished> Take(absl::FunctionRef<std::optional<absl::Status>(const Model&)> settled);
  /// Takes out that one with `status`; none where it has gone.
  std::optional<Finished> TakeOne(uint64_t id, absl::FunctionRef<absl::Status(const Model&)> status);

 private:
  struct Waiter {
    Model model;
    Done done;
  };
  std::map<uint64_t, Waiter> waiters_;
  uint64_t last_ = 0;
};

}  // namespace portico
