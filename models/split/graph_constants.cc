#include "models/split/graph_constants.h"

#include "absl/types/span.h"
#include "models/package/tensor_proto.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

constexpr uint64_t kMaxValues = 64;

std::optional<std::vector<int64_t>> Ints(const Tensor& tensor) {
  if (tensor.num_elements() > kMaxValues) return std::nullopt;
  if (tensor.dtype() == DType::kInt64) {
    const Tensor aligned = tensor.Aligned();
    return std::vector<int64_t>(aligned.data<int64_t>().begin(), aligned.data<int64_t>().end());
  }
  if (tensor.dtype() == DType::kInt32) {
    const Tensor aligned = tensor.Aligned();
    return std::vector<int64_t>(aligned.data<int32_t>().begin(), aligned.data<int32_t>().end());
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::vector<int64_t>> ConstantInts(const onnx::NodeProto& node) {
  if (node.op_type() != "Constant") return std::nullopt;
  for (const auto& attribute : node.attribute()) {
    if (attribute.name() == "value_int") return std::vector<int64_t>{attribute.i()};
    if (attribute.name() == "value_ints") return std::vector<int64_t>(attribute.ints().begin(), attribute.ints().end());
    if (attribute.name() != "value") continue;
    const absl::StatusOr<Tensor> tensor = ReadTensor(attribute.t());
    if (tensor.ok()) return Ints(*tensor);
  }
  return std::nullopt;
}

std::optional<std::vector<int64_t>> ConstantInts(const Model& model, const GraphIndex& index,
                                                 absl::string_view tensor) {
  if (const int producer = index.Producer(tensor); producer >= 0) return ConstantInts(index.node(producer));
  const auto weight = model.initializers().find(tensor);
  if (weight == model.initializers().end()) return std::nullopt;
  return Ints(weight->second.tensor);
}

const std::string& InputOf(const onnx::NodeProto& node, int index) {
  static const std::string none;
  return index < node.input_size() ? node.input(index) : none;
}

int64_t IntOf(const onnx::NodeProto& node, absl::string_view attribute, int64_t otherwise) {
  for (const auto& entry : node.attribute()) {
    if (entry.name() == attribute) return entry.i();
  }
  return otherwise;
}

std::optional<std::vector<int64_t>> AxesOf(const Model& model, const GraphIndex& index, const onnx::NodeProto& node) {
  for (const auto& attribute : node.attribute()) {
    if (attribute.name() == "axes") return std::vector<int64_t>(attribute.ints().begin(), attribute.ints().end());
  }
  if (node.input_size() < 2 || node.input(1).empty()) return std::nullopt;
  return ConstantInts(model, index, node.input(1));
}

int64_t OpsetOf(const Model& model) {
  for (const auto& opset : model.proto().opset_import()) {
    if (opset.domain().empty() || opset.domain() == "ai.onnx") return opset.version();
  }
  return 1;
}

}  // namespace portico
