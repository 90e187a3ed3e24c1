#include "models/share/fold_constants.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "models/runtime/session.h"
#include "models/share/live_nodes.h"
#include "models/split/graph_index.h"
#include "models/split/submodel.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

/// What is folded makes the shapes of what is next known; exporters' chains take two or three.
constexpr int kMaxRounds = 8;
/// A result may be larger than what it was computed from up to this: Expand and ConstantOfShape.
constexpr uint64_t kMaxSwollenBytes = 64 << 10;

bool IsStandard(const onnx::NodeProto& node) { return node.domain().empty() || node.domain() == "ai.onnx"; }

bool IsLinear(const onnx::NodeProto& node) {
  static const auto& ops = *new absl::flat_hash_set<absl::string_view>{
      "Abs",        "Add",     "And",   "Cast",       "Ceil",      "Clip",       "Concat",    "ConstantOfShape",
      "Div",        "Equal",   "Exp",   "Expand",     "Flatten",   "Floor",      "Gather",    "Greater",
      "Less",       "Log",     "Max",   "Min",        "Mod",       "Mul",        "Neg",       "Not",
      "Or",         "Pow",     "Range", "Reciprocal", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
      "ReduceSum",  "Reshape", "Round", "Shape",      "Sign",      "Size",       "Slice",     "Split",
      "Sqrt",       "Squeeze", "Sub",   "Tile",       "Transpose", "Unsqueeze",  "Where",     "GreaterOrEqual",
      "LessOrEqual"};
  return IsStandard(node) && ops.contains(node.op_type());
}

/// Bytes of a tensor of known shape.
std::optional<uint64_t> BytesOf(const TensorSpec& spec) {
  if (!spec.has_rank || spec.dtype == DType::kInvalid || spec.dtype == DType::kString) return std::nullopt;
  Shape shape;
  for (const Dim& dim : spec.dims) shape.push_back(dim.extent);
  const absl::StatusOr<uint64_t> elements = NumElements(shape);
  if (!elements.ok()) return std::nullopt;
  return BytesFor(spec.dtype, *elements);
}

class Folder {
 public:
  Folder(const Model& model, WeightStore& store, const FoldOptions& options)
      : source_(model), store_(store), options_(options) {}

  absl::StatusOr<FoldedModel> Run() {
    FoldedModel result;
    for (int round = 0; round < kMaxRounds; ++round) {
      const Model& model = result.model.has_value() ? *result.model : source_;
      ASSIGN_OR_RETURN(const GraphIndex index, GraphIndex::Create(model.proto()));
      absl::flat_hash_map<std::string, Tensor> values;
      std::vector<bool> folded(static_cast<size_t>(index.num_nodes()), false);
      const absl::Status status = Compute(model, index, values, folded);
      if (!status.ok()) {
        result.note = absl::StrCat("constants are compared as they are computed, not by value: ", status.message());
        break;
      }
      const auto count = std::count(folded.begin(), folded.end(), true);
      if (count == 0) break;
      result.nodes += static_cast<int>(count);
      ASSIGN_OR_RETURN(Model next, Replace(model, index, std::move(values), folded));
      result.model = std::move(next);
    }
    return result;
  }

 private:
  bool SmallEnough(const Model& model, const GraphIndex& index, const std::string& tensor) const {
    if (const int producer = index.Producer(tensor); producer >= 0) {
      return index.node(producer).op_type() == "Constant" &&
             index.node(producer).ByteSizeLong() <= options_.max_tensor_bytes;
    }
    const auto weight = model.initializers().find(tensor);
    return weight != model.initializers().end() && weight->second.tensor.bytes().size() <= options_.max_tensor_bytes;
  }

  /// Nodes that may be computed, judged by what they are and read; their results are not known yet.
  std::vector<int> Candidates(const Model& model, const GraphIndex& index) const {
    std::vector<int> candidates;
    absl::flat_hash_set<int> chosen;
    for (const int node : index.order()) {
      if (!index.IsConstantNode(node) || !IsLinear(index.node(node))) continue;
      const bool fits = std::all_of(index.Inputs(node).begin(), index.Inputs(node).end(), [&](const auto& input) {
        const int producer = index.Producer(input);
        return (producer >= 0 && chosen.contains(producer)) || SmallEnough(model, index, input);
      });
      if (!fits) continue;
      chosen.insert(node);
      candidates.push_back(node);
    }
    return candidates;
  }

  static absl::StatusOr<std::unique_ptr<Session>> Open(const Model& model, const GraphIndex& index,
                                                       const std::vector<std::string>& tensors) {
    auto proto = std::make_unique<onnx::ModelProto>();
    proto->mutable_graph()->set_name("constants");
    for (const std::string& tensor : tensors) proto->mutable_graph()->add_output()->set_name(tensor);
    ASSIGN_OR_RETURN(const Model constants, CompleteModel(model, index, std::move(proto)));
    ASSIGN_OR_RETURN(RunnableModel runnable, MakeRunnable(constants, {}));
    Session::Options options;
    options.optimize = false;
    options.prepack = false;
    options.name = "constants";
    return Session::Create(runnable.proto, std::move(runnable.weights), options);
  }

