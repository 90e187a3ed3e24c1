#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/digest.h"
#include "models/package/model.h"
#include "models/split/embedding_lookups.h"
#include "models/split/graph_index.h"

namespace portico {

/// `model` with `ai.portico.EmbeddingBag` nodes in the place of its lookups, and without their weights. Lookups that do
/// not depend on each other are one node, and so one call of each shard; those whose ids need what others found come in
/// a later one. Tables are called as the weights were. What else there is stays as it is; nodes that nobody needs any
/// more go. `index` is that of `model`, `source` its digest, which the portals keep.
absl::StatusOr<Model> RewriteLookups(const Model& model, const GraphIndex& index, const LookupGraph& lookups,
                                     absl::string_view group, const Digest& source);

}  // namespace portico
