#include "models/split/local_embedding_model.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "models/graph/graph_plan.h"
#include "models/runtime/session.h"
#include "models/split/inline_segment.h"

namespace portico {
namespace {

/// A portal that looks up in this process.
class LocalLookup final : public AsyncOp {
 public:
  /// Not owned; outlive the op.
  LocalLookup(const PortalSpec& spec, const LocalTables& tables) : spec_(spec), tables_(tables) {}

  void Run(const Ref<const RequestContext>&, std::vector<Tensor> inputs, OpDone done) override {
    absl::StatusOr<std::vector<Tensor>> outputs = tables_.Lookup(*spec_.embedding, inputs);
    absl::Status status = outputs.status();
    for (size_t i = 0; status.ok() && i < spec_.outputs.size(); ++i) {
      status = spec_.outputs[i].Check("output", (*outputs)[i]);
    }
    if (!status.ok()) return done(WithContext(absl::StrCat("portal '", spec_.node_name, "'"), status));
    done(std::move(outputs));
  }

 private:
  const PortalSpec& spec_;
  const LocalTables& tables_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<LocalEmbeddingModel>> LocalEmbeddingModel::Create(const Model& model,
                                                                                 const LocalTables& tables) {
  ASSIGN_OR_RETURN(const Signature signature, GraphSignature(model));
  ASSIGN_OR_RETURN(GraphPlan plan, Partition(model, signature));
  std::vector<std::unique_ptr<AsyncOp>> ops;
  for (const PlanStep& step : plan.steps) {
    if (step.portal != nullptr) {
      if (!step.portal->embedding.has_value())
        return absl::FailedPreconditionError(absl::StrCat("portal '", step.portal->node_name, "': is no EmbeddingBag"));
      ops.push_back(std::make_unique<LocalLookup>(*step.portal, tables));
      continue;
    }
    Session::Options options;
    options.optimize = false;
    options.prepack = false;
    options.name = step.segment->name;
    ASSIGN_OR_RETURN(std::unique_ptr<Session> session,
                     Session::Create(step.segment->model, step.segment->weights, options));
    ops.push_back(std::make_unique<InlineSegment>(std::move(session)));
  }
  auto graph = std::make_unique<Graph>(std::move(plan), std::move(ops), Clock::Real());
  return std::unique_ptr<LocalEmbeddingModel>(new LocalEmbeddingModel(std::move(graph)));
}

absl::StatusOr<std::vector<Tensor>> LocalEmbeddingModel::Run(const std::vector<Tensor>& inputs) const {
  std::optional<absl::StatusOr<std::vector<Tensor>>> result;
  graph_->Run(MakeRef<RequestContext>(), inputs,
              [&result](absl::StatusOr<std::vector<Tensor>> outputs) { result.emplace(std::move(outputs)); });
  PORTICO_CHECK(result.has_value());
  return *std::move(result);
}

}  // namespace portico
