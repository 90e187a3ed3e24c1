#include "models/split/embedding_loops.h"

#include <algorithm>
#include <array>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "models/graph/node_reads.h"
#include "models/split/graph_constants.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

/// The nodes of a body by what they compute.
class BodyIndex {
 public:
  explicit BodyIndex(const onnx::GraphProto& body) : body_(body) {
    for (const auto& node : body.node()) {
      for (const std::string& output : node.output()) producer_[output] = &node;
    }
  }

  /// Null where `tensor` is not computed in the body, or by another op.
  const onnx::NodeProto* Producer(absl::string_view tensor, absl::string_view op_type) const {
    const auto it = producer_.find(tensor);
    return it == producer_.end() || it->second->op_type() != op_type ? nullptr : it->second;
  }
  bool IsOuter(absl::string_view tensor) const {
    return !producer_.contains(tensor) &&
           absl::c_none_of(body_.input(), [&](const auto& input) { return input.name() == tensor; });
  }
  /// Whether `tensor` is element `turn` of a tensor outside, as a list of one; that tensor.
  std::optional<std::string> ElementOfOuter(absl::string_view tensor) const {
    const onnx::NodeProto* list = Producer(tensor, "Unsqueeze");
    if (list == nullptr) return std::nullopt;
    const onnx::NodeProto* element = Producer(InputOf(*list, 0), "Gather");
    if (element == nullptr || !IsOuter(InputOf(*element, 0)) || InputOf(*element, 1) != body_.input(0).name())
      return std::nullopt;
    return InputOf(*element, 0);
  }
  /// The tensor outside that `slice` is a piece of, from begins[turn] to ends[turn] of axis 0.
  struct Slice {
    std::string of;
    std::string begins;
    std::string ends;
  };
  std::optional<Slice> SliceOfOuter(absl::string_view slice) const {
    const onnx::NodeProto* node = Producer(slice, "Slice");
    if (node == nullptr || node->input_size() < 4 || !IsOuter(InputOf(*node, 0))) return std::nullopt;
    const auto begins = ElementOfOuter(InputOf(*node, 1));
    const auto ends = ElementOfOuter(InputOf(*node, 2));
    if (!begins.has_value() || !ends.has_value()) return std::nullopt;
    return Slice{InputOf(*node, 0), *begins, *ends};
  }

 private:
  const onnx::GraphProto& body_;
  absl::flat_hash_map<std::string, const onnx::NodeProto*> producer_;
};

const onnx::GraphProto* BodyOf(const onnx::NodeProto& loop) {
  if (loop.op_type() != "Loop") return nullptr;
  for (const auto& attribute : loop.attribute()) {
    if (attribute.name() == "body") return &attribute.g();
  }
  return nullptr;
}

/// Whether `ends` is `begins` without its first.
bool IsTail(const Model& model, const GraphIndex& index, const std::string& ends, const std::string& begins) {
  const int producer = index.Producer(ends);
  if (producer < 0) return false;
  const onnx::NodeProto& slice = index.node(producer);
  if (slice.op_type() != "Slice" || slice.input_size() < 3 || InputOf(slice, 0) != begins) return false;
  return ConstantInts(model, index, InputOf(slice, 1)) == std::vector<int64_t>{1};
}

/// What becomes of the sequence that a loop makes, joined along its first axis; empty where it is used otherwise, or
/// something else that the loop makes is used. Exporters have the sequence at any place.
std::string JoinedSequence(const GraphIndex& index, const onnx::NodeProto& loop) {
  std::string joined;
  for (const std::string& output : loop.output()) {
    const absl::Span<const int> readers = index.Readers(output);
    if (index.IsOutput(output)) return "";
    if (readers.empty()) continue;
    const onnx::NodeProto& join = index.node(readers[0]);
    if (!joined.empty() || readers.size() != 1 || join.op_type() != "ConcatFromSequence" ||
        IntOf(join, "axis", 1) != 0 || IntOf(join, "new_axis", 0) != 0)
      return "";
    joined = join.output(0);
  }
  return joined;
}

