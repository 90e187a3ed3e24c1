#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/request_context.h"
#include "base/tensor.h"
#include "models/graph/graph_plan.h"
#include "router/on_error_policy.h"

namespace portico {

/// What a portal answers when its call has failed for good and the mesh is at fault: `on_error` of the target's policy.
/// Thread-safe.
class Fallback {
 public:
  /// What has to be known of a call that may fail: taken before its inputs go.
  struct Question {
    /// Of the first input that has a dim 0; 1 where none has.
    int64_t rows = 1;
    /// Of all inputs; empty where that is not needed.
    Digest inputs;
  };

  virtual ~Fallback() = default;
  /// "defaults", "last_known": for metrics and notes.
  virtual absl::string_view kind() const = 0;
  virtual Question Ask(absl::Span<const Tensor> inputs) const = 0;
  /// The target's own answer, in the portal's order.
  virtual void Remember(const Question& question, absl::Span<const Tensor> outputs) = 0;
  /// Nothing where it has none.
  virtual std::optional<std::vector<Tensor>> Answer(const Question& question) = 0;
  /// It is not in use any more, but for calls that have begun.
  virtual void Forget() {}
};

/// Null where the policy is to fail. INVALID_ARGUMENT, naming portal and output, where the policy's values do not fit
/// what the portal declares. `clock` is not owned and must outlive it.
absl::StatusOr<std::unique_ptr<Fallback>> NewFallback(const OnErrorPolicy& policy, const PortalSpec& spec,
                                                      const Clock& clock);

/// Whether `status`, a call's end, is the mesh's fault and somebody still waits for an answer. Neither a request that
/// is wrong, nor a client that has gone or whose own deadline has passed.
bool MayFallBack(const absl::Status& status, const RequestContext& context, const Clock& clock);

/// One factory per kind.
absl::StatusOr<std::unique_ptr<Fallback>> NewDefaultOutputs(const OnErrorPolicy& policy, const PortalSpec& spec);
std::unique_ptr<Fallback> NewLastKnown(const OnErrorPolicy& policy, const Clock& clock);

}  // namespace portico
