#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/digest.h"
#include "embedding/id_bags.h"
#include "models/package/signature.h"

namespace onnx {
class NodeProto;
}

namespace portico {

/// What an `EmbeddingBag` node says beside what all portals do (graph_plan.h): it looks up in several tables of one
/// group, its `target`, at once. Inputs: of each lookup in order its ids (int64 or int32; string), then the offsets
/// (int64 or int32) where it is csr, then the weights (float32) where it is weighted. Outputs: float32, one for each
/// lookup. Attributes, lists having one entry for each output:
///   tables               strings: the table's name in the group; a table may be there several times
///   dims                 ints: numbers of its rows, D
///   poolings             strings: "sum", "mean" or "none"
///   forms                strings: "padded": the last axis of the ids is the bag, [...,L] → [...,D], or without pooling
///                        [...] → [...,D]; "csr": ids [T] and offsets [N] → [N,D], with pooling alone
///   id_kinds             strings: "dense" (0 to rows - 1), "sparse" (any number) or "string"
///   weighted             ints, 0 or 1; or absent: none is. Not with mean
///   paddings             strings: the id that is left out, "" for none, of strings "-", the empty string; or absent
///   source               64 hex digits, or absent: the digest of the model that the tables were taken out of; a mesh
///                        refuses tables of another (TableLookupSpec)
///   include_last_offset  0 or 1, default 0: offsets are [N+1], the last being T
struct EmbeddingSpec {
  struct Lookup {
    std::string table;
    size_t dim = 0;
    Pooling pooling = Pooling::kSum;
    IdKind id_kind = IdKind::kDense;
    bool csr = false;
    bool weighted = false;
    /// Of numbers.
    std::optional<int64_t> padding;
    /// Of strings.
    bool empty_is_padding = false;
    /// Positions among the node's inputs; -1: it has none.
    int ids = -1;
    int offsets = -1;
    int weights = -1;
  };
  std::vector<Lookup> lookups;
  bool include_last_offset = false;
  /// Empty: not said.
  Digest source;
  /// Of all lookups together.
  int inputs = 0;
};

/// INVALID_ARGUMENT, naming the attribute, where one is missing or does not fit the others or the node.
absl::StatusOr<EmbeddingSpec> ReadEmbeddingSpec(const onnx::NodeProto& node);

/// INVALID_ARGUMENT unless the outputs, as declared, can be what the lookups give.
absl::Status CheckEmbeddingOutputs(const EmbeddingSpec& spec, absl::Span<const TensorSpec> outputs);
/// INVALID_ARGUMENT unless the inputs, where something is known of them, have types and ranks that lookups can be done
/// with.
absl::Status CheckEmbeddingInputs(const EmbeddingSpec& spec, absl::Span<const std::optional<TensorSpec>> inputs);

}  // namespace portico
