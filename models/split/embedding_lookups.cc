#include "models/split/embedding_lookups.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "embedding/row_type.h"
#include "models/graph/node_reads.h"
#include "models/runtime/session.h"
#include "models/split/embedding_loops.h"
#include "models/split/graph_constants.h"
#include "models/split/submodel.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

/// A lookup by the shape of the graph alone; types decide what becomes of it.
struct Pattern {
  size_t table = 0;
  /// −1: a loop gathers itself.
  int gather = -1;
  /// Behind the Gather: multiplies its rows by `factor`.
  int mul = -1;
  std::string factor;
  /// Behind both: a ReduceSum or ReduceMean, or a loop.
  int reduce = -1;
  std::optional<LoopBags> loop;
};

class LookupFinder {
 public:
  LookupFinder(const Model& model, const GraphIndex& index, uint64_t min_bytes)
      : model_(model), index_(index), min_bytes_(min_bytes) {}

  absl::StatusOr<LookupGraph> Run() {
    FindLive();
    for (const auto& weight : model_.proto().graph().initializer()) AddTable(weight.name());
    if (found_.tables.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "model: got no weight of ", min_bytes_, " bytes or more that only lookups read, want one; lower min_bytes",
          found_.notes.empty() ? "" : "; ", absl::StrJoin(found_.notes, "; ")));
    }
    RETURN_IF_ERROR(LearnTypes());
    for (const Pattern& pattern : patterns_) RETURN_IF_ERROR(AddLookup(pattern));
    absl::c_stable_sort(found_.lookups, [](const auto& a, const auto& b) { return a.node < b.node; });
    SetLevels();
    return std::move(found_);
  }

 private:
  const onnx::NodeProto& Node(int node) const { return index_.node(node); }

  /// Exporters leave nodes behind that nobody needs.
  void FindLive() {
    live_.resize(static_cast<size_t>(index_.num_nodes()));
    for (const auto& output : model_.proto().graph().output()) Enliven(output.name());
    const std::vector<int>& order = index_.order();
    for (auto node = order.rbegin(); node != order.rend(); ++node) {
      if (!live_[*node]) continue;
      for (const std::string& input : index_.Inputs(*node)) Enliven(input);
    }
  }
  void Enliven(const std::string& tensor) {
    if (const int producer = index_.Producer(tensor); producer >= 0) live_[producer] = true;
  }
  std::vector<int> Readers(absl::string_view tensor) const {
    std::vector<int> readers;
    for (const int reader : index_.Readers(tensor)) {
      if (live_[reader]) readers.push_back(reader);
    }
    return readers;
  }
  /// The one node that reads `tensor`; −1: nobody, or several, or the caller.
  int SoleReader(const std::string& tensor) const {
    const std::vector<int> readers = Readers(tensor);
    return readers.size() == 1 && !index_.IsOutput(tensor) ? readers[0] : -1;
  }

  /// What `weight` is looked up by, or a note why it stays.
  void AddTable(const std::string& weight) {
    const auto initializer = model_.initializers().find(weight);
    if (initializer == model_.initializers().end()) return;
    const Tensor& values = initializer->second.tensor;
    const std::vector<int> readers = Readers(weight);
    if (values.bytes().size() < min_bytes_ || readers.empty()) return;
    std::vector<Pattern> patterns;
    std::string other;
    bool looks_up = false;
    for (const int reader : readers) {
      const onnx::NodeProto& node = Node(reader);
      Pattern pattern;
      pattern.table = found_.tables.size();
      if (node.op_type() == "Gather" && InputOf(node, 0) == weight && IntOf(node, "axis", 0) == 0 &&
          !index_.IsConstant(InputOf(node, 1))) {
        pattern.gather = reader;
        Follow(pattern);
      } else if (auto loop = ReadGatheringLoop(model_, index_, node, weight); loop.has_value()) {
        pattern.reduce = reader;
        pattern.loop = std::move(loop);
      } else {
        other = index_.Describe(reader);
        looks_up = looks_up || node.op_type() == "Loop" || node.op_type() == "If" ||
                   (node.op_type() == "Gather" && InputOf(node, 0) == weight);
        continue;
      }
      patterns.push_back(std::move(pattern));
    }
    // A matrix that no lookup reads is no table, and needs no note.
    if (patterns.empty() && !looks_up) return;
    const auto stays = [&](const auto&... why) {
      found_.notes.push_back(absl::StrCat("weight '", weight, "' stays in the model: ", why...));
    };
    if (!other.empty()) return stays(other, " reads it, too, and is no lookup along axis 0 by ids of the request");
    if (index_.IsOutput(weight)) return stays("it is an output");
    const Shape& shape = values.shape();
    if (shape.size() != 2 || shape[1] < 1 || static_cast<uint64_t>(shape[1]) > kMaxDim)
      return stays("got shape ", ShapeString(shape), ", want [rows, dim], dim from 1 to ", kMaxDim);
    if (values.dtype() != DType::kFloat && values.dtype() != DType::kFloat16 && values.dtype() != DType::kBfloat16)
      return stays("got ", DTypeName(values.dtype()), ", want float32, float16 or bfloat16");
    found_.tables.push_back({weight, values});
    std::move(patterns.begin(), patterns.end(), std::back_inserter(patterns_));
  }

  /// Sees what comes behind a Gather.
  void Follow(Pattern& pattern) {
    std::string rows = Node(pattern.gather).output(0);
    int reader = SoleReader(rows);
    if (reader < 0) return;
    if (const onnx::NodeProto& mul = Node(reader); mul.op_type() == "Mul" && InputOf(mul, 0) != InputOf(mul, 1)) {
      pattern.mul = reader;
      pattern.factor = InputOf(mul, InputOf(mul, 0) == rows ? 1 : 0);
      rows = mul.output(0);
      reader = SoleReader(rows);
    }
    if (reader < 0) return;
    const std::string& kind = Node(reader).op_type();
    if (kind == "ReduceSum" || kind == "ReduceMean") pattern.reduce = reader;
    if (kind == "Loop") {
      pattern.loop = ReadSlicingLoop(index_, Node(reader), rows);
      if (!pattern.loop.has_value()) pattern.loop = ReadFilteringLoop(model_, index_, Node(reader), rows);
      if (pattern.loop.has_value()) pattern.reduce = reader;
    }
  }

  /// Asks ONNX Runtime for the types of whatever lies around the lookups.
  absl::Status LearnTypes() {
    absl::flat_hash_set<std::string> exposed;
    const auto add = [&](const std::string& tensor) {
      if (index_.Exists(tensor) && !index_.IsInput(tensor) && !index_.IsOutput(tensor) && !index_.IsConstant(tensor))
        exposed.insert(tensor);
    };
    // What a tensor is made of, as far as ops do no more than shape it.
    static const auto* const kShaping = new absl::flat_hash_set<std::string>{"Cast", "Reshape", "Unsqueeze", "Concat"};
    const auto add_sources = [&](std::string tensor) {
      add(tensor);
      for (int i = 0; i < 4; ++i) {
        const int producer = index_.Producer(tensor);
        if (producer < 0 || !kShaping->contains(Node(producer).op_type())) return;
        tensor = InputOf(Node(producer), 0);
        add(tensor);
      }
    };
    for (const Pattern& pattern : patterns_) {
      if (pattern.gather >= 0) {
        add_sources(InputOf(Node(pattern.gather), 1));
        add(Node(pattern.gather).output(0));
      }
      if (pattern.mul >= 0) add_sources(pattern.factor);
      if (pattern.loop.has_value()) {
        add_sources(pattern.loop->ids);
        add_sources(pattern.loop->weights);
        add_sources(pattern.loop->offsets);
        add(pattern.loop->output);
      } else if (pattern.reduce >= 0) {
        add(Node(pattern.reduce).output(0));
      }
    }
    ASSIGN_OR_RETURN(const Model open, WeightsAsInputs(model_, found_.tables));
    ASSIGN_OR_RETURN(RunnableModel runnable, MakeRunnable(open, {exposed.begin(), exposed.end()}));
    Session::Options options;
    options.optimize = false;
    options.prepack = false;
    options.name = "the unsplit model";
    const absl::StatusOr<std::unique_ptr<Session>> session =
        Session::Create(runnable.proto, std::move(runnable.weights), options);
    if (!session.ok()) return WithContext("asking ONNX Runtime for the types around lookups", session.status());
    for (const std::vector<TensorSpec>* specs : {&(*session)->inputs(), &(*session)->outputs()}) {
      for (const TensorSpec& spec : *specs) types_[spec.name] = spec;
    }
    return absl::OkStatus();
  }

  const TensorSpec* Type(absl::string_view tensor) const {
    const auto it = types_.find(tensor);
    return it == types_.end() ? nullptr : &it->second;
  }
  /// −1 where nothing is known.
  int64_t RankOf(absl::string_view tensor) const {
    const TensorSpec* type = Type(tensor);
    return type == nullptr || !type->has_rank ? -1 : static_cast<int64_t>(type->dims.size());
  }
  bool Is(absl::string_view tensor, DType dtype) const {
    const TensorSpec* type = Type(tensor);
    return type != nullptr && type->dtype == dtype;
  }
  /// The node that computes `tensor`, if it is such an op; null otherwise.
  const onnx::NodeProto* Producer(absl::string_view tensor, absl::string_view op_type) const {
    const int producer = index_.Producer(tensor);
    return producer < 0 || Node(producer).op_type() != op_type ? nullptr : &Node(producer);
  }

  /// `tensor`, or the same ids before they were made wider.
  std::string Narrow(std::string tensor) const {
    const onnx::NodeProto* cast = Producer(tensor, "Cast");
    if (cast == nullptr) return tensor;
    const bool widens = Is(InputOf(*cast, 0), DType::kInt32) || Is(InputOf(*cast, 0), DType::kInt64);
    return widens && Is(tensor, DType::kInt64) ? InputOf(*cast, 0) : tensor;
  }
  /// What a flat tensor was before it was made flat.
  std::string Unflattened(std::string tensor) const {
    while (true) {
      const onnx::NodeProto* reshape = Producer(tensor, "Reshape");
      if (reshape == nullptr || ConstantInts(model_, index_, InputOf(*reshape, 1)) != std::vector<int64_t>{-1} ||
          RankOf(InputOf(*reshape, 0)) < 1)
        return tensor;
      tensor = InputOf(*reshape, 0);
    }
  }

  absl::Status AddLookup(const Pattern& pattern) {
    GraphLookup lookup;
    lookup.table = pattern.table;
    const TableWeight& table = found_.tables[pattern.table];
    if (!(pattern.loop.has_value() ? ReadLoop(pattern, lookup) : ReadReduce(pattern, lookup))) {
      if (pattern.gather < 0)
        return absl::InvalidArgumentError(absl::StrCat(index_.Describe(pattern.reduce), ": got a loop over rows of '",
                                                       table.weight, "' whose types can't be told; raise min_bytes"));
      lookup = GraphLookup();
      lookup.table = pattern.table;
      lookup.node = pattern.gather;
      lookup.ids = Narrow(InputOf(Node(pattern.gather), 1));
    }
    lookup.output = lookup.output.empty() ? Node(lookup.node).output(0) : lookup.output;
    if (const TensorSpec* type = Type(lookup.output); type != nullptr) lookup.output_type = *type;
    lookup.output_type.graph_name = lookup.output;
    lookup.rows_type = RowsType(lookup, table.dim());
    found_.lookups.push_back(std::move(lookup));
    return absl::OkStatus();
  }

  TensorSpec RowsType(const GraphLookup& lookup, size_t dim) const {
    TensorSpec rows;
    rows.dtype = DType::kFloat;
    const TensorSpec* ids = Type(lookup.ids);
    if (!lookup.offsets.empty()) {
      rows.dims.emplace_back();
    } else if (ids == nullptr || !ids->has_rank) {
      rows.has_rank = false;
      return rows;
    } else {
      rows.dims = ids->dims;
      if (lookup.pooling != Pooling::kNone) rows.dims.pop_back();
    }
    rows.dims.push_back({static_cast<int64_t>(dim), ""});
    return rows;
  }

  /// A sum or mean over the last axis of the ids; false where it is none that a portal can make.
  bool ReadReduce(const Pattern& pattern, GraphLookup& lookup) const {
    if (pattern.reduce < 0) return false;
    const onnx::NodeProto& reduce = Node(pattern.reduce);
    lookup.node = pattern.reduce;
    lookup.pooling = reduce.op_type() == "ReduceSum" ? Pooling::kSum : Pooling::kMean;
    const std::string& gathered = InputOf(Node(pattern.gather), 1);
    lookup.ids = Narrow(gathered);
    const int64_t rank = RankOf(gathered);
    const auto axes = AxesOf(model_, index_, reduce);
    if (rank < 1 || !axes.has_value() || axes->size() != 1) return false;
    const int64_t axis = axes->front() < 0 ? axes->front() + rank + 1 : axes->front();
    if (axis != rank - 1) return false;
    if (IntOf(reduce, "keepdims", 1) != 0) lookup.kept_axis = axis;
    return pattern.mul < 0 || ReadWeights(pattern, gathered, lookup);
  }

  /// A factor for each id, which for a mask of ids is a padding.
  bool ReadWeights(const Pattern& pattern, const std::string& ids, GraphLookup& lookup) const {
    const TensorSpec* factor = Type(pattern.factor);
    const TensorSpec& want = *Type(ids);
    if (lookup.pooling != Pooling::kSum || factor == nullptr || !factor->has_rank ||
        found_.tables[pattern.table].values.dtype() != DType::kFloat || factor->dims.size() != want.dims.size() + 1 ||
        factor->dims.back().extent != 1)
      return false;
    for (size_t i = 0; i < want.dims.size(); ++i) {
      // What would be spread over many ids is no factor for each.
      const Dim& got = factor->dims[i];
      if (got.extent != want.dims[i].extent ||
          (!got.symbol.empty() && !want.dims[i].symbol.empty() && got.symbol != want.dims[i].symbol))
        return false;
    }
    lookup.padding = PaddingOf(pattern.factor, lookup.ids);
    if (lookup.padding.has_value()) return true;
    lookup.weights = pattern.factor;
    lookup.squeeze_weights = true;
    const onnx::NodeProto* column = Producer(pattern.factor, "Unsqueeze");
    if (column == nullptr) return true;
    const auto axes = AxesOf(model_, index_, *column);
    const auto last = static_cast<int64_t>(want.dims.size());
    if (!axes.has_value() || axes->size() != 1 || (axes->front() != -1 && axes->front() != last)) return true;
    lookup.weights = InputOf(*column, 0);
    lookup.squeeze_weights = false;
    return true;
  }

  /// The id that `factor` is 0 for, where it is 1 for all others.
  std::optional<int64_t> PaddingOf(std::string factor, const std::string& ids) const {
    const onnx::NodeProto* node = nullptr;
    while (true) {
      const int producer = index_.Producer(factor);
      if (producer < 0) return std::nullopt;
      node = &Node(producer);
      const std::string& kind = node->op_type();
      if (kind != "Cast" && kind != "Unsqueeze" && kind != "Squeeze") break;
      factor = InputOf(*node, 0);
    }
    const bool negated = node->op_type() == "Not";
    if (negated) {
      node = Producer(InputOf(*node, 0), "Equal");
    } else if (node->op_type() != "Greater") {
      return std::nullopt;
    }
    if (node == nullptr) return std::nullopt;
    std::optional<std::vector<int64_t>> value;
    std::string compared = InputOf(*node, 0);
    value = ConstantInts(model_, index_, InputOf(*node, 1));
    if (!value.has_value() && negated) {
      compared = InputOf(*node, 1);
      value = ConstantInts(model_, index_, InputOf(*node, 0));
    }
    // Ids are not negative, so what is not greater than 0 is 0.
    if (!value.has_value() || value->size() != 1 || Narrow(compared) != ids || (!negated && value->front() != 0))
      return std::nullopt;
    return value->front();
  }

  /// The bags of a loop; where ids were made flat for it, row by row, those rows are bags.
  bool ReadLoop(const Pattern& pattern, GraphLookup& lookup) const {
    const LoopBags& loop = *pattern.loop;
    lookup.node = index_.Producer(loop.output);
    lookup.output = loop.output;
    lookup.pooling = loop.pooling;
    lookup.offsets = loop.offsets;
    lookup.padding = loop.padding;
    std::string ids = loop.ids;
    std::string weights = loop.weights;
    if (pattern.gather >= 0) {
      ids = InputOf(Node(pattern.gather), 1);
      if (RankOf(ids) != 1 || (!loop.ids.empty() && loop.ids != ids)) return false;
      // The exporter multiplies by ones where there are no weights.
      const onnx::NodeProto* column = Producer(pattern.factor, "Unsqueeze");
      if (pattern.mul >= 0 && column == nullptr) return false;
      if (column != nullptr && !IsOnes(InputOf(*column, 0))) weights = InputOf(*column, 0);
    }
    if (!weights.empty() && (lookup.pooling != Pooling::kSum || !Is(weights, DType::kFloat) || RankOf(weights) != 1))
      return false;
    if (RankOf(ids) != 1 || RankOf(loop.offsets) != 1) return false;
    const std::string rows = Unflattened(ids);
    const std::string row_weights = weights.empty() ? weights : Unflattened(weights);
    const onnx::NodeProto* concat = Producer(loop.offsets, "Concat");
    const onnx::NodeProto* range = concat == nullptr ? nullptr : Producer(InputOf(*concat, 0), "Range");
    if (range != nullptr && RankOf(rows) == 2 && (weights.empty() || RankOf(row_weights) == 2)) {
      lookup.ids = Narrow(rows);
      lookup.weights = row_weights;
      lookup.offsets.clear();
      return true;
    }
    lookup.ids = Narrow(RankOf(rows) == 1 ? rows : ids);
    lookup.weights = !weights.empty() && RankOf(row_weights) == 1 ? row_weights : weights;
    if (concat != nullptr && concat->input_size() == 2 && RankOf(InputOf(*concat, 0)) == 1)
      lookup.offsets_without_end = InputOf(*concat, 0);
    return true;
  }

  /// Whether `tensor` is a constant 1, made as long as needed.
  bool IsOnes(const std::string& tensor) const {
    const onnx::NodeProto* expand = Producer(tensor, "Expand");
    if (expand == nullptr) return false;
    const auto weight = model_.initializers().find(InputOf(*expand, 0));
    if (weight == model_.initializers().end()) return false;
    const Tensor value = weight->second.tensor.Aligned();
    return value.dtype() == DType::kFloat && value.num_elements() == 1 && value.data<float>()[0] == 1.0f;
  }

  /// Of a lookup: one more than of whatever its inputs depend on.
  void SetLevels() {
    absl::flat_hash_map<std::string, int> levels;
    const auto level_of = [&](const std::string& tensor) {
      const auto it = levels.find(tensor);
      return it == levels.end() ? 0 : it->second;
    };
    absl::flat_hash_map<int, std::vector<GraphLookup*>> by_node;
    for (GraphLookup& lookup : found_.lookups) by_node[lookup.node].push_back(&lookup);
    for (const int node : index_.order()) {
      int level = 0;
      if (const auto lookups = by_node.find(node); lookups != by_node.end()) {
        for (GraphLookup* lookup : lookups->second) {
          lookup->level = std::max({level_of(lookup->ids), level_of(lookup->offsets), level_of(lookup->weights)});
          level = std::max(level, lookup->level + 1);
        }
      } else {
        for (const std::string& input : index_.Inputs(node)) level = std::max(level, level_of(input));
      }
      for (const std::string& output : index_.Outputs(node)) levels[output] = level;
    }
  }

  const Model& model_;
  const GraphIndex& index_;
  const uint64_t min_bytes_;
  std::vector<bool> live_;
  std::vector<Pattern> patterns_;
  absl::flat_hash_map<std::string, TensorSpec> types_;
  LookupGraph found_;
};

}  // namespace

