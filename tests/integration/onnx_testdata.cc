#include "tests/integration/onnx_testdata.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

constexpr uint64_t kMaxFileBytes = uint64_t{64} << 20;

template <typename T, typename Values>
Tensor Narrowed(DType dtype, Shape shape, const Values& values) {
  const std::vector<T> narrowed(values.begin(), values.end());
  return Tensor::CopyOf(dtype, std::move(shape),
                        absl::string_view(reinterpret_cast<const char*>(narrowed.data()), narrowed.size() * sizeof(T)));
}

absl::StatusOr<Tensor> TensorFrom(const onnx::TensorProto& proto) {
  ASSIGN_OR_RETURN(const DType dtype, DTypeFromNumber(proto.data_type()));
  Shape shape(proto.dims().begin(), proto.dims().end());
  ASSIGN_OR_RETURN(const uint64_t elements, NumElements(shape));
  uint64_t have = 0;
  if (dtype == DType::kString) {
    have = static_cast<uint64_t>(proto.string_data_size());
  } else if (proto.has_raw_data()) {
    have = proto.raw_data().size() == BytesFor(dtype, elements) ? elements : elements + 1;
  } else {
    have = static_cast<uint64_t>(proto.float_data_size() + proto.int32_data_size() + proto.int64_data_size() +
                                 proto.double_data_size() + proto.uint64_data_size());
  }
  if (have != elements) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor '", proto.name(), "': its data does not fit ", DTypeName(dtype), ShapeString(shape)));
  }
  if (dtype == DType::kString) {
    const std::vector<std::string> values(proto.string_data().begin(), proto.string_data().end());
    return Tensor::OfStrings(std::move(shape), absl::MakeConstSpan(values));
  }
  if (proto.has_raw_data()) return Tensor::CopyOf(dtype, std::move(shape), proto.raw_data());
  switch (dtype) {
    case DType::kFloat:
      return Narrowed<float>(dtype, std::move(shape), proto.float_data());
    case DType::kDouble:
      return Narrowed<double>(dtype, std::move(shape), proto.double_data());
    case DType::kInt64:
      return Narrowed<int64_t>(dtype, std::move(shape), proto.int64_data());
    case DType::kUint32:
      return Narrowed<uint32_t>(dtype, std::move(shape), proto.uint64_data());
    case DType::kUint64:
      return Narrowed<uint64_t>(dtype, std::move(shape), proto.uint64_data());
    case DType::kInt32:
      return Narrowed<int32_t>(dtype, std::move(shape), proto.int32_data());
    case DType::kInt16:
      return Narrowed<int16_t>(dtype, std::move(shape), proto.int32_data());
    case DType::kUint16:
    case DType::kFloat16:
    case DType::kBfloat16:
      return Narrowed<uint16_t>(dtype, std::move(shape), proto.int32_data());
    case DType::kInt8:
    case DType::kUint8:
    case DType::kBool:
      return Narrowed<uint8_t>(dtype, std::move(shape), proto.int32_data());
    default:
      return absl::UnimplementedError(absl::StrCat("tensor '", proto.name(), "': ", DTypeName(dtype)));
  }
}

/// The op type of a random op of the graph or of one of its bodies; empty: there is none.
std::string RandomOp(const onnx::GraphProto& graph) {
  for (const onnx::NodeProto& node : graph.node()) {
    const std::string& op = node.op_type();
    if (absl::StartsWith(op, "Random") || op == "Bernoulli" || op == "Multinomial") return op;
    for (const onnx::AttributeProto& attribute : node.attribute()) {
      if (!attribute.has_g()) continue;
      if (std::string inner = RandomOp(attribute.g()); !inner.empty()) return inner;
    }
  }
  return "";
}

std::string SkipReason(const onnx::GraphProto& graph) {
  for (const auto* values : {&graph.input(), &graph.output()}) {
    for (const onnx::ValueInfoProto& value : *values) {
      if (!value.type().has_tensor_type()) return absl::StrCat("'", value.name(), "' is not a tensor");
    }
  }
  if (const std::string op = RandomOp(graph); !op.empty()) return absl::StrCat("random op ", op);
  return "";
}

