#include "node/servables/cacheable_rows.h"

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "models/graph/dataflow.h"
#include "models/graph/determinism.h"
#include "models/graph/portal_spec.h"

namespace portico {
namespace {

absl::Status Refuse(const Signature& signature, absl::string_view got, absl::string_view want) {
  return absl::FailedPreconditionError(absl::StrCat("result_cache_mib: signature '", signature.name, "': got ", got,
                                                    ", want ", want, "; leave result_cache_mib out"));
}

absl::Status CheckDeterministic(const Package& package, const Signature& signature) {
  ASSIGN_OR_RETURN(const Dataflow flow, ReadDataflow(package.model, signature));
  const Determinism determinism(package.model.proto());
  for (const Dataflow::Node& node : flow.nodes) {
    if (determinism.IsDeterministic(*node.proto)) continue;
    return Refuse(signature, DescribeNode(*node.proto), "ops that are known to give the same each time");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<bool>> CacheableRows(const Package& package, const Signature& signature,
                                                const GraphPlan& plan, absl::Span<SegmentOp* const> ops) {
  for (const PlanStep& step : plan.steps) {
    if (step.portal != nullptr) {
      return Refuse(signature, absl::StrCat("a portal to ", TargetNames(*step.portal)),
                    "no portal, behind which answers may change; set it at what the portal calls");
    }
    if (step.table != nullptr) {
      return Refuse(signature, absl::StrCat("lookups in ", step.table->file),
                    "no table; 'cache_mib' of the group keeps rows with their callers");
    }
  }
  for (const TensorSpec& input : signature.inputs) {
    if (input.axis != AxisKind::kRagged) continue;
    return Refuse(signature, absl::StrCat("ragged input '", input.name, "'"), "inputs of axis rows or shared");
  }
  RETURN_IF_ERROR(CheckDeterministic(package, signature));
  if (package.batching.pad_variable_length_inputs) {
    return Refuse(signature, "pad_variable_length_inputs", "answers that do not depend on the rows they ran with");
  }
  if (ops.size() != 1 || ops[0] == nullptr) return Refuse(signature, "outputs that nothing computes", "rows to keep");
  const RowAxes& axes = ops[0]->axes();
  if (!axes.joinable) return Refuse(signature, absl::StrCat("no rows to tell apart (", axes.reason, ")"), "rows");
  if (!axes.ragged.empty()) return Refuse(signature, "ragged inputs", "inputs of axis rows or shared");
  const PlanStep& step = plan.steps[0];
  const auto kind_of = [](const std::vector<int>& slots, const std::vector<AxisKind>& kinds, int slot) {
    const auto found = absl::c_find(slots, slot);
    return found == slots.end() ? AxisKind::kShared : kinds[static_cast<size_t>(found - slots.begin())];
  };
  for (size_t i = 0; i < plan.outputs.size(); ++i) {
    if (kind_of(step.outputs, axes.outputs, plan.outputs[i]) == AxisKind::kRows) continue;
    return Refuse(signature, absl::StrCat("output '", signature.outputs[i].name, "', which does not count rows"),
                  "outputs of axis rows");
  }
  std::vector<bool> row_inputs;
  for (const int slot : plan.inputs) row_inputs.push_back(kind_of(step.inputs, axes.inputs, slot) == AxisKind::kRows);
  if (!absl::c_linear_search(row_inputs, true)) return Refuse(signature, "no input that counts rows", "one");
  return row_inputs;
}

}  // namespace portico
