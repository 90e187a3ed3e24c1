#include "models/share/calls_between.h"

#include <algorithm>

#include "base/status_macros.h"
#include "embedding/lookup_call.h"
#include "models/graph/graph_plan.h"
#include "models/graph/portal_spec.h"
#include "onnx/onnx_pb.h"

namespace portico {

absl::StatusOr<std::vector<CallBetween>> CallsBetween(absl::Span<const Model* const> models) {
  std::vector<Digest> digests;
  for (const Model* model : models) {
    ASSIGN_OR_RETURN(digests.emplace_back(), ModelDigest(*model));
  }
  std::vector<CallBetween> calls;
  for (size_t caller = 0; caller < models.size(); ++caller) {
    for (const onnx::NodeProto& node : models[caller]->proto().graph().node()) {
      // A lookup in a shard calls nobody.
      if (node.domain() != kPorticoDomain || node.op_type() == LookupCall::kOp) continue;
      ASSIGN_OR_RETURN(const PortalSpec spec, ReadPortalSpec(node));
      for (const PortalTarget& target : PortalTargets(spec)) {
        const auto called = std::find(digests.begin(), digests.end(), target.digest);
        if (target.digest.empty() || called == digests.end()) continue;
        const CallBetween call = {static_cast<int>(caller), static_cast<int>(called - digests.begin()), target.name,
                                  target.digest};
        const bool is_known = std::any_of(calls.begin(), calls.end(), [&](const CallBetween& one) {
          return one.caller == call.caller && one.called == call.called && one.target == call.target;
        });
        if (!is_known) calls.push_back(call);
      }
    }
  }
  return calls;
}

}  // namespace portico
