#include <algorithm>
#include <optional>
#include <queue>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "embedding/lookup_call.h"
#include "models/graph/dataflow.h"
#include "models/graph/graph_plan.h"
#include "models/graph/portal_spec.h"
#include "models/graph/segment_writer.h"
#include "models/runtime/session.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

/// Sets of portals, each kept once and known by a number; 0 is the empty set.
class PortalSets {
 public:
  explicit PortalSets(size_t portals) : words_((portals + 63) / 64) { Intern(Bits(words_)); }

  int Union(int a, int b) {
    if (a == b || b == 0) return a;
    if (a == 0) return b;
    Bits bits = sets_[a];
    for (size_t i = 0; i < words_; ++i) bits[i] |= sets_[b][i];
    return Intern(std::move(bits));
  }
  int With(int set, int portal) {
    Bits bits = sets_[set];
    bits[portal / 64] |= uint64_t{1} << portal % 64;
    return Intern(std::move(bits));
  }

 private:
  using Bits = std::vector<uint64_t>;
  int Intern(Bits bits) {
    const auto [at, is_new] = numbers_.emplace(std::move(bits), static_cast<int>(sets_.size()));
    if (is_new) sets_.push_back(at->first);
    return at->second;
  }
  const size_t words_;
  std::vector<Bits> sets_;
  absl::flat_hash_map<Bits, int> numbers_;
};

/// A step in the making: one portal, or the nodes of one segment.
struct Unit {
  /// What to start first where several could: portals, then what portals wait for, then the rest.
  int rank = 0;
  /// Nodes whose outputs others get from here, rising (which is a topological order).
  std::vector<int> nodes;
  /// The constant nodes it computes for itself besides.
  std::vector<int> copies;
  /// Tensors from outside.
  std::vector<int> inputs;
  std::vector<int> weights;
};

class Partitioner {
 public:
  Partitioner(const Model& model, Dataflow flow, const Signature& signature)
      : model_(model), flow_(std::move(flow)), signature_(signature), writer_(model) {}

  absl::StatusOr<GraphPlan> Cut() {
    FormUnits();
    for (Unit& unit : units_) FindInputs(unit);
    AssignSlots();
    RETURN_IF_ERROR(AddConstants());
    for (const int unit : Order()) {
      RETURN_IF_ERROR(units_[unit].rank == kPortal ? AddPortal(units_[unit]) : AddSegment(units_[unit]));
    }
    return std::move(plan_);
  }

 private:
  static constexpr int kPortal = 0, kBeforePortal = 1, kAfterPortals = 2;

  /// Groups nodes by (portals before, a portal after); see Partition().
  void FormUnits() {
    const int count = static_cast<int>(flow_.nodes.size());
    std::vector<bool> leads_to_portal(count), needed_as_tensor(count);
    int portals = 0;
    for (int i = count - 1; i >= 0; --i) {
      const Dataflow::Node& node = flow_.nodes[i];
      portals += node.portal;
      if (!node.portal && !leads_to_portal[i]) continue;
      for (const int tensor : node.inputs) {
        const int producer = flow_.tensors[tensor].producer;
        if (producer < 0) continue;
        leads_to_portal[producer] = true;
        if (node.portal) needed_as_tensor[producer] = true;
      }
    }
    for (const int output : flow_.outputs) {
      if (flow_.tensors[output].producer >= 0) needed_as_tensor[flow_.tensors[output].producer] = true;
    }

    PortalSets sets(portals);
    std::vector<int> behind(count);  // Portals before what reads the node's outputs.
    absl::flat_hash_map<std::pair<int, bool>, int> groups;
    unit_of_.assign(count, -1);
    int portal = 0;
    for (int i = 0; i < count; ++i) {
      const Dataflow::Node& node = flow_.nodes[i];
      int before = 0;
      for (const int tensor : node.inputs) {
        const int producer = flow_.tensors[tensor].producer;
        if (producer >= 0) before = sets.Union(before, behind[producer]);
      }
      behind[i] = node.portal ? sets.With(before, portal++) : before;
      // Constants are copied to where they are used; one that a portal or the caller wants has a place of its own too.
      if (node.constant && !needed_as_tensor[i]) continue;
      if (node.portal) {
        unit_of_[i] = NewUnit(kPortal);
      } else {
        const auto [at, is_new] = groups.emplace(std::pair(before, leads_to_portal[i]), 0);
        if (is_new) at->second = NewUnit(leads_to_portal[i] ? kBeforePortal : kAfterPortals);
        unit_of_[i] = at->second;
      }
      units_[unit_of_[i]].nodes.push_back(i);
    }
  }

