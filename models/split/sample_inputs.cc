#include "models/split/sample_inputs.h"

#include <algorithm>
#include <filesystem>
#include <random>
#include <system_error>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "models/graph/node_reads.h"
#include "models/package/tensor_proto.h"
#include "models/runtime/row_check.h"
#include "models/split/graph_index.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

constexpr uint64_t kMaxTensorBytes = 1ull << 31;

/// Follows indices from where they pick something back to the inputs of the graph. Bodies of If, Loop and Scan are
/// looked into as if their nodes were the graph's own.
class IndexTracer {
 public:
  explicit IndexTracer(const onnx::GraphProto& graph) {
    AddTensors(graph);
    for (const auto& input : graph.input()) limits_[input.name()] = -1;
  }

  absl::flat_hash_map<std::string, int64_t> Trace() {
    for (const onnx::NodeProto* node : picking_) {
      const auto dims = dims_.find(node->input(0));
      if (dims == dims_.end()) continue;
      int64_t axis = 0;
      for (const auto& attribute : node->attribute()) {
        if (attribute.name() == "axis") axis = attribute.i();
      }
      const int64_t rank = static_cast<int64_t>(dims->second.size());
      if (axis < 0) axis += rank;
      if (axis >= 0 && axis < rank && dims->second[axis] > 0) Limit(node->input(1), dims->second[axis]);
    }
    absl::erase_if(limits_, [](const auto& entry) { return entry.second < 0; });
    return std::move(limits_);
  }

 private:
  void AddType(const onnx::ValueInfoProto& info) {
    if (!info.type().tensor_type().has_shape()) return;
    Shape& dims = dims_[info.name()];
    for (const auto& dim : info.type().tensor_type().shape().dim()) {
      dims.push_back(dim.has_dim_value() ? dim.dim_value() : -1);
    }
  }

  void AddTensors(const onnx::GraphProto& graph) {
    for (const auto& input : graph.input()) AddType(input);
    for (const auto& info : graph.value_info()) AddType(info);
    for (const auto& weight : graph.initializer())
      dims_[weight.name()] = Shape(weight.dims().begin(), weight.dims().end());
    for (const auto& node : graph.node()) {
      for (const auto& output : node.output()) producer_[output] = &node;
      if (node.op_type() == "Constant" && node.output_size() == 1) {
        for (const auto& attribute : node.attribute()) {
          if (attribute.has_t()) {
            dims_[node.output(0)] = Shape(attribute.t().dims().begin(), attribute.t().dims().end());
          }
        }
      }
      const bool picks = node.op_type() == "Gather" || node.op_type() == "GatherElements" ||
                         node.op_type() == "ScatterElements" || node.op_type() == "Scatter";
      if (picks && node.input_size() >= 2) picking_.push_back(&node);
      ForEachBody(node, [this](const onnx::AttributeProto&, const onnx::GraphProto& body) { AddTensors(body); });
    }
  }

  /// Every input of the graph whose elements become elements of `tensor` stays below `limit`.
  void Limit(const std::string& tensor, int64_t limit) {
    static const auto* const kPassing = new absl::flat_hash_set<std::string>{
        "Cast",  "Identity", "Unsqueeze", "Squeeze", "Reshape", "Flatten", "Transpose",
        "Slice", "Expand",   "Tile",      "Gather",  "Concat",  "Clip",    "Split"};
    absl::flat_hash_set<std::string> seen;
    std::vector<std::string> open = {tensor};
    while (!open.empty()) {
      const std::string name = std::move(open.back());
      open.pop_back();
      if (!seen.insert(name).second) continue;
      if (const auto input = limits_.find(name); input != limits_.end()) {
        input->second = input->second < 0 ? limit : std::min(input->second, limit);
      }
      const auto producer = producer_.find(name);
      if (producer == producer_.end() || !kPassing->contains(producer->second->op_type())) continue;
      const auto& inputs = producer->second->input();
      const int count = producer->second->op_type() == "Concat" ? inputs.size() : std::min(1, inputs.size());
      open.insert(open.end(), inputs.begin(), inputs.begin() + count);
    }
  }

  absl::flat_hash_map<std::string, Shape> dims_;
  absl::flat_hash_map<std::string, const onnx::NodeProto*> producer_;
  std::vector<const onnx::NodeProto*> picking_;
  absl::flat_hash_map<std::string, int64_t> limits_;
};

template <typename T>
Tensor Draw(const Shape& shape, uint64_t count, int64_t limit, std::mt19937_64& random) {
  std::vector<T> values(count);
  for (T& value : values) value = static_cast<T>(random() % static_cast<uint64_t>(limit));
  return Tensor::Of<T>(shape, values);
}

