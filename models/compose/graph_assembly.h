#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "models/compose/composition.h"
#include "models/compose/member.h"
#include "models/compose/op_writer.h"
#include "models/package/package.h"

namespace portico {

/// A composition as a package that is not on disk yet: version 0, no folder.
struct ComposedModel {
  Package package;
  /// servable.yaml, which says the same.
  std::string config;
};

/// A portal node in the making; attributes that all portals have come from `member`.
struct PortalCall {
  absl::string_view op_type;
  const BoundMember* member = nullptr;
  /// What the node is called in notes, figures and errors; empty: as the member.
  absl::string_view name;
  /// Of the member's inputs, in its order, behind `leading` tensors.
  std::vector<std::string> leading;
  std::vector<TensorSpec> inputs;
  /// Which of the member's outputs the node gives (indices), with tensors made by AddPortal().
  std::vector<size_t> outputs;
  bool row_status = false;
  /// Without `target` where there are others.
  bool has_target = true;
  std::vector<OpAttribute> attributes;
};

/// The ONNX graph of a composition while it is made: inputs by name, copies of members' graphs, portals, ordinary ops.
/// Tensors are TensorSpecs with a graph_name. Names are made so that what is built of the same is the same. For one
/// thread.
class GraphAssembly {
 public:
  /// `members`: all, in order; those that are copied must agree in opsets and functions: INVALID_ARGUMENT otherwise.
  static absl::StatusOr<std::unique_ptr<GraphAssembly>> Create(const Composition& composition,
                                                               absl::Span<const BoundMember* const> members);
  ~GraphAssembly();
  GraphAssembly(const GraphAssembly&) = delete;
  GraphAssembly& operator=(const GraphAssembly&) = delete;

  OpWriter& ops() { return *ops_; }

  /// The tensors that are the inputs of `member`: those of its names in `scope`, else inputs of the composition, which
  /// are added where they are not there. INVALID_ARGUMENT where types differ.
  absl::StatusOr<std::vector<TensorSpec>> Inputs(const BoundMember& member, const std::vector<TensorSpec>& scope);
  /// What `member` makes of its inputs: its graph copied, or a `Remote` portal.
  std::vector<TensorSpec> Call(const BoundMember& member, const std::vector<TensorSpec>& inputs);
  /// Adds the node; its outputs, then the row status where there is one.
  std::vector<TensorSpec> AddPortal(const PortalCall& call);
  /// Declares the type of a tensor that is neither input nor output.
  void Declare(const TensorSpec& spec);

  /// The whole, with `outputs` as its outputs by their names.
  absl::StatusOr<ComposedModel> Finish(std::vector<TensorSpec> outputs) &&;

 private:
  explicit GraphAssembly(const Composition& composition);
  absl::Status TakeOpsets(const BoundMember& member);
  absl::Status TakeFunctions(const BoundMember& member);
  std::vector<TensorSpec> Copy(const BoundMember& member, const std::vector<TensorSpec>& inputs);
  std::string NewPrefix(const std::string& model);
  absl::Status NameOutputs(std::vector<TensorSpec>& outputs);

  const Composition& composition_;
  std::unique_ptr<onnx::ModelProto> proto_;
  std::unique_ptr<OpWriter> ops_;
  std::vector<TensorSpec> inputs_;
  absl::flat_hash_map<std::string, Initializer> weights_;
  absl::flat_hash_set<std::string> prefixes_;
  /// The first member that is copied, which says how the whole is run; null: none is.
  const Package* leading_ = nullptr;
  bool axes_declared_ = false;
  bool has_portals_ = false;
};

}  // namespace portico
