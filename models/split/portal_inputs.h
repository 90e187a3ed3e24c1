#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "models/package/model.h"

namespace portico {

/// Whether the graph itself has a node of domain `ai.portico`.
bool HasPortals(const Model& model);

/// `model` without its portals: what they compute are inputs of the declared types, behind the graph's own, so that
/// ONNX Runtime can say what types there are around them. Outputs of the graph that portals compute are no outputs of
/// it. Weights are shared. Nothing where there are no portals. INVALID_ARGUMENT for a portal inside a body or a local
/// function, and for one whose attributes do not fit.
absl::StatusOr<std::optional<Model>> PortalsAsInputs(const Model& model);

}  // namespace portico
