#include "models/package/model.h"

#include <climits>
#include <filesystem>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "models/package/external_data.h"
#include "models/package/tensor_proto.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

/// Protobuf's own limit on a message.
constexpr uint64_t kMaxModelBytes = INT_MAX;
/// Bodies within bodies; also bounds the recursion over them.
constexpr int kMaxNesting = 32;

absl::Status RefuseSparse(const onnx::GraphProto& graph) {
  if (graph.sparse_initializer().empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("initializer '", graph.sparse_initializer(0).values().name(),
                                                 "': got a sparse tensor, want a dense one; convert it"));
}

/// Brings the data that tensors inside nodes keep in other files into the protobuf, where ONNX Runtime, which gets
/// models from memory, finds it; and refuses what cannot be served wherever it stands.
class NestedTensors {
 public:
  explicit NestedTensors(ExternalData& files) : files_(files) {}

  absl::Status VisitNodes(google::protobuf::RepeatedPtrField<onnx::NodeProto>& nodes, int depth) {
    for (onnx::NodeProto& node : nodes) {
      for (onnx::AttributeProto& attribute : *node.mutable_attribute()) {
        if (absl::Status status = VisitAttribute(attribute, depth); !status.ok()) {
          return WithContext(absl::StrCat("node '", node.name(), "' (", node.op_type(), ")"), status);
        }
      }
    }
    return absl::OkStatus();
  }

 private:
  absl::Status VisitAttribute(onnx::AttributeProto& attribute, int depth) {
    if (attribute.has_t()) RETURN_IF_ERROR(VisitTensor(*attribute.mutable_t()));
    for (onnx::TensorProto& tensor : *attribute.mutable_tensors()) RETURN_IF_ERROR(VisitTensor(tensor));
    if (attribute.has_g()) RETURN_IF_ERROR(VisitBody(*attribute.mutable_g(), depth + 1));
    for (onnx::GraphProto& body : *attribute.mutable_graphs()) RETURN_IF_ERROR(VisitBody(body, depth + 1));
    return absl::OkStatus();
  }

  absl::Status VisitBody(onnx::GraphProto& body, int depth) {
    if (depth > kMaxNesting) {
      return absl::InvalidArgumentError(
          absl::StrCat("got bodies nested deeper than ", kMaxNesting, "; flatten the model"));
    }
    RETURN_IF_ERROR(RefuseSparse(body));
    for (onnx::TensorProto& tensor : *body.mutable_initializer()) RETURN_IF_ERROR(VisitTensor(tensor));
    return VisitNodes(*body.mutable_node(), depth);
  }

  absl::Status VisitTensor(onnx::TensorProto& tensor) {
    if (tensor.data_location() != onnx::TensorProto::EXTERNAL) return absl::OkStatus();
    ASSIGN_OR_RETURN(const Tensor read, files_.Read(tensor));
    inlined_bytes_ += read.bytes().size();
    if (inlined_bytes_ > kMaxModelBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("got more than ", kMaxModelBytes,
                       " bytes of external data inside nodes, want less; make them initializers of the graph"));
    }
    PutTensor(read, tensor);
    return absl::OkStatus();
  }

  ExternalData& files_;
  uint64_t inlined_bytes_ = 0;
};