/// Calls `visit` for each node of a body and of those in it.
template <typename Visit>
void ForEachNode(const onnx::GraphProto& body, const Visit& visit) {
  for (const auto& node : body.node()) {
    visit(node);
    ForEachBody(node, [&](const onnx::AttributeProto&, const onnx::GraphProto& inner) { ForEachNode(inner, visit); });
  }
}

/// The tensor outside a loop that its body picks elements of; empty where there is none, or are several.
std::string PickedFrom(const GraphIndex& index, const onnx::GraphProto& body) {
  absl::flat_hash_set<std::string> picked;
  for (const auto& node : body.node()) {
    if (node.op_type() == "Gather" && index.Exists(InputOf(node, 0))) picked.insert(InputOf(node, 0));
  }
  return picked.size() == 1 ? *picked.begin() : "";
}

/// What the bodies of a slicing loop are made of, and nothing else.
class SlicingBody {
 public:
  explicit SlicingBody(absl::string_view rows) : rows_(rows) {}

  bool Read(const onnx::GraphProto& body) {
    static const auto* const kOps = new absl::flat_hash_set<std::string>{
        "Reshape", "CastLike", "Cast",     "Add",      "Sub",       "Slice",      "Equal",          "If",
        "Less",    "Greater",  "Shape",    "Size",     "ReduceSum", "ReduceMean", "SequenceInsert", "Div",
        "Squeeze", "Constant", "Identity", "Unsqueeze"};
    for (const auto& node : body.node()) {
      if (!kOps->contains(node.op_type())) return false;
      if (node.op_type() == "SequenceInsert") ++inserts;
      if (node.op_type() == "Slice" && InputOf(node, 0) == rows_) pieces_.insert(node.output(0));
      if (node.op_type() == "Slice" && InputOf(node, 0) != rows_) sliced.insert(InputOf(node, 0));
      if (node.op_type() == "ReduceSum" || node.op_type() == "ReduceMean") {
        if (!pieces_.contains(InputOf(node, 0))) return false;
        (node.op_type() == "ReduceSum" ? sums : means) += 1;
      }
      bool fits = true;
      ForEachBody(node,
                  [&](const onnx::AttributeProto&, const onnx::GraphProto& inner) { fits = fits && Read(inner); });
      if (!fits) return false;
    }
    return true;
  }

  int inserts = 0;
  int sums = 0;
  int means = 0;
  absl::flat_hash_set<std::string> sliced;

 private:
  const absl::string_view rows_;
  absl::flat_hash_set<std::string> pieces_;
};

}  // namespace

std::optional<LoopBags> ReadGatheringLoop(const Model& model, const GraphIndex& index, const onnx::NodeProto& loop,
                                          absl::string_view weight) {
  const onnx::GraphProto* body = BodyOf(loop);
  // No state goes from turn to turn; the second output is all turns' rows.
  if (body == nullptr || loop.input_size() != 2 || loop.output_size() != 1 || body->input_size() != 2 ||
      body->output_size() != 2)
    return std::nullopt;
  const BodyIndex inside(*body);
  LoopBags bags;
  const onnx::NodeProto* reduce = inside.Producer(body->output(1).name(), "ReduceSum");
  if (reduce == nullptr) {
    reduce = inside.Producer(body->output(1).name(), "ReduceMean");
    bags.pooling = Pooling::kMean;
  }
  if (reduce == nullptr || IntOf(*reduce, "keepdims", 1) != 0) return std::nullopt;
  std::string rows = InputOf(*reduce, 0);
  std::optional<BodyIndex::Slice> weights;
  if (const onnx::NodeProto* mul = inside.Producer(rows, "Mul"); mul != nullptr) {
    for (const int at : {0, 1}) {
      const onnx::NodeProto* column = inside.Producer(InputOf(*mul, at), "Unsqueeze");
      if (column != nullptr) weights = inside.SliceOfOuter(InputOf(*column, 0));
      if (weights.has_value()) {
        rows = InputOf(*mul, 1 - at);
        break;
      }
    }
    if (!weights.has_value() || bags.pooling == Pooling::kMean) return std::nullopt;
    bags.weights = weights->of;
  }
  const onnx::NodeProto* gather = inside.Producer(rows, "Gather");
  if (gather == nullptr || InputOf(*gather, 0) != weight || IntOf(*gather, "axis", 0) != 0) return std::nullopt;
  const auto ids = inside.SliceOfOuter(InputOf(*gather, 1));
  if (!ids.has_value() || !IsTail(model, index, ids->ends, ids->begins)) return std::nullopt;
  if (weights.has_value() && (weights->begins != ids->begins || weights->ends != ids->ends)) return std::nullopt;
  // The weight is read nowhere else in the body.
  int reads = 0;
  for (const auto& node : body->node()) {
    reads += static_cast<int>(absl::c_count(TensorsRead(node), weight));
  }
  if (reads != 1) return std::nullopt;
  bags.ids = ids->of;
  bags.offsets = ids->begins;
  bags.output = loop.output(0);
  return bags;
}