  int NewUnit(int rank) {
    units_.push_back({.rank = rank});
    return static_cast<int>(units_.size()) - 1;
  }

  /// Whether `unit` computes `node` itself.
  bool IsLocal(int unit, int node) const { return unit_of_[node] == unit || flow_.nodes[node].constant; }

  void FindInputs(Unit& unit) {
    const int self = static_cast<int>(&unit - units_.data());
    absl::flat_hash_set<int> seen_tensors;
    absl::flat_hash_set<int> seen_nodes(unit.nodes.begin(), unit.nodes.end());
    std::vector<int> open = unit.nodes;
    while (!open.empty()) {
      const int node = open.back();
      open.pop_back();
      for (const int tensor : flow_.nodes[node].inputs) {
        if (!seen_tensors.insert(tensor).second) continue;
        const Dataflow::TensorInfo& info = flow_.tensors[tensor];
        if (info.is_weight && unit.rank != kPortal) {
          unit.weights.push_back(tensor);
        } else if (info.producer < 0 || unit.rank == kPortal || !IsLocal(self, info.producer)) {
          unit.inputs.push_back(tensor);
        } else if (seen_nodes.insert(info.producer).second) {
          unit.copies.push_back(info.producer);
          open.push_back(info.producer);
        }
      }
    }
  }

  int SlotOf(int tensor) {
    if (slot_of_[tensor] < 0) slot_of_[tensor] = NewSlot(flow_.tensors[tensor].name);
    return slot_of_[tensor];
  }
  int NewSlot(absl::string_view name) {
    plan_.slots.emplace_back(name);
    types_.emplace_back();
    return static_cast<int>(plan_.slots.size()) - 1;
  }

  void AssignSlots() {
    slot_of_.assign(flow_.tensors.size(), -1);
    for (size_t i = 0; i < flow_.inputs.size(); ++i) {
      plan_.inputs.push_back(SlotOf(flow_.inputs[i]));
      types_.back() = signature_.inputs[i];
    }
    for (const int output : flow_.outputs) plan_.outputs.push_back(SlotOf(output));
    for (const Unit& unit : units_) {
      for (const int tensor : unit.inputs) SlotOf(tensor);
    }
    wants_type_.assign(plan_.slots.size(), false);
    for (const Unit& unit : units_) {
      for (const int tensor : unit.inputs) {
        if (unit.rank != kPortal) wants_type_[slot_of_[tensor]] = true;
      }
      if (unit.rank != kPortal) continue;
      const Dataflow::Node& portal = flow_.nodes[unit.nodes[0]];
      // What a gate is like is checked here rather than at the first request.
      if (portal.proto->op_type() == "Experts" && portal.proto->input_size() > 0) {
        wants_type_[slot_of_[flow_.tensor_by_name.at(portal.proto->input(0))]] = true;
      }
    }
  }

  /// Weights that a portal reads or the caller gets.
  absl::Status AddConstants() {
    for (size_t tensor = 0; tensor < flow_.tensors.size(); ++tensor) {
      if (!flow_.tensors[tensor].is_weight || slot_of_[tensor] < 0) continue;
      const auto weight = model_.initializers().find(flow_.tensors[tensor].name);
      if (weight == model_.initializers().end()) {
        return absl::InvalidArgumentError(
            absl::StrCat("tensor '", flow_.tensors[tensor].name,
                         "': got a sparse weight, want a dense one as output or as a portal's input"));
      }
      plan_.constants.emplace_back(slot_of_[tensor], weight->second.tensor);
    }
    return absl::OkStatus();
  }