/// A file that is cut off between two fields still parses: its last fields are missing.
absl::Status CheckComplete(const onnx::ModelProto& model) {
  if (model.ir_version() <= 0 || !model.has_graph()) {
    return absl::InvalidArgumentError(absl::StrCat("got no ", model.has_graph() ? "ir_version" : "graph",
                                                   ", want an ONNX model; the file is truncated or not ONNX"));
  }
  if (model.ir_version() >= 3 && model.opset_import().empty()) {
    return absl::InvalidArgumentError("got no opset_import, want one at least; the file is truncated or not ONNX");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<onnx::ModelProto>> ParseFile(const std::string& path) {
  ASSIGN_OR_RETURN(const Ref<MappedFile> file, MappedFile::Open(path));
  const absl::string_view bytes = file->bytes();
  if (bytes.size() > kMaxModelBytes) {
    return absl::InvalidArgumentError(absl::StrCat("got ", bytes.size(), " bytes, want at most ", kMaxModelBytes,
                                                   "; save its weights as external data"));
  }
  auto model = std::make_unique<onnx::ModelProto>();
  // A flat array has no total limit but its length, and each raw_data is allocated once, at its size.
  if (!model->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::InvalidArgumentError(absl::StrCat(
        "got ", bytes.size(), " bytes that do not parse as an ONNX model; the file is truncated or not ONNX"));
  }
  return model;
}

}  // namespace

Model::Model() = default;
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;
Model::~Model() = default;

absl::StatusOr<Model> Model::Load(const std::string& path, WeightStore& store) {
  const std::string context = absl::StrCat("model '", path, "'");
  absl::StatusOr<std::unique_ptr<onnx::ModelProto>> proto = ParseFile(path);
  if (!proto.ok()) return WithContext(context, proto.status());
  const std::string folder = std::filesystem::path(path).parent_path().string();
  absl::StatusOr<Model> model = FromProto(*std::move(proto), folder.empty() ? "." : folder, store);
  if (!model.ok()) return WithContext(context, model.status());
  return model;
}

absl::StatusOr<Model> Model::FromProto(std::unique_ptr<onnx::ModelProto> proto, const std::string& folder,
                                       WeightStore& store) {
  RETURN_IF_ERROR(CheckComplete(*proto));
  Model model;
  model.proto_ = std::move(proto);
  onnx::GraphProto& graph = *model.proto_->mutable_graph();
  RETURN_IF_ERROR(RefuseSparse(graph));
  ExternalData files(folder);
  for (onnx::TensorProto& initializer : *graph.mutable_initializer()) {
    const bool external = initializer.data_location() == onnx::TensorProto::EXTERNAL;
    absl::StatusOr<Tensor> tensor = external ? files.Read(initializer) : TakeTensor(initializer);
    if (!tensor.ok()) return WithContext(absl::StrCat("initializer '", initializer.name(), "'"), tensor.status());
    if (external) {
      initializer.clear_external_data();
      initializer.clear_data_location();
    }
    WeightStore::Interned weight = store.Intern(*std::move(tensor));
    const bool added =
        model.initializers_.emplace(initializer.name(), Initializer{std::move(weight.tensor), weight.digest}).second;
    if (!added || initializer.name().empty()) {
      return absl::InvalidArgumentError(absl::StrCat("initializer '", initializer.name(), "': got ",
                                                     added ? "no name" : "two of that name", ", want one"));
    }
  }
  NestedTensors nested(files);
  RETURN_IF_ERROR(nested.VisitNodes(*graph.mutable_node(), 0));
  for (onnx::FunctionProto& function : *model.proto_->mutable_functions()) {
    RETURN_IF_ERROR(nested.VisitNodes(*function.mutable_node(), 0));
  }
  return model;
}

absl::StatusOr<Model> Model::WithWeightsOf(const Model& source, std::unique_ptr<onnx::ModelProto> proto) {
  absl::flat_hash_map<std::string, Initializer> weights;
  for (const onnx::TensorProto& initializer : proto->graph().initializer()) {
    const auto weight = source.initializers().find(initializer.name());
    if (weight != source.initializers().end()) weights.insert(*weight);
  }
  return WithWeights(std::move(weights), std::move(proto));
}

absl::StatusOr<Model> Model::WithWeights(absl::flat_hash_map<std::string, Initializer> weights,
                                         std::unique_ptr<onnx::ModelProto> proto) {
  RETURN_IF_ERROR(CheckComplete(*proto));
  for (const onnx::TensorProto& initializer : proto->graph().initializer()) {
    ASSIGN_OR_RETURN(const TensorProtoType type, ReadTensorType(initializer));
    const auto weight = weights.find(initializer.name());
    if (weight == weights.end() || weight->second.tensor.dtype() != type.dtype ||
        weight->second.tensor.shape() != type.shape) {
      return absl::InvalidArgumentError(absl::StrCat("initializer '", initializer.name(), "': got ",
                                                     DTypeName(type.dtype), ShapeString(type.shape),
                                                     ", want a weight of the source model"));
    }
  }
  Model model;
  model.proto_ = std::move(proto);
  model.initializers_ = std::move(weights);
  return model;
}

uint64_t Model::weight_bytes() const {
  absl::flat_hash_set<Digest> seen;
  uint64_t bytes = 0;
  for (const auto& [name, initializer] : initializers_) {
    if (seen.insert(initializer.digest).second) bytes += initializer.tensor.bytes().size();
  }
  return bytes;
}

}  // namespace portico
