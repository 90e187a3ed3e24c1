#include "models/split/local_mesh.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "models/graph/graph_plan.h"
#include "models/graph/portal_spec.h"
#include "models/runtime/session.h"
#include "models/split/inline_segment.h"

namespace portico {
namespace {

absl::Status CheckTensors(absl::string_view what, const std::vector<TensorSpec>& specs,
                          const std::vector<Tensor>& tensors) {
  if (tensors.size() != specs.size()) {
    return absl::InvalidArgumentError(absl::StrCat(what, "s: got ", tensors.size(), ", want ", specs.size()));
  }
  for (size_t i = 0; i < specs.size(); ++i) RETURN_IF_ERROR(specs[i].Check(what, tensors[i]));
  return absl::OkStatus();
}

/// What a node refuses: one symbol for two extents, whichever inputs they are of.
absl::Status CheckSymbols(const std::vector<TensorSpec>& specs, const std::vector<Tensor>& tensors) {
  absl::flat_hash_map<std::string, int64_t> extents;
  for (size_t i = 0; i < specs.size(); ++i) {
    for (size_t d = 0; d < specs[i].dims.size(); ++d) {
      const std::string& symbol = specs[i].dims[d].symbol;
      if (symbol.empty()) continue;
      const int64_t got = tensors[i].shape()[d];
      if (const int64_t want = extents.emplace(symbol, got).first->second; got != want) {
        return absl::InvalidArgumentError(absl::StrCat("input '", specs[i].name, "': got ", got, " for '", symbol,
                                                       "', want ", want, " as in another input"));
      }
    }
  }
  return absl::OkStatus();
}

/// For each of `wanted`, its place among `given`; a portal that knows no digest calls by names.
absl::StatusOr<std::vector<size_t>> Places(absl::string_view what, const std::vector<std::string>& given,
                                           const std::vector<std::string>& wanted) {
  std::vector<size_t> places;
  for (const std::string& name : wanted) {
    const auto at = std::find(given.begin(), given.end(), name);
    if (at == given.end())
      return absl::FailedPreconditionError(absl::StrCat("got no ", what, " '", name, "', want it"));
    places.push_back(static_cast<size_t>(at - given.begin()));
  }
  return places;
}

std::vector<std::string> NamesOf(const std::vector<TensorSpec>& specs) {
  std::vector<std::string> names;
  for (const TensorSpec& spec : specs) names.push_back(spec.name);
  return names;
}

/// The call of one of the targets of `portal`, as if it were a portal of its own.
PortalSpec CallOf(const PortalSpec& portal, const PortalTarget& target) {
  PortalSpec call;
  call.op_type = "Remote";
  call.node_name = portal.node_name;
  call.target = target.name;
  call.digest = target.digest;
  call.signature = portal.signature;
  call.input_names = portal.input_names;
  call.outputs = portal.outputs;
  const bool row_status = portal.cascade.has_value() ? portal.cascade->row_status : portal.experts->row_status;
  if (row_status) call.outputs.pop_back();
  return call;
}

std::vector<Tensor> Pick(std::vector<Tensor> tensors, const std::vector<size_t>& places) {
  if (places.empty()) return tensors;
  std::vector<Tensor> picked;
  for (const size_t place : places) picked.push_back(tensors[place]);
  return picked;
}

}  // namespace

/// A portal whose target is in this process: checks what a node would check, and runs the target's graph.
class LocalMesh::Portal final : public AsyncOp {
 public:
  /// `target` is not owned and outlives the op.
  Portal(PortalSpec spec, const Servable& target) : spec_(std::move(spec)), target_(target) {}

  /// Ties tensors by name, where the portal has no digest.
  absl::Status Tie() {
    if (!spec_.digest.empty()) return absl::OkStatus();
    ASSIGN_OR_RETURN(inputs_, Places("input", spec_.input_names, NamesOf(target_.signature.inputs)));
    ASSIGN_OR_RETURN(outputs_, Places("output", NamesOf(target_.signature.outputs), NamesOf(spec_.outputs)));
    return absl::OkStatus();
  }

  void Run(const Ref<const RequestContext>& context, std::vector<Tensor> inputs, OpDone done) override {
    inputs = Pick(std::move(inputs), inputs_);
    absl::Status status = CheckTensors("input", target_.signature.inputs, inputs);
    if (status.ok()) status = CheckSymbols(target_.signature.inputs, inputs);
    if (!status.ok()) return done(WithContext(absl::StrCat("portal to '", spec_.target, "'"), status));
    target_.graph->Run(context, std::move(inputs),
                       [this, done = std::move(done)](absl::StatusOr<std::vector<Tensor>> outputs) mutable {
                         if (outputs.ok()) *outputs = Pick(*std::move(outputs), outputs_);
                         absl::Status status = outputs.status();
                         if (status.ok()) status = CheckTensors("output", spec_.outputs, *outputs);
                         if (!status.ok())
                           return done(WithContext(absl::StrCat("portal to '", spec_.target, "'"), status));
                         done(std::move(outputs));
                       });
  }