  /// Numbers of the units, each after those it reads from; of several that could be next, by rank.
  std::vector<int> Order() const {
    std::vector<std::vector<int>> readers(units_.size());
    std::vector<int> waits(units_.size());
    for (size_t unit = 0; unit < units_.size(); ++unit) {
      absl::flat_hash_set<int> sources;
      for (const int tensor : units_[unit].inputs) {
        const int producer = flow_.tensors[tensor].producer;
        if (producer >= 0 && sources.insert(unit_of_[producer]).second) {
          readers[unit_of_[producer]].push_back(static_cast<int>(unit));
          ++waits[unit];
        }
      }
    }
    using Entry = std::tuple<int, int>;  // Rank, unit.
    std::priority_queue<Entry, std::vector<Entry>, std::greater<>> ready;
    for (size_t unit = 0; unit < units_.size(); ++unit) {
      if (waits[unit] == 0) ready.emplace(units_[unit].rank, unit);
    }
    std::vector<int> order;
    while (!ready.empty()) {
      const int unit = std::get<1>(ready.top());
      ready.pop();
      order.push_back(unit);
      for (const int reader : readers[unit]) {
        if (--waits[reader] == 0) ready.emplace(units_[reader].rank, reader);
      }
    }
    return order;
  }

  /// What a node that is a step of its own reads and gives.
  void TieSlots(const Dataflow::Node& node, const std::vector<TensorSpec>& outputs, PlanStep& step) {
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      const int tensor = node.outputs[i];
      const bool unread = tensor < 0 || slot_of_[tensor] < 0;
      const int slot = unread ? NewSlot(node.proto->output(static_cast<int>(i))) : slot_of_[tensor];
      types_[slot] = outputs[i];
      step.outputs.push_back(slot);
    }
  }
  std::vector<int> InputSlots(const onnx::NodeProto& node) const {
    std::vector<int> slots;
    for (const std::string& input : node.input()) slots.push_back(slot_of_[flow_.tensor_by_name.at(input)]);
    return slots;
  }

  absl::Status AddTable(const Dataflow::Node& node) {
    ASSIGN_OR_RETURN(TableLookupSpec spec, ReadTableLookup(*node.proto));
    PlanStep step;
    step.inputs = InputSlots(*node.proto);
    TieSlots(node, spec.outputs, step);
    step.table = std::make_unique<TableLookupSpec>(std::move(spec));
    plan_.steps.push_back(std::move(step));
    return absl::OkStatus();
  }

  absl::Status AddPortal(const Unit& unit) {
    const Dataflow::Node& node = flow_.nodes[unit.nodes[0]];
    if (node.proto->op_type() == LookupCall::kOp) return AddTable(node);
    ASSIGN_OR_RETURN(PortalSpec spec, ReadPortalSpec(*node.proto));
    PlanStep step;
    step.inputs = InputSlots(*node.proto);
    if (spec.cascade.has_value()) {
      const absl::Status fits = CheckCascadeInputs(spec, KnownTypes(step.inputs));
      if (!fits.ok()) return WithContext(DescribeNode(*node.proto), fits);
    }
    if (spec.experts.has_value()) {
      const absl::Status fits = CheckGateType(spec, types_[step.inputs[0]]);
      if (!fits.ok()) return WithContext(DescribeNode(*node.proto), fits);
    }
    if (spec.embedding.has_value()) {
      const absl::Status fits = CheckEmbeddingInputs(*spec.embedding, KnownTypes(step.inputs));
      if (!fits.ok()) return WithContext(DescribeNode(*node.proto), fits);
    }
    TieSlots(node, spec.outputs, step);
    step.portal = std::make_unique<PortalSpec>(std::move(spec));
    plan_.steps.push_back(std::move(step));
    return absl::OkStatus();
  }

  /// What is known of slots without asking ONNX Runtime.
  std::vector<std::optional<TensorSpec>> KnownTypes(const std::vector<int>& slots) const {
    std::vector<std::optional<TensorSpec>> types;
    for (const int slot : slots) {
      const bool known = types_[slot].dtype != DType::kInvalid;
      types.push_back(known ? types_[slot] : writer_.Declared(plan_.slots[slot]));
    }
    return types;
  }

  absl::Status AddSegment(const Unit& unit) {
    PlanStep step;
    for (const int tensor : unit.inputs) step.inputs.push_back(slot_of_[tensor]);
    for (const int node : unit.nodes) {
      for (const int tensor : flow_.nodes[node].outputs) {
        if (tensor >= 0 && slot_of_[tensor] >= 0) step.outputs.push_back(slot_of_[tensor]);
      }
    }
    // By slot: a model that is one segment keeps the order of its signature.
    std::sort(step.inputs.begin(), step.inputs.end());
    std::sort(step.outputs.begin(), step.outputs.end());

    SegmentWriter::Content content;
    for (const int slot : step.inputs) {
      content.inputs.push_back(types_[slot]);
      content.inputs.back().graph_name = plan_.slots[slot];
    }
    for (const int slot : step.outputs) content.outputs.push_back(plan_.slots[slot]);
    for (const int tensor : unit.weights) content.weights.push_back(flow_.tensors[tensor].name);
    std::vector<int> nodes = unit.nodes;
    nodes.insert(nodes.end(), unit.copies.begin(), unit.copies.end());
    std::sort(nodes.begin(), nodes.end());
    for (const int node : nodes) content.nodes.push_back(flow_.nodes[node].proto);

    ASSIGN_OR_RETURN(SegmentSpec segment, writer_.Write(absl::StrCat("segment_", segments_++), content));
    RETURN_IF_ERROR(LearnTypes(segment, step.outputs));
    step.segment = std::make_unique<SegmentSpec>(std::move(segment));
    plan_.steps.push_back(std::move(step));
    return absl::OkStatus();
  }

  /// A segment needs typed inputs: those that come from another segment are as the model declares them or, where it
  /// does not, as ONNX Runtime infers them.
  absl::Status LearnTypes(const SegmentSpec& segment, const std::vector<int>& slots) {
    bool ask = false;
    for (const int slot : slots) {
      if (!wants_type_[slot]) continue;
      if (auto declared = writer_.Declared(plan_.slots[slot])) {
        types_[slot] = *std::move(declared);
      } else {
        ask = true;
      }
    }
    if (!ask) return absl::OkStatus();
    Session::Options options;
    options.optimize = false;
    options.prepack = false;
    options.name = segment.name;
    ASSIGN_OR_RETURN(const std::unique_ptr<Session> session, Session::Create(segment.model, segment.weights, options));
    for (size_t i = 0; i < slots.size(); ++i) {
      if (types_[slots[i]].dtype == DType::kInvalid) types_[slots[i]] = session->outputs()[i];
    }
    return absl::OkStatus();
  }

  const Model& model_;
  const Dataflow flow_;
  const Signature& signature_;
  const SegmentWriter writer_;
  std::vector<Unit> units_;
  /// Unit that each node's outputs come from; −1: nobody outside of who uses them needs them.
  std::vector<int> unit_of_;
  std::vector<int> slot_of_;
  /// By slot: the tensor's type once it is known, and whether a segment reads it.
  std::vector<TensorSpec> types_;
  std::vector<bool> wants_type_;
  int segments_ = 0;
  GraphPlan plan_;
};

}  // namespace

absl::StatusOr<GraphPlan> Partition(const Model& model, const Signature& signature) {
  const std::string context = absl::StrCat("signature '", signature.name, "'");
  auto flow = ReadDataflow(model, signature);
  if (!flow.ok()) return WithContext(context, flow.status());
  auto plan = Partitioner(model, *std::move(flow), signature).Cut();
  if (!plan.ok()) return WithContext(context, plan.status());
  return plan;
}

}  // namespace portico
