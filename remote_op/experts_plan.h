#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/ref.h"
#include "models/graph/graph_plan.h"
#include "remote_op/experts_metrics.h"
#include "remote_op/experts_watcher.h"
#include "remote_op/reply_check.h"
#include "router/expert_choice.h"
#include "router/router.h"

namespace portico {

/// What all requests of one `Experts` portal share. Calls that nobody waits for any more may outlive the portal, and
/// keep it. Immutable but for its figures; thread-safe.
struct ExpertsPlan final : public RefCounted {
  struct Expert {
    RouteTarget target;
    ReplyCheck check;
  };

  /// INVALID_ARGUMENT where `spec` could never be called. `router` is not owned and must outlive the plan.
  static absl::StatusOr<Ref<ExpertsPlan>> Make(const PortalSpec& spec, Router& router);

  /// INVALID_ARGUMENT unless `inputs` are the gate float[N,E] and tensors of N rows.
  absl::Status CheckInputs(absl::Span<const Tensor> inputs) const;

  ExpertsPlan(const PortalSpec& spec, Router& router);

  Router& router;
  /// The node's.
  const std::string name;
  /// "portal 'moe' to a, b and 2 more", for messages.
  const std::string context;
  const ExpertsSpec spec;
  const ExpertChoice::Rule rule;
  /// Of the experts, without row_status.
  std::vector<TensorSpec> outputs;
  /// Of the experts; empty where tensors go by position and nobody named them.
  const std::vector<std::string> input_names;
  std::vector<Expert> experts;
  mutable ExpertsMetrics metrics;
  /// Null where nothing is expected.
  const std::unique_ptr<ExpertsWatcher> watcher;
};

}  // namespace portico