 private:
  const PortalSpec spec_;
  const Servable& target_;
  /// Empty: in the order in which they are.
  std::vector<size_t> inputs_;
  std::vector<size_t> outputs_;
};

absl::Status LocalMesh::Add(const std::string& name, const Model& model, const Digest& digest) {
  ASSIGN_OR_RETURN(const Digest own, ModelDigest(model));
  if (own != digest) {
    return absl::FailedPreconditionError(
        absl::StrCat("digest: got ", digest.Short(), ", want ", own.Short(), " as the model has it"));
  }
  ASSIGN_OR_RETURN(const Signature signature, GraphSignature(model));
  ASSIGN_OR_RETURN(Servable servable, Make(name, model, digest, signature));
  const auto added = servables_.insert_or_assign(name, std::make_unique<Servable>(std::move(servable)));
  last_ = added.first->second.get();
  return absl::OkStatus();
}

absl::StatusOr<LocalMesh::Servable> LocalMesh::Make(const std::string& name, const Model& model, const Digest& digest,
                                                    const Signature& signature) {
  ASSIGN_OR_RETURN(GraphPlan plan, Partition(model, signature));
  std::vector<std::unique_ptr<AsyncOp>> ops;
  for (const PlanStep& step : plan.steps) {
    if (step.segment != nullptr) {
      Session::Options options;
      options.optimize = options_.optimize;
      options.prepack = options_.optimize;
      options.name = absl::StrCat(name, "/", step.segment->name);
      ASSIGN_OR_RETURN(std::unique_ptr<Session> session,
                       Session::Create(step.segment->model, step.segment->weights, options));
      ops.push_back(std::make_unique<InlineSegment>(std::move(session)));
      continue;
    }
    if (step.portal == nullptr) {
      return absl::FailedPreconditionError(
          absl::StrCat("model '", name, "': got lookups in a shard, want a model that is served by itself"));
    }
    ASSIGN_OR_RETURN(std::unique_ptr<AsyncOp> portal, MakePortal(*step.portal));
    ops.push_back(std::move(portal));
  }
  return Servable{digest, signature, std::make_unique<Graph>(std::move(plan), std::move(ops), Clock::Real())};
}

absl::StatusOr<std::unique_ptr<AsyncOp>> LocalMesh::MakePortal(const PortalSpec& portal) {
  if (portal.op_type == "Remote") return MakeRemote(portal);
  if (options_.ops == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat("portal '", portal.node_name, "': got op '", portal.op_type,
                                                      "', want Remote, as no other can be run here"));
  }
  PortalOps::Targets targets;
  if (portal.embedding.has_value()) {
    if (options_.called == nullptr) {
      return absl::FailedPreconditionError(absl::StrCat("portal '", portal.node_name, "': got tables '", portal.target,
                                                        "', which are none of the parts"));
    }
    ASSIGN_OR_RETURN(targets.tables, options_.called->FindTables(portal));
  } else {
    for (const PortalTarget& target : PortalTargets(portal)) {
      ASSIGN_OR_RETURN(std::unique_ptr<AsyncOp> remote, MakeRemote(CallOf(portal, target)));
      targets.models.push_back(std::move(remote));
    }
  }
  absl::StatusOr<std::unique_ptr<AsyncOp>> op = options_.ops->Make(portal, std::move(targets));
  if (!op.ok()) return WithContext(absl::StrCat("portal '", portal.node_name, "'"), op.status());
  return op;
}

absl::StatusOr<std::unique_ptr<AsyncOp>> LocalMesh::MakeRemote(PortalSpec portal) {
  ASSIGN_OR_RETURN(const Servable* target, FindTarget(portal));
  const std::string name = portal.node_name;
  auto remote = std::make_unique<Portal>(std::move(portal), *target);
  if (absl::Status status = remote->Tie(); !status.ok())
    return WithContext(absl::StrCat("portal '", name, "'"), status);
  return remote;
}

absl::StatusOr<const LocalMesh::Servable*> LocalMesh::FindTarget(const PortalSpec& portal) {
  const auto error = [&](absl::string_view message) {
    return absl::FailedPreconditionError(absl::StrCat("portal '", portal.node_name, "': ", message));
  };
  const auto target = servables_.find(portal.target);
  if (target != servables_.end() && (portal.digest.empty() || target->second->digest == portal.digest)) {
    return target->second.get();
  }
  if (options_.called == nullptr) {
    if (target == servables_.end())
      return error(absl::StrCat("got target '", portal.target, "', which is none of the parts"));
    return error(absl::StrCat("got digest ", portal.digest.Short(), " of '", portal.target, "', want ",
                              target->second->digest.Short()));
  }
  if (depth_ >= RequestContext::kMaxHops) {
    return error(absl::StrCat("got more than ", RequestContext::kMaxHops, " portals one behind the other, want fewer"));
  }
  ASSIGN_OR_RETURN(const CalledModels::Called* called, options_.called->Find(portal));
  const std::string key = absl::StrCat(called->digest.Hex(), "/", portal.signature);
  if (const auto known = called_.find(key); known != called_.end()) return known->second.get();
  const auto signature = std::find_if(called->signatures.begin(), called->signatures.end(),
                                      [&](const Signature& one) { return one.name == portal.signature; });
  if (signature == called->signatures.end()) {
    return error(absl::StrCat("got signature '", portal.signature, "', which '", called->path, "' does not have"));
  }
  ++depth_;
  const absl::Cleanup leave = [this] { --depth_; };
  absl::StatusOr<Servable> servable = Make(called->name, called->model, called->digest, *signature);
  if (!servable.ok()) return WithContext(absl::StrCat("'", called->path, "'"), servable.status());
  return called_.emplace(key, std::make_unique<Servable>(*std::move(servable))).first->second.get();
}

absl::StatusOr<std::vector<Tensor>> LocalMesh::Run(const std::vector<Tensor>& inputs) const {
  PORTICO_CHECK(last_ != nullptr);
  std::optional<absl::StatusOr<std::vector<Tensor>>> result;
  last_->graph->Run(MakeRef<RequestContext>(), inputs,
                    [&result](absl::StatusOr<std::vector<Tensor>> outputs) { result.emplace(std::move(outputs)); });
  PORTICO_CHECK(result.has_value());
  return *std::move(result);
}

}  // namespace portico
