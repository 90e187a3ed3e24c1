#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/package/model.h"
#include "models/split/called_models.h"
#include "models/split/plan.h"
#include "models/split/portal_ops.h"
#include "models/split/sample_inputs.h"

namespace portico {

/// A model that came out of a split: the product that remains, or a part.
struct SplitModel {
  std::string name;
  Model model;
  Digest digest;
};

/// Cuts the parts of `plan` out of `model` and puts `ai.portico.Remote` nodes in their place. First the product, then
/// the parts, inner ones before the parts that use them. Types at a cut are learnt by exposing the tensor as a graph
/// output and asking ONNX Runtime. INVALID_ARGUMENT (naming part and tensor) when a tensor is not there, a part is
/// empty or not convex, parts overlap without nesting, or a tensor inside a part is used outside and is not among its
/// outputs. Portals of the model go to where they stand: into a part, or into the product.
absl::StatusOr<std::vector<SplitModel>> Split(const Model& model, const SplitPlan& plan);

struct VerifyOptions {
  /// Rows of the generated inputs of each round.
  std::vector<int64_t> rows = {0, 1, 7};
  uint64_t seed = 1;
  /// Recorded inputs to use instead of generated ones (see ReadSamples()), each in the order of the graph's inputs.
  std::vector<SampleInputs> samples;
  /// Has what portals of the models call, apart from parts; not owned. Null: there are no such portals.
  CalledModels* called = nullptr;
  /// Runs portals other than Remote; not owned. Null: there are no such portals.
  PortalOps* ops = nullptr;
};

struct VerifyReport {
  int rounds = 0;
  /// Rounds that the unsplit model itself refused (0 rows, say), with its message; some only when it was optimised.
  std::vector<std::string> skipped;
  /// Largest difference between parts and original when both run with graph optimisation on; reported, not judged.
  double optimized_max_difference = 0;
};

/// Runs original and split models in this process, optimisation off, and compares. FAILED_PRECONDITION when an output
/// differs beyond its dtype's tolerance, no round could run, or what a portal calls is not to be had.
absl::StatusOr<VerifyReport> VerifySplit(const Model& original, const std::vector<SplitModel>& split,
                                         const VerifyOptions& options);

/// Writes each model as `out`/<name>/<version>/model.onnx, first into temporary folders, then renamed, parts before the
/// product: where it fails, nothing that it made remains. An existing folder of the same digest that declares the same
/// dtypes and shapes is left as it is; of another one it is ALREADY_EXISTS. `version` ≥ 1. REQUIRES: VerifySplit()
/// found nothing.
absl::Status WriteSplit(const std::vector<SplitModel>& split, const std::string& out, int64_t version);

}  // namespace portico
