#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "models/compose/composition.h"
#include "models/compose/graph_assembly.h"
#include "models/compose/member.h"

namespace portico {

/// Makes one servable of several: an ONNX graph of portals (`Cascade`, `Experts`, `Remote`), of members' graphs that
/// are copied into it, and of ordinary ops; any viewer opens it, and a node serves it like any other. The same
/// composition of the same members gives the same digest.
///
/// All signatures are held against each other. INVALID_ARGUMENT "mesh.yaml:7: model 'spam': ..." for what does not fit.
absl::StatusOr<ComposedModel> Compose(const Composition& composition, const FindIngredient& find);

/// Each kind; see docs/composition.md.
absl::StatusOr<ComposedModel> ComposeCascade(const Composition& composition, const FindIngredient& find);
absl::StatusOr<ComposedModel> ComposeExperts(const Composition& composition, const FindIngredient& find);
absl::StatusOr<ComposedModel> ComposeSequence(const Composition& composition, const FindIngredient& find);
absl::StatusOr<ComposedModel> ComposeEnsemble(const Composition& composition, const FindIngredient& find);

/// Writes version folder `folder` (BASE/NAME/1): model.onnx, servable.yaml, weights.bin where they are large. The
/// folder appears whole or not at all; ALREADY_EXISTS where there is one.
absl::Status WriteComposed(const ComposedModel& model, const std::string& folder);

}  // namespace portico
