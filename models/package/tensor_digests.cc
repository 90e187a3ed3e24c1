#include "models/package/tensor_digests.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "models/package/newer_fields.h"
#include "models/package/tensor_proto.h"
#include "onnx/onnx_pb.h"

// An input's digest is its position or its dtype, a weight's is its content, and a node's outputs get hash(op,
// attributes, digests of its inputs) with their positions. Names, order and unused nodes thus leave no trace.

namespace portico {
namespace {

/// Bodies within bodies and functions within functions; bounds the recursion over them (nodes are visited iteratively).
constexpr int kMaxNesting = 64;
constexpr absl::string_view kPortalDomain = "ai.portico";

using Nodes = google::protobuf::RepeatedPtrField<onnx::NodeProto>;
using Opsets = absl::flat_hash_map<absl::string_view, int64_t>;

absl::string_view Domain(absl::string_view domain) { return domain == "ai.onnx" ? "" : domain; }

Opsets ReadOpsets(const google::protobuf::RepeatedPtrField<onnx::OperatorSetIdProto>& imports) {
  Opsets opsets;
  for (const onnx::OperatorSetIdProto& import : imports) opsets[Domain(import.domain())] = import.version();
  return opsets;
}

std::string NodeLabel(const onnx::NodeProto& node) {
  return absl::StrCat("node '", node.name().empty() && node.output_size() > 0 ? node.output(0) : node.name(), "' (",
                      node.op_type(), ")");
}

/// Number of `names` without empty ones at the end: an optional that is left out may be written or not.
template <typename Names>
int CountWithoutTail(const Names& names) {
  int count = names.size();
  while (count > 0 && names.Get(count - 1).empty()) --count;
  return count;
}

/// Ops of which two with equal inputs still differ, so that using one twice is not using two.
bool DrawsRandomly(const onnx::NodeProto& node) {
  static constexpr absl::string_view kOps[] = {"Bernoulli",     "Dropout",           "Multinomial",     "RandomNormal",
                                               "RandomUniform", "RandomUniformLike", "RandomNormalLike"};
  return Domain(node.domain()).empty() && std::find(std::begin(kOps), std::end(kOps), node.op_type()) != std::end(kOps);
}

/// Names of tensors and portals' own names for the tensors around them say nothing about what is computed. `shapes`:
/// those that portals declare count.
bool Counts(const onnx::NodeProto& node, const onnx::AttributeProto& attribute, bool shapes) {
  if (node.domain() != kPortalDomain) return true;
  if (attribute.name() == "output_shapes") return shapes;
  return attribute.name() != "input_names" && attribute.name() != "output_names";
}

/// The value of a Constant node, which counts as an initializer does; none where it is an attribute of the function
/// around, or sparse.
absl::StatusOr<std::optional<Tensor>> ConstantValue(const onnx::NodeProto& node) {
  if (node.op_type() != "Constant" || !Domain(node.domain()).empty() || node.attribute_size() != 1) return std::nullopt;
  const onnx::AttributeProto& value = node.attribute(0);
  if (!value.ref_attr_name().empty()) return std::nullopt;
  const auto list = [](const auto& values, auto element) {
    using T = decltype(element);
    return Tensor::Of<T>({values.size()}, absl::MakeConstSpan(values.data(), static_cast<size_t>(values.size())));
  };
  if (value.name() == "value") {
    ASSIGN_OR_RETURN(Tensor tensor, ReadTensor(value.t()));
    return tensor;
  }
  if (value.name() == "value_float") return Tensor::Of<float>({}, {value.f()});
  if (value.name() == "value_int") return Tensor::Of<int64_t>({}, {value.i()});
  if (value.name() == "value_floats") return list(value.floats(), float());
  if (value.name() == "value_ints") return list(value.ints(), int64_t());
  if (value.name() == "value_string") return Tensor::OfStrings({}, absl::Span<const std::string>(&value.s(), 1));
  if (value.name() == "value_strings") {
    const std::vector<std::string> texts(value.strings().begin(), value.strings().end());
    return Tensor::OfStrings({value.strings_size()}, absl::Span<const std::string>(texts));
  }
  return std::nullopt;
}

/// The digest of something with a body: its value, and whether two uses of it differ.
struct BodyDigest {
  Digest digest;
  bool random = false;
};

/// What names mean inside one graph, body or function, as far as it has been computed.
struct Scope {
  /// Where names that are not found here are looked for; null for a graph and a function.
  const Scope* outer = nullptr;
  const Opsets* opsets = nullptr;
  /// Bodies and functions around.
  int depth = 0;
  const Nodes* nodes = nullptr;
  absl::flat_hash_map<absl::string_view, int> producers;
  absl::flat_hash_map<absl::string_view, Digest> values;
  /// Random nodes so far. They are numbered as they are reached from the outputs, which depends on structure alone.
  uint64_t draws = 0;