using ValueInfos = std::vector<const onnx::ValueInfoProto*>;

/// FOLDER/input_0.pb, ... for `values`.
absl::StatusOr<std::vector<NamedTensor>> ReadTensors(const std::string& folder, absl::string_view kind,
                                                     const ValueInfos& values) {
  std::vector<NamedTensor> tensors;
  for (size_t i = 0; i < values.size(); ++i) {
    const std::string path = absl::StrCat(folder, "/", kind, "_", i, ".pb");
    ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, kMaxFileBytes));
    onnx::TensorProto proto;
    if (!proto.ParseFromString(bytes)) return absl::InvalidArgumentError(absl::StrCat(path, ": not a TensorProto"));
    // The package keeps bfloat16 as the bits it is made of.
    if (values[i]->type().tensor_type().elem_type() == onnx::TensorProto::BFLOAT16) {
      proto.set_data_type(onnx::TensorProto::BFLOAT16);
    }
    absl::StatusOr<Tensor> tensor = TensorFrom(proto);
    if (!tensor.ok()) return WithContext(path, tensor.status());
    tensors.push_back({values[i]->name(), *std::move(tensor)});
  }
  return tensors;
}

absl::StatusOr<OnnxCase> ReadOnnxCase(const std::string& name, const std::string& folder) {
  OnnxCase test;
  test.name = name;
  test.model_path = folder + "/model.onnx";
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(test.model_path, kMaxFileBytes));
  auto model = std::make_shared<onnx::ModelProto>();
  if (!model->ParseFromString(bytes)) return absl::InvalidArgumentError(test.model_path + ": not a ModelProto");
  const onnx::GraphProto& graph = model->graph();
  test.model = model;
  test.skip = SkipReason(graph);
  if (!test.skip.empty()) return test;

  // Old models list their weights among the inputs.
  std::set<std::string> weights;
  for (const onnx::TensorProto& weight : graph.initializer()) weights.insert(weight.name());
  ValueInfos inputs, outputs;
  for (const onnx::ValueInfoProto& input : graph.input()) {
    if (weights.count(input.name()) == 0) inputs.push_back(&input);
  }
  for (const onnx::ValueInfoProto& output : graph.output()) outputs.push_back(&output);
  const std::string data = folder + "/test_data_set_0";
  ASSIGN_OR_RETURN(test.inputs, ReadTensors(data, "input", inputs));
  ASSIGN_OR_RETURN(test.outputs, ReadTensors(data, "output", outputs));
  return test;
}

}  // namespace

std::vector<Tensor> OnnxCase::InputTensors() const {
  std::vector<Tensor> tensors;
  for (const NamedTensor& input : inputs) tensors.push_back(input.tensor);
  return tensors;
}

std::string OnnxTestdataFolder() {
  const char* folder = std::getenv("PORTICO_ONNX_TESTDATA");
  return folder != nullptr ? folder : "/usr/share/libonnx-testdata/data";
}

absl::StatusOr<std::vector<OnnxCase>> ReadOnnxCases(const std::string& folder) {
  std::vector<OnnxCase> cases;
  for (const std::string group : {"node", "pytorch-converted", "pytorch-operator", "simple"}) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folder + "/" + group, error)) {
      const std::string name = absl::StrCat(group, "/", entry.path().filename().string());
      absl::StatusOr<OnnxCase> test = ReadOnnxCase(name, entry.path().string());
      if (!test.ok()) return WithContext(name, test.status());
      cases.push_back(*std::move(test));
    }
    if (error) {
      return absl::NotFoundError(
          absl::StrCat("test data '", folder, "/", group, "': ", error.message(), "; install libonnx-testdata"));
    }
  }
  std::sort(cases.begin(), cases.end(), [](const OnnxCase& a, const OnnxCase& b) { return a.name < b.name; });
  return cases;
}

}  // namespace portico
