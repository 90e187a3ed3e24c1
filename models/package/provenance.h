#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "base/digest.h"
#include "models/package/model.h"

namespace portico {

/// Where a model that Portico wrote comes from. It stands in the model file itself (ONNX metadata_props), beside
/// whatever else is there, and does not count for the digest.
struct Provenance {
  static constexpr size_t kMaxPlanBytes = size_t{64} << 10;

  /// Of the model that it was made of; empty: not known.
  Digest source;
  /// The text by which it was made: a split's plan, say.
  std::string plan;
  /// Who made it: "portico 0.1.0 (commit 1a2b3c4d5e6f)".
  std::string tool;

  bool empty() const { return source.empty() && plan.empty() && tool.empty(); }
  friend bool operator==(const Provenance&, const Provenance&) = default;
};

/// What the model says of itself; empty where it says nothing, or nothing that can be read. A claim, not a proof.
Provenance ReadProvenance(const Model& model);

/// The same model, weights shared, that says so; what it said before is replaced. INVALID_ARGUMENT where the plan is
/// longer than kMaxPlanBytes.
absl::StatusOr<Model> WithProvenance(const Model& model, const Provenance& provenance);

}  // namespace portico
