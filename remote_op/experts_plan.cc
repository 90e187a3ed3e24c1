#include "remote_op/experts_plan.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "models/graph/portal_spec.h"
#include "remote_op/route_target.h"

namespace portico {
namespace {

/// The portal as if it had but one target.
PortalSpec ForExpert(const PortalSpec& spec, const PortalTarget& target) {
  PortalSpec one = spec;
  one.experts.reset();
  one.target = target.name;
  one.digest = target.digest;
  if (spec.experts->row_status) one.outputs.pop_back();
  return one;
}

}  // namespace

ExpertsPlan::ExpertsPlan(const PortalSpec& portal, Router& router)
    : router(router),
      name(portal.node_name),
      context(absl::StrCat("portal '", portal.node_name, "' to ", TargetNames(portal))),
      spec(*portal.experts),
      rule{static_cast<int>(spec.targets.size()), spec.k, spec.weights, spec.capacity},
      outputs(portal.outputs),
      input_names(portal.input_names),
      metrics(router.metrics(), portal.node_name, spec.targets),
      watcher(ExpertsWatcher::Make(portal, router.clock(), router.metrics())) {
  if (spec.row_status) outputs.pop_back();
}

absl::StatusOr<Ref<ExpertsPlan>> ExpertsPlan::Make(const PortalSpec& spec, Router& router) {
  if (!spec.experts.has_value() || spec.experts->targets.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("portal '", spec.node_name, "': got no attributes of an Experts; read it with ReadPortalSpec()"));
  }
  Ref<ExpertsPlan> plan = MakeRef<ExpertsPlan>(spec, router);
  for (const PortalTarget& target : spec.experts->targets) {
    const PortalSpec one = ForExpert(spec, target);
    RETURN_IF_ERROR(CheckPortalSpec(one));
    plan->experts.push_back({RouteTargetOf(one), ReplyCheck(one.target, one.outputs, one.digest.empty())});
  }
  return plan;
}

absl::Status ExpertsPlan::CheckInputs(absl::Span<const Tensor> inputs) const {
  if (inputs.size() < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("inputs: got ", inputs.size(), ", want a gate and what the experts take"));
  }
  const Tensor& gate = inputs[0];
  if (gate.dtype() != DType::kFloat || gate.shape().size() != 2 || gate.shape()[1] != rule.experts) {
    return absl::InvalidArgumentError(absl::StrCat("gate: got ", DTypeName(gate.dtype()), ShapeString(gate.shape()),
                                                   ", want float32[N,", rule.experts, "], one column for each of the ",
                                                   rule.experts, " experts"));
  }
  if (gate.num_elements() > static_cast<uint64_t>(std::numeric_limits<int32_t>::max())) {
    return absl::InvalidArgumentError(absl::StrCat("gate: got float32", ShapeString(gate.shape()),
                                                   ", want fewer than 2^31 gates; send fewer rows at once"));
  }
  for (size_t i = 1; i < inputs.size(); ++i) {
    const Tensor& input = inputs[i];
    if (!input.shape().empty() && input.rows() == gate.rows()) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "input '", input_names.empty() ? absl::StrCat(i - 1) : input_names[i - 1], "': got ", DTypeName(input.dtype()),
        ShapeString(input.shape()), ", want ", gate.rows(), " rows, as the gate has"));
  }
  return absl::OkStatus();
}

}  // namespace portico
