#include "models/share/flops.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "base/status_macros.h"
#include "models/package/tensor_proto.h"
#include "models/runtime/session.h"
#include "models/split/graph_constants.h"
#include "models/split/submodel.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

/// Smaller weights may be shapes, which inference wants to see; larger ones become inputs, which nobody reads.
constexpr size_t kMaxKeptBytes = 1024;

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

/// The model without its large weights, and with the tensors around the counted nodes as outputs.
absl::StatusOr<RunnableModel> MakeShapeModel(const Model& model, const GraphIndex& index,
                                             const absl::flat_hash_set<std::string>& wanted) {
  auto proto = std::make_unique<onnx::ModelProto>(model.proto());
  onnx::GraphProto& graph = *proto->mutable_graph();
  absl::flat_hash_set<std::string> inputs;
  for (const auto& input : graph.input()) inputs.insert(input.name());
  google::protobuf::RepeatedPtrField<onnx::TensorProto> kept;
  for (onnx::TensorProto& weight : *graph.mutable_initializer()) {
    const Tensor& tensor = model.initializers().at(weight.name()).tensor;
    if (tensor.dtype() == DType::kString || tensor.bytes().size() <= kMaxKeptBytes) {
      *kept.Add() = std::move(weight);
      continue;
    }
    if (!inputs.insert(weight.name()).second) continue;
    TensorSpec spec{.name = weight.name(), .graph_name = weight.name(), .dtype = tensor.dtype(), .dims = {}};
    for (const int64_t extent : tensor.shape()) spec.dims.push_back({extent, ""});
    SetValueInfo(spec, graph.add_input());
  }
  graph.mutable_initializer()->Swap(&kept);
  proto->set_ir_version(std::max<int64_t>(proto->ir_version(), 4));
  std::vector<std::string> exposed;
  for (const std::string& tensor : wanted) {
    if (!index.IsInput(tensor) && !index.IsOutput(tensor) && !index.IsWeight(tensor)) exposed.push_back(tensor);
  }
  ASSIGN_OR_RETURN(const Model shapes, Model::WithWeightsOf(model, std::move(proto)));
  return MakeRunnable(shapes, exposed);
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
    ASSIGN_OR_RETURN(RunnableModel runnable, MakeShapeModel(model, index, wanted));
    Session::Options options;
    options.optimize = false;
    options.prepack = false;
    options.name = "shapes";
    ASSIGN_OR_RETURN(const std::unique_ptr<Session> session,
                     Session::Create(runnable.proto, std::move(runnable.weights), options));
    for (const std::vector<TensorSpec>* specs : {&session->inputs(), &session->outputs()}) {
      for (const TensorSpec& spec : *specs) {
        if (!spec.has_rank) continue;
        Extents extents;
        for (const Dim& dim : spec.dims) extents.push_back(dim.extent < 0 && extents.empty() ? 1 : dim.extent);
        shapes[spec.name] = std::move(extents);
      }
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
