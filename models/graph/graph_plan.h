#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "base/digest.h"
#include "models/graph/cascade_spec.h"
#include "models/graph/embedding_spec.h"
#include "models/graph/experts_spec.h"
#include "models/package/model.h"
#include "models/package/shard_package.h"
#include "models/package/signature.h"

namespace portico {

/// What a portal node of domain `ai.portico` says. Attributes common to all portal ops (strings unless said otherwise):
///   target          servable the body is served as ("hub/digit-encoder"); Experts have `targets`; of an EmbeddingBag
///                   the group of tables
///   signature       default "serving_default"
///   digest          64 hex digits; absent or empty: whatever the revision says the target is
///   input_names     strings: the target's input for each of the node's inputs that travel (used where there is no
///                   digest)
///   output_names    strings, likewise; row_status has none
///   output_dtypes   ints: ONNX TensorProto.DataType of each output
///   output_shapes   strings: "N,64" per output; a number, a symbol or "?" per dim; "" a scalar; "..." unknown rank
struct PortalSpec {
  /// "Remote", "Cascade", "Experts", "EmbeddingBag".
  std::string op_type;
  std::string node_name;
  /// What it calls, for ops with one target: PortalTargets() (portal_spec.h) knows all.
  std::string target;
  std::string signature;
  Digest digest;
  /// As the portal declares them, names being those of the target.
  std::vector<std::string> input_names;
  /// One for each of the node's, in order.
  std::vector<TensorSpec> outputs;
  /// Of op `Cascade`, and only of it.
  std::optional<CascadeSpec> cascade;
  /// Of op `Experts`, and only of it.
  std::optional<ExpertsSpec> experts;
  /// Of op `EmbeddingBag`, and only of it.
  std::optional<EmbeddingSpec> embedding;
};

inline constexpr absl::string_view kPorticoDomain = "ai.portico";

/// A maximal convex set of ordinary ops, as one ONNX model of its own.
struct SegmentSpec {
  /// "segment_0", ...
  std::string name;
  /// Serialized ModelProto: opset imports and local functions copied; initializers of more than 1 KiB declared
  /// external.
  std::string model;
  /// Names, in the model's order.
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
  /// Initializers declared external in `model`, to be handed to ONNX Runtime.
  std::vector<std::pair<std::string, Tensor>> weights;
  int64_t num_nodes = 0;
};

/// A step reads and writes slots: one slot per tensor that crosses a step's border.
struct PlanStep {
  std::vector<int> inputs;
  std::vector<int> outputs;
  /// Exactly one of the three.
  std::unique_ptr<SegmentSpec> segment;
  std::unique_ptr<PortalSpec> portal;
  /// A node TableLookup: by itself like a portal, and answered here like a segment.
  std::unique_ptr<TableLookupSpec> table;
};

/// One signature's computation as steps between portals. Steps are in a topological order.
struct GraphPlan {
  /// Tensor name of each slot, for messages.
  std::vector<std::string> slots;
  /// Slot of each input and output of the signature. An output may be an input; two outputs may be one slot.
  std::vector<int> inputs;
  std::vector<int> outputs;
  std::vector<PlanStep> steps;
  /// Outputs that are weights: their slot is filled with this at the start of every run.
  std::vector<std::pair<int, Tensor>> constants;
};

/// Cuts what `signature` needs of `model` at its portals and lookups in tables.
///
/// Nodes are grouped by (set of portals before them, whether any portal comes after them): such groups are convex, and
/// what no portal waits for runs while portals are under way. Nodes that depend on nothing but constants are copied
/// into every group that uses them. INVALID_ARGUMENT when a portal is inside the body of an If, Loop or Scan or inside
/// a local function (the message has its path), when portal attributes are missing or do not fit, or when the graph has
/// a cycle or an input nobody computes.
absl::StatusOr<GraphPlan> Partition(const Model& model, const Signature& signature);

}  // namespace portico
