#include "models/graph/dataflow.h"

#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "models/graph/determinism.h"
#include "models/graph/graph_plan.h"
#include "models/graph/node_reads.h"
#include "models/graph/portal_spec.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

// Recursion over bodies is as deep as the bodies nest, which protobuf's parser bounds.

absl::Status RefusePortals(const google::protobuf::RepeatedPtrField<onnx::NodeProto>& nodes, absl::string_view path,
                           bool portals_allowed) {
  absl::Status status;
  for (const onnx::NodeProto& node : nodes) {
    if (node.domain() == kPorticoDomain && !portals_allowed) {
      return absl::InvalidArgumentError(absl::StrCat(path, "/", DescribeNode(node),
                                                     ": got a portal, want portals only in the graph itself; bodies of "
                                                     "If, Loop and Scan and local functions run in one piece"));
    }
    ForEachBody(node, [&](const onnx::AttributeProto& attribute, const onnx::GraphProto& body) {
      const std::string inner = absl::StrCat(path, "/node '", node.name(), "'/", attribute.name());
      if (status.ok()) status = RefusePortals(body.node(), inner, false);
    });
    RETURN_IF_ERROR(status);
  }
  return absl::OkStatus();
}

/// Walks back from the signature's outputs, depth first, so that nodes come out after what they read.
class Reader {
 public:
  Reader(const Model& model, const Signature& signature)
      : graph_(model.proto().graph()), signature_(signature), determinism_(model.proto()) {}

  absl::StatusOr<Dataflow> Read() {
    RETURN_IF_ERROR(IndexProducers());
    RETURN_IF_ERROR(AddInputs());
    for (const TensorSpec& output : signature_.outputs) {
      const auto producer = producers_.find(output.graph_name);
      if (producer != producers_.end() && !flow_.tensor_by_name.contains(output.graph_name)) {
        RETURN_IF_ERROR(Visit(producer->second));
      }
      auto tensor = Number(output.graph_name);
      if (!tensor.ok()) return WithContext(absl::StrCat("output '", output.name, "'"), tensor.status());
      flow_.outputs.push_back(*tensor);
    }
    return std::move(flow_);
  }

 private:
  enum class Mark : uint8_t { kNew, kOpen, kDone };
  /// A node whose inputs are being walked.
  struct Frame {
    int node;
    std::vector<absl::string_view> names;
    size_t next = 0;
  };

  absl::Status IndexProducers() {
    for (const onnx::TensorProto& weight : graph_.initializer()) weights_.insert(weight.name());
    for (const onnx::SparseTensorProto& weight : graph_.sparse_initializer()) weights_.insert(weight.values().name());
    for (int i = 0; i < graph_.node_size(); ++i) {
      for (const std::string& output : graph_.node(i).output()) {
        if (!output.empty() && !producers_.emplace(output, i).second) {
          return absl::InvalidArgumentError(absl::StrCat("tensor '", output, "': got ",
                                                         DescribeNode(graph_.node(producers_[output])), " and ",
                                                         DescribeNode(graph_.node(i)), " that compute it, want one"));
        }
      }
    }
    marks_.assign(graph_.node_size(), Mark::kNew);
    return absl::OkStatus();
  }

  absl::Status AddInputs() {
    for (const TensorSpec& input : signature_.inputs) {
      const auto [at, is_new] = flow_.tensor_by_name.emplace(input.graph_name, flow_.tensors.size());
      if (!is_new) {
        return absl::InvalidArgumentError(absl::StrCat("input '", input.name, "': got tensor '", input.graph_name,
                                                       "', which another input stands for, want one input per tensor"));
      }
      flow_.tensors.push_back({.name = at->first});
      flow_.inputs.push_back(at->second);
    }
    return absl::OkStatus();
  }

