#include "models/share/flops.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "base/status_macros.h"
#include "models/package/tensor_proto.h"
#include "models/share/inferred_specs.h"
#include "models/split/graph_constants.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

/// −1: not known.
using Extents = std::vector<int64_t>;
using ExtentsByName = absl::flat_hash_map<std::string, Extents>;

bool IsCounted(const onnx::NodeProto& node) {
  static const auto& ops = *new absl::flat_hash_set<absl::string_view>{"MatMul", "Gemm", "Conv", "ConvTranspose"};
  return (node.domain().empty() || node.domain() == "ai.onnx") && ops.contains(node.op_type());
}

bool IsHeavyOtherwise(const onnx::NodeProto& node) {
  static const auto& ops = *new absl::flat_hash_set<absl::string_view>{"LSTM",
                                                                       "GRU",
                                                                       "RNN",
                                                                       "Einsum",
                                                                       "Attention",
                                                                       "MultiHeadAttention",
                                                                       "FusedMatMul",
                                                                       "FusedConv",
                                                                       "FusedGemm",
                                                                       "QLinearConv",
                                                                       "QLinearMatMul",
                                                                       "ConvInteger",
                                                                       "MatMulInteger",
                                                                       "If",
                                                                       "Loop",
                                                                       "Scan",
                                                                       "DeformConv",
                                                                       "TreeEnsembleClassifier",
                                                                       "TreeEnsembleRegressor",
                                                                       "SVMClassifier",
                                                                       "SVMRegressor",
                                                                       "MatMulNBits"};
  return ops.contains(node.op_type());
}

double Product(const Extents& extents, size_t from = 0) {
  double product = 1;
  for (size_t i = from; i < extents.size(); ++i) product *= static_cast<double>(extents[i]);
  return product;
}

bool Known(const Extents* extents) {
  if (extents == nullptr) return false;
  for (const int64_t extent : *extents) {
    if (extent < 0) return false;
  }
  return true;
}

std::optional<double> FlopsOf(const onnx::NodeProto& node, const ExtentsByName& shapes) {
  const auto find = [&](const std::string& tensor) -> const Extents* {
    const auto at = shapes.find(tensor);
    return at == shapes.end() ? nullptr : &at->second;
  };
  if (node.input_size() < 2 || node.output_size() < 1) return std::nullopt;
  const Extents* a = find(node.input(0));
  const Extents* b = find(node.input(1));
  const Extents* out = find(node.output(0));
  if (node.op_type() == "Conv") {
    if (!Known(b) || !Known(out) || b->empty()) return std::nullopt;
    return 2 * Product(*out) * Product(*b, 1);
  }
  if (node.op_type() == "ConvTranspose") {
    if (!Known(a) || !Known(b) || b->empty()) return std::nullopt;
    return 2 * Product(*a) * Product(*b, 1);
  }
  if (!Known(out) || a == nullptr || b == nullptr || a->empty() || b->empty()) return std::nullopt;
  int64_t inner = -1;
  if (node.op_type() == "MatMul") {
    inner = a->back() >= 0 ? a->back() : (*b)[b->size() >= 2 ? b->size() - 2 : 0];
  } else if (b->size() == 2) {
    inner = (*b)[IntOf(node, "transB", 0) != 0 ? 1 : 0];
  }
  if (inner < 0) return std::nullopt;
  return 2 * Product(*out) * static_cast<double>(inner);
}

}  // namespace

absl::StatusOr<std::vector<FlopEstimate>> EstimateFlops(const Model& model, const GraphIndex& index,
                                                        absl::Span<const std::vector<int>> groups) {
  absl::flat_hash_set<std::string> wanted;
  for (const std::vector<int>& group : groups) {
    for (const int node : group) {
      if (!IsCounted(index.node(node))) continue;
      wanted.insert(index.Inputs(node).begin(), index.Inputs(node).end());
      wanted.insert(index.Outputs(node).begin(), index.Outputs(node).end());
    }
  }
  ExtentsByName shapes;
  for (const auto& [name, weight] : model.initializers()) {
    shapes[name] = Extents(weight.tensor.shape().begin(), weight.tensor.shape().end());
  }
  if (!wanted.empty()) {
    ASSIGN_OR_RETURN(const std::vector<TensorSpec> specs, InferSpecs(model, index, wanted));
    for (const TensorSpec& spec : specs) {
      if (!spec.has_rank) continue;
      Extents extents;
      for (const Dim& dim : spec.dims) extents.push_back(dim.extent < 0 && extents.empty() ? 1 : dim.extent);
      shapes[spec.name] = std::move(extents);
    }
  }
  std::vector<FlopEstimate> estimates;
  for (const std::vector<int>& group : groups) {
    FlopEstimate estimate;
    for (const int node : group) {
      const onnx::NodeProto& proto = index.node(node);
      const std::optional<double> flops = IsCounted(proto) ? FlopsOf(proto, shapes) : std::nullopt;
      if (flops.has_value()) {
        estimate.per_row += *flops;
      } else if (IsCounted(proto) || IsHeavyOtherwise(proto)) {
        ++estimate.unknown_nodes;
      }
    }
    estimates.push_back(estimate);
  }
  return estimates;
}

}  // namespace portico
