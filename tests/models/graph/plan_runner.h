#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "models/graph/graph.h"
#include "models/graph/graph_plan.h"
#include "models/package/weight_store.h"
#include "models/runtime/session.h"
#include "tests/testing/model_builder.h"

namespace portico {

/// What a test's portal answers.
using PortalBody = std::function<absl::StatusOr<std::vector<Tensor>>(const std::vector<Tensor>&)>;

/// Runs a function inside the call.
class InlineOp final : public AsyncOp {
 public:
  explicit InlineOp(PortalBody body) : body_(std::move(body)) {}
  void Run(const Ref<const RequestContext>&, std::vector<Tensor> inputs, OpDone done) override { done(body_(inputs)); }

 private:
  const PortalBody body_;
};

inline absl::StatusOr<Model> LoadBuilt(const ModelBuilder& builder) {
  WeightStore store;
  return Model::FromProto(builder.Build(), "", store);
}

inline absl::StatusOr<GraphPlan> PartitionBuilt(const ModelBuilder& builder) {
  ASSIGN_OR_RETURN(const Model model, LoadBuilt(builder));
  ASSIGN_OR_RETURN(const Signature signature, GraphSignature(model));
  return Partition(model, signature);
}

/// Runs every step inside its start, portals by what `body_of` gives for them, and returns the outputs.
inline absl::StatusOr<std::vector<Tensor>> RunPlan(GraphPlan plan, std::vector<Tensor> inputs,
                                                   const std::function<PortalBody(const PortalSpec&)>& body_of) {
  std::vector<std::unique_ptr<AsyncOp>> ops;
  for (const PlanStep& step : plan.steps) {
    if (step.portal != nullptr) {
      ops.push_back(std::make_unique<InlineOp>(body_of(*step.portal)));
      continue;
    }
    ASSIGN_OR_RETURN(std::shared_ptr<Session> session,
                     Session::Create(step.segment->model, step.segment->weights, {.name = step.segment->name}));
    ops.push_back(std::make_unique<InlineOp>([session](const std::vector<Tensor>& in) { return session->Run(in); }));
  }
  Graph graph(std::move(plan), std::move(ops), Clock::Real());
  absl::StatusOr<std::vector<Tensor>> result = absl::InternalError("never completed");
  graph.Run(MakeRef<RequestContext>(), std::move(inputs), [&](auto outputs) { result = std::move(outputs); });
  return result;
}

/// Cuts what was built, runs it with `portals` by target, and returns the outputs.
inline absl::StatusOr<std::vector<Tensor>> RunBuilt(const ModelBuilder& builder, std::vector<Tensor> inputs,
                                                    absl::flat_hash_map<std::string, PortalBody> portals = {}) {
  ASSIGN_OR_RETURN(GraphPlan plan, PartitionBuilt(builder));
  return RunPlan(std::move(plan), std::move(inputs),
                 [&](const PortalSpec& portal) { return portals.at(portal.target); });
}

}  // namespace portico