std::optional<LoopBags> ReadSlicingLoop(const GraphIndex& index, const onnx::NodeProto& loop, absl::string_view rows) {
  const onnx::GraphProto* body = BodyOf(loop);
  if (body == nullptr || loop.input_size() != 4 || loop.output_size() != 2) return std::nullopt;
  SlicingBody inside(rows);
  if (!inside.Read(*body) || inside.inserts != 1 || inside.sums + inside.means < 1) return std::nullopt;
  // Of what the body slices besides, the offsets come from outside.
  absl::erase_if(inside.sliced, [&](const std::string& name) { return !index.Exists(name); });
  if (inside.sliced.size() != 1) return std::nullopt;
  // The last bag of a mean is a sum that is divided.
  LoopBags bags;
  bags.pooling = inside.means > 0 ? Pooling::kMean : Pooling::kSum;
  bags.offsets = *inside.sliced.begin();
  bags.output = JoinedSequence(index, loop);
  if (bags.output.empty()) return std::nullopt;
  return bags;
}

std::optional<LoopBags> ReadFilteringLoop(const Model& model, const GraphIndex& index, const onnx::NodeProto& loop,
                                          absl::string_view rows) {
  const onnx::GraphProto* body = BodyOf(loop);
  if (body == nullptr || loop.input_size() != 4 || loop.output_size() != 2) return std::nullopt;
  const onnx::NodeProto* filter = nullptr;
  int filters = 0;
  for (const auto& node : body->node()) {
    if (node.op_type() != "Loop") continue;
    filter = &node;
    ++filters;
  }
  const onnx::GraphProto* each_id = filters == 1 ? BodyOf(*filter) : nullptr;
  if (each_id == nullptr || filter->output_size() != 2) return std::nullopt;
  LoopBags bags;
  bags.ids = PickedFrom(index, *each_id);
  bags.offsets = PickedFrom(index, *body);
  bags.output = JoinedSequence(index, loop);
  if (bags.ids.empty() || bags.offsets.empty() || bags.output.empty()) return std::nullopt;
  const BodyIndex inside(*each_id);
  for (const auto& node : each_id->node()) {
    const onnx::NodeProto* equal = node.op_type() == "Not" ? inside.Producer(InputOf(node, 0), "Equal") : nullptr;
    if (equal == nullptr) continue;
    const auto value = ConstantInts(model, index, InputOf(*equal, 1));
    if (bags.padding.has_value() || !value.has_value() || value->size() != 1) return std::nullopt;
    bags.padding = value->front();
  }
  // Of the rows, those that were found are reduced.
  int sums = 0;
  int means = 0;
  absl::flat_hash_set<std::string> found;
  ForEachNode(*body, [&](const onnx::NodeProto& node) {
    if (node.op_type() == "Gather" && InputOf(node, 0) == rows &&
        absl::c_linear_search(filter->output(), InputOf(node, 1)))
      found.insert(node.output(0));
    if (node.op_type() == "ReduceSum" && found.contains(InputOf(node, 0))) ++sums;
    if (node.op_type() == "ReduceMean" && found.contains(InputOf(node, 0))) ++means;
  });
  if (!bags.padding.has_value() || found.empty() || sums + means < 1) return std::nullopt;
  bags.pooling = means > 0 ? Pooling::kMean : Pooling::kSum;
  return bags;
}

}  // namespace portico
