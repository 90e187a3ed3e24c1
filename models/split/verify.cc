#include <algorithm>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "models/runtime/row_check.h"
#include "models/runtime/session.h"
#include "models/split/called_models.h"
#include "models/split/local_mesh.h"
#include "models/split/portal_inputs.h"
#include "models/split/sample_inputs.h"
#include "models/split/split.h"
#include "models/split/submodel.h"
#include "models/split/tensor_difference.h"

namespace portico {
namespace {

/// A split set ready to run: the product is the first, and whatever a part's portals target comes before that part.
absl::StatusOr<std::unique_ptr<LocalMesh>> OpenSplit(const std::vector<SplitModel>& split,
                                                     const LocalMesh::Options& options) {
  auto mesh = std::make_unique<LocalMesh>(options);
  for (size_t i = 1; i <= split.size(); ++i) {
    const SplitModel& model = split[i % split.size()];
    const absl::Status status = mesh->Add(model.name, model.model, model.digest);
    if (!status.ok()) return WithContext(absl::StrCat("model '", model.name, "'"), status);
  }
  return mesh;
}

/// The model before the split: one session or, where it has portals itself, a mesh of its own.
class Original {
 public:
  static absl::StatusOr<Original> Open(const Model& model, const LocalMesh::Options& options) {
    Original original;
    if (HasPortals(model)) {
      ASSIGN_OR_RETURN(original.signature_, GraphSignature(model));
      ASSIGN_OR_RETURN(const Digest digest, ModelDigest(model));
      original.mesh_ = std::make_unique<LocalMesh>(options);
      RETURN_IF_ERROR(original.mesh_->Add("the model as it was", model, digest));
      return original;
    }
    ASSIGN_OR_RETURN(RunnableModel runnable, MakeRunnable(model, {}));
    Session::Options session;
    session.optimize = options.optimize;
    session.prepack = options.optimize;
    session.name = "the unsplit model";
    ASSIGN_OR_RETURN(original.session_, Session::Create(runnable.proto, std::move(runnable.weights), session));
    original.signature_.inputs = original.session_->inputs();
    original.signature_.outputs = original.session_->outputs();
    return original;
  }

  const Signature& signature() const { return signature_; }
  absl::StatusOr<std::vector<Tensor>> Run(const std::vector<Tensor>& inputs) const {
    return session_ != nullptr ? session_->Run(inputs) : mesh_->Run(inputs);
  }

 private:
  Original() = default;

  Signature signature_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<LocalMesh> mesh_;
};

absl::Status Mismatch(const SampleInputs& sample, absl::string_view what, const absl::Status& status) {
  return absl::FailedPreconditionError(
      absl::StrCat("verification with ", sample.label, ": ", what, ": ", status.message()));
}

/// Drops from `samples` those that the original refuses.
absl::Status Compare(const Original& original, const std::vector<SplitModel>& split, const LocalMesh::Options& options,
                     std::vector<SampleInputs>& samples, VerifyReport& report) {
  ASSIGN_OR_RETURN(const std::unique_ptr<LocalMesh> mesh, OpenSplit(split, options));
  std::vector<SampleInputs> accepted;
  for (SampleInputs& sample : samples) {
    const absl::StatusOr<std::vector<Tensor>> want = original.Run(sample.tensors);
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
      if (!equal.ok())
        return Mismatch(sample, absl::StrCat("output '", original.signature().outputs[i].name, "'"), equal);
    }
    accepted.push_back(std::move(sample));
  }
  samples = std::move(accepted);
  report.rounds = static_cast<int>(samples.size());
  return absl::OkStatus();
}

/// The difference that graph optimisation makes.
absl::StatusOr<double> OptimizedDifference(const Model& model, const std::vector<SplitModel>& split,
                                           const LocalMesh::Options& options, const std::vector<SampleInputs>& samples,
                                           std::vector<std::string>& skipped) {
  ASSIGN_OR_RETURN(const Original original, Original::Open(model, options));
  ASSIGN_OR_RETURN(const std::unique_ptr<LocalMesh> mesh, OpenSplit(split, options));
  double largest = 0;
  for (const SampleInputs& sample : samples) {
    const absl::StatusOr<std::vector<Tensor>> want = original.Run(sample.tensors);
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
  LocalMesh::Options local = {.optimize = false, .called = options.called, .ops = options.ops};
  {
    ASSIGN_OR_RETURN(const Original opened, Original::Open(original, local));
    samples = options.samples.empty() ? MakeSamples(original, opened.signature().inputs, options.rows, options.seed)
                                      : options.samples;
    RETURN_IF_ERROR(Compare(opened, split, local, samples, report));
  }
  if (report.rounds == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("verification: the unsplit model refused all inputs, so nothing was compared; give recorded ones "
                     "with --samples; ",
                     report.skipped.empty() ? "" : report.skipped.back()));
  }
  local.optimize = true;
  ASSIGN_OR_RETURN(report.optimized_max_difference,
                   OptimizedDifference(original, split, local, samples, report.skipped));
  return report;
}

}  // namespace portico
