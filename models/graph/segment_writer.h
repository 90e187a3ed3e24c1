#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "models/graph/graph_plan.h"

namespace onnx {
class FunctionProto;
class GraphProto;
class NodeProto;
class SparseTensorProto;
class TensorProto;
class ValueInfoProto;
}  // namespace onnx

namespace portico {

/// Writes sets of nodes of one model as ONNX models of their own. Borrows the model, which must outlive it. For one
/// thread.
class SegmentWriter {
 public:
  explicit SegmentWriter(const Model& model);

  /// What a segment is made of; names are the model's.
  struct Content {
    /// In a topological order.
    std::vector<const onnx::NodeProto*> nodes;
    /// Types are known.
    std::vector<TensorSpec> inputs;
    std::vector<absl::string_view> outputs;
    std::vector<absl::string_view> weights;
  };

  absl::StatusOr<SegmentSpec> Write(const std::string& name, const Content& content) const;

  /// The type that the model declares for a tensor that is computed; nothing where it does not say dtype and rank.
  std::optional<TensorSpec> Declared(absl::string_view tensor) const;

 private:
  absl::Status AddWeight(absl::string_view name, onnx::GraphProto& graph, SegmentSpec& segment) const;
  std::vector<const onnx::FunctionProto*> FunctionsOf(const std::vector<const onnx::NodeProto*>& nodes) const;

  const Model& model_;
  absl::flat_hash_map<absl::string_view, const onnx::ValueInfoProto*> declared_;
  absl::flat_hash_map<absl::string_view, const onnx::TensorProto*> weights_;
  absl::flat_hash_map<absl::string_view, const onnx::SparseTensorProto*> sparse_weights_;
  absl::flat_hash_map<std::string, std::vector<const onnx::FunctionProto*>> functions_;
};

}  // namespace portico