absl::string_view PoolingName(Pooling pooling) {
  switch (pooling) {
    case Pooling::kSum:
      return "sum";
    case Pooling::kMean:
      return "mean";
    case Pooling::kNone:
      return "none";
  }
  return "";
}

std::string LookupText(const LookupGraph& graph, const GraphLookup& lookup) {
  return absl::StrCat(graph.tables[lookup.table].weight, ": ", PoolingName(lookup.pooling), ", ",
                      lookup.offsets.empty() ? "padded" : "csr", lookup.weights.empty() ? "" : ", weighted");
}

absl::StatusOr<LookupGraph> FindLookups(const Model& model, const GraphIndex& index, uint64_t min_bytes) {
  return LookupFinder(model, index, min_bytes).Run();
}

absl::StatusOr<Model> WeightsAsInputs(const Model& model, const std::vector<TableWeight>& weights) {
  auto proto = std::make_unique<onnx::ModelProto>(model.proto());
  onnx::GraphProto& graph = *proto->mutable_graph();
  absl::flat_hash_set<std::string> moved;
  for (const TableWeight& weight : weights) moved.insert(weight.weight);
  const auto drop = [](auto* entries, const auto& names) {
    entries->erase(std::remove_if(entries->begin(), entries->end(),
                                  [&names](const auto& entry) { return names.contains(entry.name()); }),
                   entries->end());
  };
  // Up to IR version 3 weights are listed as inputs, too.
  absl::flat_hash_set<std::string> listed;
  for (const auto& weight : graph.initializer()) listed.insert(weight.name());
  drop(graph.mutable_input(), listed);
  drop(graph.mutable_initializer(), moved);
  drop(graph.mutable_value_info(), moved);
  proto->set_ir_version(std::max<int64_t>(proto->ir_version(), 4));
  for (const TableWeight& weight : weights) {
    TensorSpec spec;
    spec.graph_name = weight.weight;
    spec.dtype = weight.values.dtype();
    for (const int64_t extent : weight.values.shape()) spec.dims.push_back({extent, ""});
    SetValueInfo(spec, graph.add_input());
  }
  return Model::WithWeightsOf(model, std::move(proto));
}

}  // namespace portico