  /// The number of a tensor that is an input, a weight, or computed by a node that was added.
  absl::StatusOr<int> Number(absl::string_view name) {
    const auto known = flow_.tensor_by_name.find(name);
    if (known != flow_.tensor_by_name.end()) return known->second;
    if (!weights_.contains(name)) {
      return absl::InvalidArgumentError(absl::StrCat("tensor '", name,
                                                     "': got no node, input or weight of that name, want one; is it an "
                                                     "input that the signature does not have?"));
    }
    const int tensor = static_cast<int>(flow_.tensors.size());
    flow_.tensors.push_back({.name = name, .is_weight = true});
    flow_.tensor_by_name.emplace(name, tensor);
    return tensor;
  }

  Frame Open(int node) {
    marks_[node] = Mark::kOpen;
    return {.node = node, .names = TensorsRead(graph_.node(node))};
  }

  absl::Status Visit(int root) {
    if (marks_[root] == Mark::kDone) return absl::OkStatus();
    std::vector<Frame> stack;
    stack.push_back(Open(root));
    while (!stack.empty()) {
      Frame& frame = stack.back();
      if (frame.next == frame.names.size()) {
        RETURN_IF_ERROR(Close(frame));
        stack.pop_back();
        continue;
      }
      const absl::string_view name = frame.names[frame.next++];
      const auto producer = producers_.find(name);
      // What the signature puts in is not computed.
      if (producer == producers_.end() || flow_.tensor_by_name.contains(name)) continue;
      if (marks_[producer->second] == Mark::kOpen) {
        return absl::InvalidArgumentError(absl::StrCat(DescribeNode(graph_.node(producer->second)), ": got input '",
                                                       name, "' of ", DescribeNode(graph_.node(frame.node)),
                                                       " on a cycle, want a graph without cycles"));
      }
      if (marks_[producer->second] == Mark::kNew) stack.push_back(Open(producer->second));
    }
    return absl::OkStatus();
  }

  absl::Status Close(const Frame& frame) {
    const onnx::NodeProto& proto = graph_.node(frame.node);
    Dataflow::Node node{.proto = &proto, .portal = proto.domain() == kPorticoDomain, .inputs = {}, .outputs = {}};
    node.constant = !node.portal && determinism_.IsDeterministic(proto);
    for (const absl::string_view name : frame.names) {
      auto tensor = Number(name);
      if (!tensor.ok()) return WithContext(DescribeNode(proto), tensor.status());
      const Dataflow::TensorInfo& info = flow_.tensors[*tensor];
      node.constant = node.constant && (info.is_weight || (info.producer >= 0 && flow_.nodes[info.producer].constant));
      node.inputs.push_back(*tensor);
    }
    for (const std::string& name : proto.output()) {
      // An output that the signature puts in has its number already, and no producer.
      if (name.empty() || flow_.tensor_by_name.contains(name)) {
        node.outputs.push_back(-1);
        continue;
      }
      node.outputs.push_back(static_cast<int>(flow_.tensors.size()));
      flow_.tensor_by_name.emplace(name, node.outputs.back());
      flow_.tensors.push_back({.name = name, .producer = static_cast<int>(flow_.nodes.size())});
    }
    flow_.nodes.push_back(std::move(node));
    marks_[frame.node] = Mark::kDone;
    return absl::OkStatus();
  }

  const onnx::GraphProto& graph_;
  const Signature& signature_;
  const Determinism determinism_;
  absl::flat_hash_set<absl::string_view> weights_;
  absl::flat_hash_map<absl::string_view, int> producers_;
  std::vector<Mark> marks_;
  Dataflow flow_;
};

}  // namespace

absl::Status CheckPortalPlaces(const onnx::ModelProto& model) {
  RETURN_IF_ERROR(RefusePortals(model.graph().node(), "graph", true));
  for (const onnx::FunctionProto& function : model.functions()) {
    const std::string path = absl::StrCat("function '", function.domain(), "::", function.name(), "'");
    RETURN_IF_ERROR(RefusePortals(function.node(), path, false));
  }
  return absl::OkStatus();
}

absl::StatusOr<Dataflow> ReadDataflow(const Model& model, const Signature& signature) {
  RETURN_IF_ERROR(CheckPortalPlaces(model.proto()));
  return Reader(model, signature).Read();
}

}  // namespace portico