  const Digest* Find(absl::string_view name) const {
    for (const Scope* scope = this; scope != nullptr; scope = scope->outer) {
      if (const auto value = scope->values.find(name); value != scope->values.end()) return &value->second;
    }
    return nullptr;
  }
};

absl::StatusOr<Scope> NewScope(const Nodes& nodes, const Scope* outer, const Opsets* opsets, int depth) {
  if (depth > kMaxNesting) {
    return absl::InvalidArgumentError(
        absl::StrCat("got bodies and functions nested deeper than ", kMaxNesting, "; flatten the model"));
  }
  Scope scope;
  scope.outer = outer;
  scope.opsets = opsets;
  scope.depth = depth;
  scope.nodes = &nodes;
  for (int i = 0; i < nodes.size(); ++i) {
    for (const std::string& output : nodes.Get(i).output()) {
      if (!output.empty() && !scope.producers.emplace(output, i).second) {
        return absl::InvalidArgumentError(
            absl::StrCat("tensor '", output, "': got two nodes that compute it, want one; rename an output"));
      }
    }
  }
  return scope;
}

/// Calls `body(graph)` for each subgraph of `node`.
template <typename F>
absl::Status ForEachBody(const onnx::NodeProto& node, F body) {
  for (const onnx::AttributeProto& attribute : node.attribute()) {
    if (attribute.has_g()) RETURN_IF_ERROR(body(attribute.g()));
    for (const onnx::GraphProto& graph : attribute.graphs()) RETURN_IF_ERROR(body(graph));
  }
  return absl::OkStatus();
}

/// Adds the names that `body` takes from outside to `names`.
absl::Status AddCaptures(const onnx::GraphProto& body, int depth, std::vector<absl::string_view>& names) {
  if (depth > kMaxNesting) return absl::InvalidArgumentError("got bodies nested too deep");
  std::vector<absl::string_view> used;
  absl::flat_hash_set<absl::string_view> own;
  for (const onnx::ValueInfoProto& input : body.input()) own.insert(input.name());
  for (const onnx::TensorProto& initializer : body.initializer()) own.insert(initializer.name());
  for (const onnx::NodeProto& node : body.node()) {
    own.insert(node.output().begin(), node.output().end());
    used.insert(used.end(), node.input().begin(), node.input().end());
    RETURN_IF_ERROR(
        ForEachBody(node, [&](const onnx::GraphProto& inner) { return AddCaptures(inner, depth + 1, used); }));
  }
  for (const onnx::ValueInfoProto& output : body.output()) used.push_back(output.name());
  for (const absl::string_view name : used) {
    if (!name.empty() && !own.contains(name)) names.push_back(name);
  }
  return absl::OkStatus();
}

}  // namespace

class TensorDigests::Impl {
 public:
  explicit Impl(const Model& model) : model_(model), opsets_(ReadOpsets(model.proto().opset_import())) {
    for (const onnx::FunctionProto& function : model.proto().functions()) {
      functions_[FunctionKey(function.domain(), function.name(), FunctionOverload(function))].proto = &function;
    }
  }