/// Numbers from 0 to `limit` − 1 in the shape of `tensor`; `tensor` itself where its dtype can't hold indices.
Tensor DrawIndices(const Tensor& tensor, int64_t limit, std::mt19937_64& random) {
  const uint64_t count = tensor.num_elements();
  switch (tensor.dtype()) {
    case DType::kInt64:
      return Draw<int64_t>(tensor.shape(), count, limit, random);
    case DType::kInt32:
      return Draw<int32_t>(tensor.shape(), count, std::min<int64_t>(limit, INT32_MAX), random);
    case DType::kUint8:
      return Draw<uint8_t>(tensor.shape(), count, std::min<int64_t>(limit, UINT8_MAX), random);
    case DType::kFloat:
      return Draw<float>(tensor.shape(), count, std::min<int64_t>(limit, 1 << 24), random);
    case DType::kDouble:
      return Draw<double>(tensor.shape(), count, limit, random);
    default:
      return tensor;
  }
}

absl::StatusOr<Tensor> ReadTensorFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, kMaxTensorBytes));
  onnx::TensorProto proto;
  if (!proto.ParseFromString(bytes)) {
    return absl::InvalidArgumentError(absl::StrCat("sample '", path, "': got no ONNX TensorProto"));
  }
  absl::StatusOr<Tensor> tensor = TakeTensor(proto);
  if (!tensor.ok()) return WithContext(absl::StrCat("sample '", path, "'"), tensor.status());
  return tensor;
}

/// input_0.pb, input_1.pb, ... as far as there are any.
absl::StatusOr<std::vector<Tensor>> ReadSample(const std::filesystem::path& folder) {
  std::vector<Tensor> tensors;
  for (int i = 0;; ++i) {
    const std::filesystem::path file = folder / absl::StrCat("input_", i, ".pb");
    std::error_code error;
    if (!std::filesystem::exists(file, error)) return tensors;
    ASSIGN_OR_RETURN(Tensor tensor, ReadTensorFile(file.string()));
    tensors.push_back(std::move(tensor));
  }
}

}  // namespace

absl::flat_hash_map<std::string, int64_t> IndexLimits(const Model& model) {
  return IndexTracer(model.proto().graph()).Trace();
}

std::vector<SampleInputs> MakeSamples(const Model& model, const std::vector<TensorSpec>& inputs,
                                      const std::vector<int64_t>& rows, uint64_t seed) {
  std::vector<TensorSpec> specs = inputs;
  absl::flat_hash_set<std::string> row_symbols;
  for (TensorSpec& spec : specs) {
    if (spec.dims.empty() || spec.dims[0].extent >= 0) continue;
    if (spec.dims[0].symbol.empty()) spec.dims[0].symbol = "rows of inputs that name none";
    row_symbols.insert(spec.dims[0].symbol);
  }
  const absl::flat_hash_map<std::string, int64_t> limits = IndexLimits(model);
  std::vector<SampleInputs> samples;
  for (const int64_t count : rows) {
    std::mt19937_64 random(++seed);
    std::vector<std::pair<std::string, int64_t>> extents;
    for (const std::string& symbol : row_symbols) extents.emplace_back(symbol, count);
    SampleInputs sample;
    sample.label = row_symbols.empty() ? absl::StrCat("generated inputs of seed ", seed)
                                       : absl::StrCat("generated inputs of ", count, " rows");
    sample.tensors = GenerateInputs(specs, extents, seed);
    for (size_t i = 0; i < specs.size() && i < sample.tensors.size(); ++i) {
      const auto limit = limits.find(specs[i].name);
      if (limit != limits.end()) sample.tensors[i] = DrawIndices(sample.tensors[i], limit->second, random);
    }
    samples.push_back(std::move(sample));
  }
  return samples;
}

absl::StatusOr<std::vector<SampleInputs>> ReadSamples(const std::string& folder) {
  std::vector<SampleInputs> samples;
  const auto add = [&samples](const std::filesystem::path& path) -> absl::Status {
    ASSIGN_OR_RETURN(std::vector<Tensor> tensors, ReadSample(path));
    if (!tensors.empty()) samples.push_back({absl::StrCat("sample '", path.string(), "'"), std::move(tensors)});
    return absl::OkStatus();
  };
  std::error_code error;
  std::vector<std::filesystem::path> folders = {folder};
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.is_directory(error)) folders.push_back(entry.path());
  }
  if (error) return ErrnoStatus(error.value(), "samples", folder);
  std::sort(folders.begin() + 1, folders.end());
  for (const std::filesystem::path& path : folders) RETURN_IF_ERROR(add(path));
  if (samples.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("samples '", folder,
                                                   "': got no files, want one folder per sample with ",
                                                   "input_0.pb, input_1.pb, ... (ONNX TensorProto) in it"));
  }
  return samples;
}

}  // namespace portico
