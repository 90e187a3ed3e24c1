#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "models/graph/graph.h"
#include "models/graph/graph_plan.h"
#include "models/runtime/row_check.h"
#include "models/runtime/session.h"
#include "models/split/inline_segment.h"
#include "models/split/sample_inputs.h"
#include "models/split/split.h"
#include "models/split/submodel.h"
#include "models/split/tensor_difference.h"

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

/// A portal whose target is in this process: checks what a node would check, and runs the target's graph.
class InlinePortal final : public AsyncOp {
 public:
  /// `spec` and `target` are not owned and must outlive the op.
  InlinePortal(const PortalSpec& spec, Signature signature, Graph& target)
      : spec_(spec), signature_(std::move(signature)), target_(target) {}

  void Run(const Ref<const RequestContext>& context, std::vector<Tensor> inputs, OpDone done) override {
    absl::Status status = CheckTensors("input", signature_.inputs, inputs);
    if (status.ok()) status = CheckSymbols(signature_.inputs, inputs);
    if (!status.ok()) return done(WithContext(absl::StrCat("portal to '", spec_.target, "'"), status));
    target_.Run(context, std::move(inputs),
                [this, done = std::move(done)](absl::StatusOr<std::vector<Tensor>> outputs) mutable {
                  absl::Status status = outputs.status();
                  if (status.ok()) status = CheckTensors("output", spec_.outputs, *outputs);
                  if (!status.ok()) return done(WithContext(absl::StrCat("portal to '", spec_.target, "'"), status));
                  done(std::move(outputs));
                });
  }

 private:
  const PortalSpec& spec_;
  const Signature signature_;
  Graph& target_;
};

/// A split set ready to run in this process, without threads: every op computes inline.
class LocalMesh {
 public:
  static absl::StatusOr<std::unique_ptr<LocalMesh>> Create(const std::vector<SplitModel>& split, bool optimize) {
    auto mesh = std::make_unique<LocalMesh>();
    // The product is the first, and whatever a part's portals target comes before that part.
    for (size_t i = 1; i <= split.size(); ++i) {
      const SplitModel& model = split[i % split.size()];
      const absl::Status status = mesh->Add(model, optimize);
      if (!status.ok()) return WithContext(absl::StrCat("model '", model.name, "'"), status);
    }
    mesh->product_ = mesh->servables_.at(split[0].name).graph.get();
    return mesh;
  }

  absl::StatusOr<std::vector<Tensor>> Run(const std::vector<Tensor>& inputs) const {
    std::optional<absl::StatusOr<std::vector<Tensor>>> result;
    product_->Run(MakeRef<RequestContext>(), inputs,
                  [&result](absl::StatusOr<std::vector<Tensor>> outputs) { result.emplace(std::move(outputs)); });
    PORTICO_CHECK(result.has_value());
    return *std::move(result);
  }

 private:
  struct Servable {
    Digest digest;
    Signature signature;
    std::unique_ptr<Graph> graph;
  };

  absl::Status Add(const SplitModel& split, bool optimize) {
    ASSIGN_OR_RETURN(const Digest digest, ModelDigest(split.model));
    if (digest != split.digest) {
      return absl::FailedPreconditionError(
          absl::StrCat("digest: got ", split.digest.Short(), ", want ", digest.Short(), " as the model has it"));
    }
    Servable servable;
    servable.digest = digest;
    ASSIGN_OR_RETURN(servable.signature, GraphSignature(split.model));
    ASSIGN_OR_RETURN(GraphPlan plan, Partition(split.model, servable.signature));
    std::vector<std::unique_ptr<AsyncOp>> ops;
    for (const PlanStep& step : plan.steps) {
      if (step.segment != nullptr) {
        Session::Options options;
        options.optimize = optimize;
        options.prepack = optimize;
        options.name = absl::StrCat(split.name, "/", step.segment->name);
        ASSIGN_OR_RETURN(std::unique_ptr<Session> session,
                         Session::Create(step.segment->model, step.segment->weights, options));
        ops.push_back(std::make_unique<InlineSegment>(std::move(session)));
        continue;
      }
      ASSIGN_OR_RETURN(const Servable* target, FindTarget(*step.portal));
      ops.push_back(std::make_unique<InlinePortal>(*step.portal, target->signature, *target->graph));
    }
    servable.graph = std::make_unique<Graph>(std::move(plan), std::move(ops), Clock::Real());
    servables_.emplace(split.name, std::move(servable));
    return absl::OkStatus();
  }

  absl::StatusOr<const Servable*> FindTarget(const PortalSpec& portal) const {
    if (portal.op_type != "Remote") {
      return absl::FailedPreconditionError(absl::StrCat("portal '", portal.node_name, "': got op '", portal.op_type,
                                                        "', want Remote; a split makes no others"));
    }
    const auto target = servables_.find(portal.target);
    if (target == servables_.end()) {
      return absl::FailedPreconditionError(absl::StrCat("portal '", portal.node_name, "': got target '", portal.target,
                                                        "', which is none of the parts"));
    }
    if (target->second.digest != portal.digest) {
      return absl::FailedPreconditionError(absl::StrCat("portal '", portal.node_name, "': got digest ",
                                                        portal.digest.Short(), " of '", portal.target, "', want ",
                                                        target->second.digest.Short()));
    }
    return &target->second;
  }

