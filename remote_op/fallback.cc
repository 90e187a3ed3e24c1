#include "remote_op/fallback.h"

#include "absl/strings/str_cat.h"
#include "remote_op/table_fallback.h"

namespace portico {

absl::StatusOr<std::unique_ptr<Fallback>> NewFallback(const OnErrorPolicy& policy, const PortalSpec& spec,
                                                      const Clock& clock) {
  if (spec.embedding.has_value()) return TableFallback::Make(policy, spec);
  switch (policy.kind) {
    case OnErrorPolicy::Kind::kFail:
      return nullptr;
    case OnErrorPolicy::Kind::kDefaults:
      return NewDefaultOutputs(policy, spec);
    case OnErrorPolicy::Kind::kLastKnown:
      if (policy.defaults.empty()) return NewLastKnown(policy, clock);
      return absl::InvalidArgumentError(
          absl::StrCat("portal '", spec.node_name, "' to '", spec.target,
                       "': on_error: got last_known and defaults, want one of them; only tables can have both"));
  }
  return nullptr;
}

bool MayFallBack(const absl::Status& status, const RequestContext& context, const Clock& clock) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kInternal:
      return !context.cancelled.load(std::memory_order_relaxed) && !context.deadline.Expired(clock);
    default:
      return false;
  }
}

}  // namespace portico
