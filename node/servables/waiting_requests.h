#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/request_context.h"
#include "base/servable_ref.h"
#include "node/servables/servable.h"

namespace portico {

/// Requests that wait for an on-demand load, by model; bounded. They hold no thread. Not thread-safe.
class WaitingRequests {
 public:
  using Result = absl::StatusOr<std::shared_ptr<const Servable>>;
  using Done = absl::AnyInvocable<void(Result)>;
  struct Request {
    ServableRef ref;
    Ref<const RequestContext> context;
    Done done;
  };
  /// A request that waits no more, and what it gets.
  struct Finished {
    Done done;
    Result result;
  };

  /// `limit`: requests of all models together.
  explicit WaitingRequests(size_t limit) : limit_(limit) {}

  /// RESOURCE_EXHAUSTED with model, limit and fill where it is full; `request` is untouched then.
  absl::Status Add(Request&& request);
  bool Has(const std::string& model) const { return models_.contains(model); }
  size_t size() const { return size_; }

  /// Takes out the model's requests for which `result` gives one.
  std::vector<Finished> Take(const std::string& model,
                             absl::FunctionRef<std::optional<Result>(const ServableRef&)> result);
  /// Takes out those whose deadline has passed or whose caller has gone.
  std::vector<Finished> TakeDead(const Clock& clock);

 private:
  const size_t limit_;
  size_t size_ = 0;
  /// None is empty.
  std::map<std::string, std::deque<Request>> models_;
};

}  // namespace portico