  absl::flat_hash_map<std::string, Servable> servables_;
  Graph* product_ = nullptr;
};

/// The model before the split, as one session.
absl::StatusOr<std::unique_ptr<Session>> OpenOriginal(const Model& model, bool optimize) {
  ASSIGN_OR_RETURN(RunnableModel runnable, MakeRunnable(model, {}));
  Session::Options options;
  options.optimize = optimize;
  options.prepack = optimize;
  options.name = "the unsplit model";
  return Session::Create(runnable.proto, std::move(runnable.weights), options);
}

absl::Status Mismatch(const SampleInputs& sample, absl::string_view what, const absl::Status& status) {
  return absl::FailedPreconditionError(
      absl::StrCat("verification with ", sample.label, ": ", what, ": ", status.message()));
}

/// Runs samples with optimisation off and drops from `samples` those that the original refuses.
absl::Status Compare(Session& session, const std::vector<SplitModel>& split, std::vector<SampleInputs>& samples,
                     VerifyReport& report) {
  ASSIGN_OR_RETURN(const std::unique_ptr<LocalMesh> mesh, LocalMesh::Create(split, /*optimize=*/false));
  std::vector<SampleInputs> accepted;
  for (SampleInputs& sample : samples) {
    const absl::StatusOr<std::vector<Tensor>> want = session.Run(sample.tensors);
    if (!want.ok()) {
      report.skipped.push_back(absl::StrCat(sample.label, ": ", want.status().message()));
      continue;
    }
    const absl::StatusOr<std::vector<Tensor>> got = mesh->Run(sample.tensors);
    if (!got.ok()) return Mismatch(sample, "the split model fails where the original does not", got.status());
    if (got->size() != want->size()) {
      return Mismatch(sample, "outputs",
                      absl::InternalError(absl::StrCat("got ", got->size(), ", want ", want->size())));
    }
    for (size_t i = 0; i < want->size(); ++i) {
      const absl::Status equal = CompareTensors((*got)[i], (*want)[i]);
      if (!equal.ok()) return Mismatch(sample, absl::StrCat("output '", session.outputs()[i].name, "'"), equal);
    }
    accepted.push_back(std::move(sample));
  }
  samples = std::move(accepted);
  report.rounds = static_cast<int>(samples.size());
  return absl::OkStatus();
}

/// The difference that graph optimisation makes.
absl::StatusOr<double> OptimizedDifference(const Model& original, const std::vector<SplitModel>& split,
                                           const std::vector<SampleInputs>& samples,
                                           std::vector<std::string>& skipped) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Session> session, OpenOriginal(original, /*optimize=*/true));
  ASSIGN_OR_RETURN(const std::unique_ptr<LocalMesh> mesh, LocalMesh::Create(split, /*optimize=*/true));
  double largest = 0;
  for (const SampleInputs& sample : samples) {
    const absl::StatusOr<std::vector<Tensor>> want = session->Run(sample.tensors);
    if (!want.ok()) {
      skipped.push_back(absl::StrCat(sample.label, " with graph optimisation on: ", want.status().message()));
      continue;
    }
    const absl::StatusOr<std::vector<Tensor>> got = mesh->Run(sample.tensors);
    if (!got.ok()) return Mismatch(sample, "the split model fails with graph optimisation on", got.status());
    for (size_t i = 0; i < want->size(); ++i) largest = std::max(largest, MaxDifference((*got)[i], (*want)[i]));
  }
  return largest;
}

}  // namespace

absl::StatusOr<VerifyReport> VerifySplit(const Model& original, const std::vector<SplitModel>& split,
                                         const VerifyOptions& options) {
  if (split.empty()) return absl::InvalidArgumentError("split: got no models, want a product and its parts");
  VerifyReport report;
  std::vector<SampleInputs> samples;
  {
    ASSIGN_OR_RETURN(const std::unique_ptr<Session> session, OpenOriginal(original, /*optimize=*/false));
    samples = options.samples.empty() ? MakeSamples(original, session->inputs(), options.rows, options.seed)
                                      : options.samples;
    RETURN_IF_ERROR(Compare(*session, split, samples, report));
  }
  if (report.rounds == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("verification: the unsplit model refused all inputs, so nothing was compared; give recorded ones "
                     "with --samples; ",
                     report.skipped.empty() ? "" : report.skipped.back()));
  }
  ASSIGN_OR_RETURN(report.optimized_max_difference, OptimizedDifference(original, split, samples, report.skipped));
  return report;
}

}  // namespace portico