  /// Fills `values` with what the nodes that it marks in `folded` compute, as far as others need it.
  absl::Status Compute(const Model& model, const GraphIndex& index, absl::flat_hash_map<std::string, Tensor>& values,
                       std::vector<bool>& folded) {
    Alias(model, index, values, folded);
    const std::vector<int> candidates = Candidates(model, index);
    if (candidates.empty()) return absl::OkStatus();
    std::vector<std::string> tensors;
    for (const int node : candidates) {
      tensors.insert(tensors.end(), index.Outputs(node).begin(), index.Outputs(node).end());
    }
    absl::flat_hash_map<std::string, uint64_t> sizes;
    {
      ASSIGN_OR_RETURN(const std::unique_ptr<Session> session, Open(model, index, tensors));
      for (const TensorSpec& spec : session->outputs()) {
        if (const std::optional<uint64_t> bytes = BytesOf(spec)) sizes.emplace(spec.name, *bytes);
      }
    }
    for (const int node : candidates) folded[static_cast<size_t>(node)] = Fits(model, index, node, sizes, folded);
    std::vector<std::string> wanted;
    for (const int node : candidates) {
      if (!folded[static_cast<size_t>(node)]) continue;
      for (const std::string& output : index.Outputs(node)) {
        const auto readers = index.Readers(output);
        if (index.IsOutput(output) || std::any_of(readers.begin(), readers.end(),
                                                  [&](int reader) { return !folded[static_cast<size_t>(reader)]; })) {
          wanted.push_back(output);
        }
      }
    }
    if (wanted.empty()) return absl::OkStatus();
    ASSIGN_OR_RETURN(const std::unique_ptr<Session> session, Open(model, index, wanted));
    ASSIGN_OR_RETURN(const std::vector<Tensor> computed, session->Run({}));
    for (size_t i = 0; i < wanted.size(); ++i) values.emplace(wanted[i], computed[i]);
    return absl::OkStatus();
  }

  /// Names that stand for a weight: whatever its size, nothing is computed.
  void Alias(const Model& model, const GraphIndex& index, absl::flat_hash_map<std::string, Tensor>& values,
             std::vector<bool>& folded) const {
    for (const int node : index.order()) {
      const onnx::NodeProto& proto = index.node(node);
      if (proto.op_type() != "Identity" || !IsStandard(proto) || !index.IsConstantNode(node)) continue;
      if (proto.input_size() != 1 || proto.output_size() != 1) continue;
      const auto weight = model.initializers().find(proto.input(0));
      if (weight == model.initializers().end()) continue;
      values.emplace(proto.output(0), weight->second.tensor);
      folded[static_cast<size_t>(node)] = true;
    }
  }

  bool Fits(const Model& model, const GraphIndex& index, int node,
            const absl::flat_hash_map<std::string, uint64_t>& sizes, const std::vector<bool>& folded) {
    uint64_t read = 0;
    for (const std::string& input : index.Inputs(node)) {
      const int producer = index.Producer(input);
      if (producer >= 0 && index.node(producer).op_type() != "Constant") {
        if (!folded[static_cast<size_t>(producer)]) return false;
        const auto size = sizes.find(input);
        read += size == sizes.end() ? 0 : size->second;
      } else {
        read +=
            producer >= 0 ? index.node(producer).ByteSizeLong() : model.initializers().at(input).tensor.bytes().size();
      }
    }
    uint64_t written = 0;
    for (const std::string& output : index.Outputs(node)) {
      const auto size = sizes.find(output);
      if (size == sizes.end() || size->second > options_.max_tensor_bytes) return false;
      written += size->second;
    }
    if (written > std::max(kMaxSwollenBytes, 2 * read) || total_ + written > options_.max_total_bytes) return false;
    if (read + written > options_.max_work_bytes - work_) return false;
    total_ += written;
    work_ += read + written;
    return true;
  }

  absl::StatusOr<Model> Replace(const Model& model, const GraphIndex& index,
                                absl::flat_hash_map<std::string, Tensor> values, const std::vector<bool>& folded) {
    auto proto = std::make_unique<onnx::ModelProto>(model.proto());
    onnx::GraphProto& graph = *proto->mutable_graph();
    graph.clear_node();
    for (int node = 0; node < index.num_nodes(); ++node) {
      if (!folded[static_cast<size_t>(node)]) *graph.add_node() = index.node(node);
    }
    absl::flat_hash_map<std::string, Initializer> weights = model.initializers();
    for (auto& [name, tensor] : values) {
      onnx::TensorProto* weight = graph.add_initializer();
      weight->set_name(name);
      weight->set_data_type(static_cast<int>(tensor.dtype()));
      for (const int64_t extent : tensor.shape()) weight->add_dims(extent);
      WeightStore::Interned interned = store_.Intern(std::move(tensor));
      weights.insert_or_assign(name, Initializer{std::move(interned.tensor), interned.digest});
    }
    // What was folded may have been all that read a weight.
    DropUnread(graph, weights);
    // Before version 4 weights had to be inputs, too.
    proto->set_ir_version(std::max<int64_t>(proto->ir_version(), 4));
    return Model::WithWeights(std::move(weights), std::move(proto));
  }

  const Model& source_;
  WeightStore& store_;
  const FoldOptions options_;
  uint64_t total_ = 0;
  uint64_t work_ = 0;
};

}  // namespace

absl::StatusOr<FoldedModel> FoldConstants(const Model& model, WeightStore& store, const FoldOptions& options) {
  return Folder(model, store, options).Run();
}

}  // namespace portico