  absl::Status Begin(Inputs inputs) {
    shapes_count_ = inputs == Inputs::kByPosition;
    const onnx::GraphProto& graph = model_.proto().graph();
    ASSIGN_OR_RETURN(graph_, NewScope(graph.node(), nullptr, &opsets_, 0));
    for (const auto& [name, initializer] : model_.initializers()) graph_.values.emplace(name, initializer.digest);
    uint64_t position = 0;
    for (const onnx::ValueInfoProto& input : graph.input()) {
      if (model_.initializers().contains(input.name())) continue;
      const auto dtype = static_cast<uint64_t>(input.type().tensor_type().elem_type());
      graph_.values.emplace(input.name(), inputs == Inputs::kByPosition ? PositionDigest("input", 0, position)
                                                                        : PositionDigest("input of type", 0, dtype));
      ++position;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Digest> Of(absl::string_view tensor) {
    RETURN_IF_ERROR(Compute(graph_, tensor));
    const Digest* value = graph_.Find(tensor);
    if (value == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("output '", tensor, "': got no node, input or weight of that name"));
    }
    return *value;
  }

  absl::StatusOr<Digest> OfNodeAlone(const onnx::NodeProto& node,
                                     const std::function<bool(absl::string_view)>& is_constant) {
    Scope scope;
    scope.opsets = &opsets_;
    std::vector<absl::string_view> reads(node.input().begin(), node.input().end());
    RETURN_IF_ERROR(ForEachBody(node, [&](const onnx::GraphProto& body) { return AddCaptures(body, 1, reads); }));
    uint64_t tensors = 0;
    for (const absl::string_view name : reads) {
      if (name.empty() || scope.values.contains(name)) continue;
      Digest digest;
      if (is_constant(name)) {
        ASSIGN_OR_RETURN(digest, Of(name));
      } else {
        digest = PositionDigest("tensor", 0, tensors++);
      }
      scope.values.emplace(name, digest);
    }
    absl::StatusOr<Digest> digest = DigestOfNode(scope, node);
    if (!digest.ok()) return WithContext(NodeLabel(node), digest.status());
    return digest;
  }

 private:
  struct Function {
    const onnx::FunctionProto* proto = nullptr;
    bool under_way = false;
    std::optional<BodyDigest> done;
  };

  static std::string FunctionKey(absl::string_view domain, absl::string_view name, absl::string_view overload) {
    return absl::StrCat(Domain(domain), "\n", name, "\n", overload);
  }

  static Digest PositionDigest(absl::string_view kind, int depth, uint64_t index) {
    return Hasher().Add(kind).Add(static_cast<uint64_t>(depth)).Add(index).Finish();
  }

  /// Computes the outputs of `scope` and adds their digests in order.
  template <typename Outputs, typename NameOf>
  absl::Status AddOutputs(Scope& scope, const Outputs& outputs, NameOf name_of, Hasher& hasher) {
    hasher.Add(static_cast<uint64_t>(outputs.size()));
    for (const auto& output : outputs) {
      const std::string& name = name_of(output);
      RETURN_IF_ERROR(Compute(scope, name));
      const Digest* value = scope.Find(name);
      if (value == nullptr) {
        return absl::InvalidArgumentError(
            absl::StrCat("output '", name, "': got no node, input or weight of that name"));
      }
      hasher.Add(*value);
    }
    return absl::OkStatus();
  }

  /// Makes scope.values hold `target` and all it needs: depth first, on a stack of our own.
  absl::Status Compute(Scope& scope, absl::string_view target) {
    struct Visit {
      int node;
      bool leaving;
    };
    std::vector<Visit> stack;
    absl::flat_hash_set<int> open;
    std::vector<absl::string_view> needs;
    const auto push = [&](absl::string_view name) {
      if (scope.values.contains(name)) return;
      if (const auto producer = scope.producers.find(name); producer != scope.producers.end()) {
        stack.push_back({producer->second, false});
      }
    };
    push(target);
    while (!stack.empty()) {
      Visit& visit = stack.back();
      const onnx::NodeProto& node = scope.nodes->Get(visit.node);
      if (visit.leaving) {
        open.erase(visit.node);
        stack.pop_back();
        if (absl::Status status = AddNode(scope, node); !status.ok()) return WithContext(NodeLabel(node), status);
        continue;
      }
      if (IsComputed(scope, node)) {
        stack.pop_back();
        continue;
      }
      if (!open.insert(visit.node).second) {
        return absl::InvalidArgumentError(
            absl::StrCat(NodeLabel(node), ": its inputs depend on its own output; want a graph without cycles"));
      }
      visit.leaving = true;
      needs.assign(node.input().begin(), node.input().end());
      RETURN_IF_ERROR(
          ForEachBody(node, [&](const onnx::GraphProto& body) { return AddCaptures(body, scope.depth + 1, needs); }));
      std::for_each(needs.rbegin(), needs.rend(), push);
    }
    return absl::OkStatus();
  }

  static bool IsComputed(const Scope& scope, const onnx::NodeProto& node) {
    for (const std::string& output : node.output()) {
      if (!output.empty()) return scope.values.contains(output);
    }
    return false;
  }

  /// Gives the outputs of `node`, whose inputs have theirs, their digests.
  absl::Status AddNode(Scope& scope, const onnx::NodeProto& node) {
    ASSIGN_OR_RETURN(const std::optional<Tensor> constant, ConstantValue(node));
    if (constant.has_value()) {
      scope.values.emplace(node.output(0), TensorDigest(*constant));
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(const Digest digest, DigestOfNode(scope, node));
    const int outputs = CountWithoutTail(node.output());
    for (int i = 0; i < outputs; ++i) {
      if (node.output(i).empty()) continue;
      scope.values[node.output(i)] = Hasher().Add(digest).Add(static_cast<uint64_t>(i)).Finish();
    }
    return absl::OkStatus();
  }

  /// Of what `node` computes, all outputs together.
  absl::StatusOr<Digest> DigestOfNode(Scope& scope, const onnx::NodeProto& node) {
    Hasher hasher;
    bool random = DrawsRandomly(node);
    RETURN_IF_ERROR(AddOp(scope, node, hasher, random));
    const int inputs = CountWithoutTail(node.input());
    hasher.Add(static_cast<uint64_t>(inputs));
    for (int i = 0; i < inputs; ++i) {
      const Digest* value = scope.Find(node.input(i));
      if (value == nullptr && !node.input(i).empty()) {
        return absl::InvalidArgumentError(
            absl::StrCat("input '", node.input(i), "': got no node, input or weight of that name"));
      }
      hasher.Add(value == nullptr ? Digest() : *value);
    }
    hasher.Add(static_cast<uint64_t>(CountWithoutTail(node.output())));
    RETURN_IF_ERROR(AddAttributes(scope, node, hasher, random));
    if (random) hasher.Add(++scope.draws);
    return hasher.Finish();
  }

  /// What `node` calls: an op of an opset, or the body of a local function.
  absl::Status AddOp(const Scope& scope, const onnx::NodeProto& node, Hasher& hasher, bool& random) {
    const auto function = functions_.find(FunctionKey(node.domain(), node.op_type(), NodeOverload(node)));
    if (function != functions_.end()) {
      ASSIGN_OR_RETURN(const BodyDigest body, DigestOf(function->second, scope.depth + 1));
      random |= body.random;
      hasher.Add("function").Add(body.digest);
      return absl::OkStatus();
    }
    const auto opset = scope.opsets->find(Domain(node.domain()));
    hasher.Add("op").Add(Domain(node.domain())).Add(node.op_type());
    hasher.Add(static_cast<uint64_t>(opset == scope.opsets->end() ? 0 : opset->second));
    return absl::OkStatus();
  }

  absl::Status AddAttributes(const Scope& scope, const onnx::NodeProto& node, Hasher& hasher, bool& random) {
    std::vector<const onnx::AttributeProto*> attributes;
    for (const onnx::AttributeProto& attribute : node.attribute()) {
      if (Counts(node, attribute, shapes_count_)) attributes.push_back(&attribute);
    }
    std::sort(attributes.begin(), attributes.end(), [](auto* a, auto* b) { return a->name() < b->name(); });
    hasher.Add(attributes.size());
    for (const onnx::AttributeProto* attribute : attributes) {
      if (absl::Status status = AddAttribute(&scope, *attribute, hasher, random); !status.ok()) {
        return WithContext(absl::StrCat("attribute '", attribute->name(), "'"), status);
      }
    }
    return absl::OkStatus();
  }

  /// `scope`: where bodies find what they capture; null where there can be no body.
  absl::Status AddAttribute(const Scope* scope, const onnx::AttributeProto& attribute, Hasher& hasher, bool& random) {
    hasher.Add(attribute.name()).Add(attribute.ref_attr_name());
    // Old files leave the type out; each kind is told by its own label.
    if (attribute.has_f() || attribute.type() == onnx::AttributeProto::FLOAT) {
      const float value = attribute.f();
      hasher.Add("f").Add(absl::string_view(reinterpret_cast<const char*>(&value), sizeof(value)));
    }
    if (attribute.has_i() || attribute.type() == onnx::AttributeProto::INT) {
      hasher.Add("i").Add(static_cast<uint64_t>(attribute.i()));
    }
    if (attribute.has_s() || attribute.type() == onnx::AttributeProto::STRING) hasher.Add("s").Add(attribute.s());
    if (!attribute.floats().empty()) {
      hasher.Add("floats").Add(absl::string_view(reinterpret_cast<const char*>(attribute.floats().data()),
                                                 static_cast<size_t>(attribute.floats_size()) * sizeof(float)));
    }
    if (!attribute.ints().empty()) {
      hasher.Add("ints").Add(static_cast<uint64_t>(attribute.ints_size()));
      for (const int64_t value : attribute.ints()) hasher.Add(static_cast<uint64_t>(value));
    }
    if (!attribute.strings().empty()) {
      hasher.Add("strings").Add(static_cast<uint64_t>(attribute.strings_size()));
      for (const std::string& value : attribute.strings()) hasher.Add(value);
    }
    if (attribute.has_t()) RETURN_IF_ERROR(AddTensor(attribute.t(), hasher));
    for (const onnx::TensorProto& tensor : attribute.tensors()) RETURN_IF_ERROR(AddTensor(tensor, hasher));
    if (attribute.has_g()) RETURN_IF_ERROR(AddBody(scope, attribute.g(), hasher, random));
    for (const onnx::GraphProto& body : attribute.graphs()) RETURN_IF_ERROR(AddBody(scope, body, hasher, random));
    if (attribute.has_tp()) hasher.Add("type").Add(attribute.tp().SerializeAsString());
    for (const onnx::TypeProto& type : attribute.type_protos()) hasher.Add("type").Add(type.SerializeAsString());
    if (attribute.has_sparse_tensor()) hasher.Add("sparse").Add(attribute.sparse_tensor().SerializeAsString());
    for (const onnx::SparseTensorProto& sparse : attribute.sparse_tensors()) {
      hasher.Add("sparse").Add(sparse.SerializeAsString());
    }
    return absl::OkStatus();
  }

  static absl::Status AddTensor(const onnx::TensorProto& proto, Hasher& hasher) {
    ASSIGN_OR_RETURN(const Tensor tensor, ReadTensor(proto));
    hasher.Add("tensor").Add(TensorDigest(tensor));
    return absl::OkStatus();
  }

  absl::Status AddBody(const Scope* outer, const onnx::GraphProto& body, Hasher& hasher, bool& random) {
    if (outer == nullptr) return absl::InvalidArgumentError("got a body as the default of a function's attribute");
    ASSIGN_OR_RETURN(Scope scope, NewScope(body.node(), outer, outer->opsets, outer->depth + 1));
    for (const onnx::TensorProto& initializer : body.initializer()) {
      ASSIGN_OR_RETURN(const Tensor tensor, ReadTensor(initializer));
      scope.values.emplace(initializer.name(), TensorDigest(tensor));
    }
    for (int i = 0; i < body.input_size(); ++i) {
      scope.values.emplace(body.input(i).name(), PositionDigest("body input", scope.depth, static_cast<uint64_t>(i)));
    }
    hasher.Add("body").Add(static_cast<uint64_t>(body.input_size()));
    RETURN_IF_ERROR(AddOutputs(
        scope, body.output(), [](const auto& output) { return output.name(); }, hasher));
    random |= scope.draws > 0;
    return absl::OkStatus();
  }

  absl::StatusOr<BodyDigest> DigestOf(Function& function, int depth) {
    if (function.done.has_value()) return *function.done;
    const onnx::FunctionProto& proto = *function.proto;
    const std::string label = absl::StrCat("function '", proto.domain(), ".", proto.name(), "'");
    if (std::exchange(function.under_way, true)) {
      return absl::InvalidArgumentError(absl::StrCat(label, ": it calls itself; want functions without recursion"));
    }
    const Opsets opsets = proto.opset_import().empty() ? opsets_ : ReadOpsets(proto.opset_import());
    absl::StatusOr<BodyDigest> body = DigestOfBody(proto, opsets, depth);
    if (!body.ok()) return WithContext(label, body.status());
    function.done = *body;
    return body;
  }

  absl::StatusOr<BodyDigest> DigestOfBody(const onnx::FunctionProto& proto, const Opsets& opsets, int depth) {
    ASSIGN_OR_RETURN(Scope scope, NewScope(proto.node(), nullptr, &opsets, depth));
    for (int i = 0; i < proto.input_size(); ++i) {
      scope.values.emplace(proto.input(i), PositionDigest("parameter", 0, static_cast<uint64_t>(i)));
    }
    Hasher hasher;
    bool random = false;
    for (const onnx::AttributeProto& attribute : FunctionDefaults(proto)) {
      RETURN_IF_ERROR(AddAttribute(nullptr, attribute, hasher, random));
    }
    hasher.Add(static_cast<uint64_t>(proto.input_size()));
    RETURN_IF_ERROR(AddOutputs(
        scope, proto.output(), [](const std::string& name) { return name; }, hasher));
    return BodyDigest{hasher.Finish(), scope.draws > 0};
  }

  const Model& model_;
  const Opsets opsets_;
  absl::flat_hash_map<std::string, Function> functions_;
  Scope graph_;
  /// Those that portals declare.
  bool shapes_count_ = true;
};

TensorDigests::TensorDigests(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TensorDigests::TensorDigests(TensorDigests&&) noexcept = default;
TensorDigests& TensorDigests::operator=(TensorDigests&&) noexcept = default;
TensorDigests::~TensorDigests() = default;

absl::StatusOr<TensorDigests> TensorDigests::Create(const Model& model, Inputs inputs) {
  auto impl = std::make_unique<Impl>(model);
  RETURN_IF_ERROR(impl->Begin(inputs));
  return TensorDigests(std::move(impl));
}

absl::StatusOr<Digest> TensorDigests::Of(absl::string_view tensor) { return impl_->Of(tensor); }

absl::StatusOr<Digest> TensorDigests::OfNodeAlone(const onnx::NodeProto& node,
                                                  const std::function<bool(absl::string_view)>& is_constant) {
  return impl_->OfNodeAlone(node, is_constant);
}

}  // namespace portico
