#include "models/split/cut.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <queue>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace portico {
namespace {

absl::Status PartError(const PartPlan& part, absl::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat("part '", part.name, "': ", message));
}

/// Works out the cuts of one graph. Units are what has to be put in order in the end: a node that is in no part is the
/// unit of its own number, part p is unit num_nodes + p.
class Cutter {
 public:
  Cutter(const GraphIndex& index, const std::vector<PartPlan>& parts)
      : index_(index), parts_(parts), part_of_node_(index.num_nodes(), -1), cuts_(parts.size()) {}

  absl::StatusOr<CutGraph> Run() {
    for (size_t p = 0; p < parts_.size(); ++p) RETURN_IF_ERROR(CheckTensors(static_cast<int>(p)));
    for (size_t p = 0; p < parts_.size(); ++p) RETURN_IF_ERROR(Collect(static_cast<int>(p)));
    for (size_t p = 0; p < parts_.size(); ++p) RETURN_IF_ERROR(CheckConvex(static_cast<int>(p)));
    for (size_t p = 0; p < parts_.size(); ++p) RETURN_IF_ERROR(CheckOutputs(static_cast<int>(p)));
    CutGraph result;
    result.steps = Order();
    result.cuts = std::move(cuts_);
    return result;
  }

 private:
  absl::Status CheckTensors(int p) {
    const PartPlan& part = parts_[p];
    for (const std::vector<std::string>* tensors : {&part.inputs, &part.outputs}) {
      for (const std::string& tensor : *tensors) {
        if (index_.Exists(tensor)) continue;
        if (const int node = index_.BodyWith(tensor); node >= 0) {
          return PartError(part, absl::StrCat("tensor '", tensor, "' is inside the body of ", index_.Describe(node),
                                              ", which can only be cut as a whole; name what it reads or computes"));
        }
        return PartError(part, absl::StrCat("got tensor '", tensor, "', which the graph does not have; nearest are ",
                                            index_.NearestNames(tensor)));
      }
    }
    for (const std::string& input : part.inputs) {
      if (index_.IsConstant(input)) {
        return PartError(part,
                         absl::StrCat("input '", input, "' is a weight, which is copied into the part; leave it out"));
      }
    }
    for (const std::string& output : part.outputs) {
      if (index_.IsConstant(output) || index_.IsInput(output)) {
        return PartError(part,
                         absl::StrCat("output '", output, "' is ", index_.IsInput(output) ? "an input" : "a weight",
                                      " of the graph, want a tensor that the part computes"));
      }
      if (std::find(part.inputs.begin(), part.inputs.end(), output) != part.inputs.end()) {
        return PartError(part, absl::StrCat("tensor '", output, "' is both input and output; remove it from one"));
      }
      const auto [it, inserted] = part_of_output_.try_emplace(output, p);
      if (!inserted) {
        return PartError(part, absl::StrCat("output '", output, "' is also one of part '", parts_[it->second].name,
                                            "'; want each tensor computed by one part"));
      }
    }
    return absl::OkStatus();
  }

  /// Walks backwards from the outputs of part `p` and takes what it meets.
  absl::Status Collect(int p) {
    const PartPlan& part = parts_[p];
    absl::flat_hash_set<std::string> border;
    const absl::flat_hash_set<std::string> begin(part.inputs.begin(), part.inputs.end());
    std::vector<std::string> open = part.outputs;
    while (!open.empty()) {
      const std::string tensor = std::move(open.back());
      open.pop_back();
      if (index_.IsConstant(tensor)) continue;
      const auto other = part_of_output_.find(tensor);
      if (begin.contains(tensor) || index_.IsInput(tensor) || (other != part_of_output_.end() && other->second != p)) {
        border.insert(tensor);
        continue;
      }
      const int node = index_.Producer(tensor);
      if (part_of_node_[node] == p) continue;
      if (part_of_node_[node] >= 0) {
        return PartError(part, absl::StrCat("overlaps part '", parts_[part_of_node_[node]].name, "': both need ",
                                            index_.Describe(node), "; make '", tensor,
                                            "' an output of one of them, or nest one in the other"));
      }
      part_of_node_[node] = p;
      open.insert(open.end(), index_.Inputs(node).begin(), index_.Inputs(node).end());
    }
    cuts_[p].plan = &part;
    cuts_[p].outputs = part.outputs;
    for (const int node : index_.order()) {
      if (part_of_node_[node] == p) cuts_[p].nodes.push_back(node);
    }
    return OrderInputs(p, std::move(border));
  }

  absl::Status OrderInputs(int p, absl::flat_hash_set<std::string> border) {
    std::vector<std::string>& inputs = cuts_[p].inputs;
    for (const std::string& input : parts_[p].inputs) {
      if (border.erase(input) == 0) {
        return PartError(parts_[p],
                         absl::StrCat("input '", input, "' is not needed to compute its outputs; leave it out"));
      }
      inputs.push_back(input);
    }
    // By first use; the graph's inputs go before what other parts compute.
    for (const bool of_graph : {true, false}) {
      for (const int node : cuts_[p].nodes) {
        for (const std::string& input : index_.Inputs(node)) {
          if (index_.IsInput(input) == of_graph && border.erase(input) > 0) inputs.push_back(input);
        }
      }
    }
    return absl::OkStatus();
  }

  int Unit(int node) const { return part_of_node_[node] >= 0 ? index_.num_nodes() + part_of_node_[node] : node; }

  std::string DescribeUnit(int unit) const {
    return unit < index_.num_nodes() ? index_.Describe(unit)
                                     : absl::StrCat("part '", parts_[unit - index_.num_nodes()].name, "'");
  }

  /// Calls `visit(unit, tensor)` for each unit that reads something `unit` computes.
  template <typename Visit>
  void ForEachReader(int unit, const Visit& visit) const {
    const auto visit_node = [&](int node) {
      for (const std::string& tensor : index_.Outputs(node)) {
        for (const int reader : index_.Readers(tensor)) {
          if (Unit(reader) != unit) visit(Unit(reader), tensor);
        }
      }
    };
    if (unit < index_.num_nodes()) {
      visit_node(unit);
    } else {
      for (const int node : cuts_[unit - index_.num_nodes()].nodes) visit_node(node);
    }
  }

  /// A part is one step, so nothing it waits for may wait for it.
  absl::Status CheckConvex(int p) const {
    struct Arrival {
      int from;
      std::string tensor;
    };
    const int self = index_.num_nodes() + p;
    absl::flat_hash_map<int, Arrival> arrivals;
    std::deque<int> open = {self};
    while (!open.empty()) {
      const int unit = open.front();
      open.pop_front();
      ForEachReader(unit, [&](int reader, const std::string& tensor) {
        if (arrivals.try_emplace(reader, Arrival{unit, tensor}).second && reader != self) open.push_back(reader);
      });
    }
    const auto back = arrivals.find(self);
    if (back == arrivals.end()) return absl::OkStatus();
    std::string path;
    const Arrival* arrival = &back->second;
    for (; arrival->from != self; arrival = &arrivals.find(arrival->from)->second) {
      path = absl::StrCat(DescribeUnit(arrival->from), path.empty() ? "" : ", ", path);
    }
    return PartError(parts_[p], absl::StrCat("not convex: tensor '", arrival->tensor, "' leaves it, passes ", path,
                                             " and comes back as '", back->second.tensor, "'; end the part before '",
                                             arrival->tensor, "', or begin it so that it holds what lies between"));
  }

  absl::Status CheckOutputs(int p) const {
    const PartPlan& part = parts_[p];
    const absl::flat_hash_set<std::string> outputs(part.outputs.begin(), part.outputs.end());
    for (const int node : cuts_[p].nodes) {
      for (const std::string& tensor : index_.Outputs(node)) {
        if (outputs.contains(tensor)) continue;
        std::string user = index_.IsOutput(tensor) ? "the caller, as an output of the graph" : "";
        for (const int reader : index_.Readers(tensor)) {
          if (part_of_node_[reader] != p) user = index_.Describe(reader);
        }
        if (!user.empty()) {
          return PartError(part, absl::StrCat("tensor '", tensor, "' is computed inside and used outside, by ", user,
                                              ", and is not among its outputs; add it to them"));
        }
      }
    }
    return absl::OkStatus();
  }

  std::vector<CutStep> Order() const {
    const int num_nodes = index_.num_nodes();
    const int num_units = num_nodes + static_cast<int>(parts_.size());
    // Where a unit would stand in the graph's own order: a part where it can end.
    std::vector<int> place(num_units, -1);
    for (size_t i = 0; i < index_.order().size(); ++i) {
      const int node = index_.order()[i];
      if (!index_.IsConstantNode(node)) place[Unit(node)] = static_cast<int>(i);
    }
    std::vector<int> waits(num_units, 0);
    for (int unit = 0; unit < num_units; ++unit) {
      if (place[unit] >= 0) ForEachReader(unit, [&](int reader, const std::string&) { ++waits[reader]; });
    }
    using Entry = std::pair<int, int>;
    std::priority_queue<Entry, std::vector<Entry>, std::greater<Entry>> ready;
    for (int unit = 0; unit < num_units; ++unit) {
      if (place[unit] >= 0 && waits[unit] == 0) ready.emplace(place[unit], unit);
    }
    std::vector<CutStep> steps;
    while (!ready.empty()) {
      const int unit = ready.top().second;
      ready.pop();
      steps.push_back(unit < num_nodes ? CutStep{unit, -1} : CutStep{-1, unit - num_nodes});
      ForEachReader(unit, [&](int reader, const std::string&) {
        if (--waits[reader] == 0) ready.emplace(place[reader], reader);
      });
    }
    return steps;
  }

  const GraphIndex& index_;
  const std::vector<PartPlan>& parts_;
  absl::flat_hash_map<std::string, int> part_of_output_;
  /// −1: in no part.
  std::vector<int> part_of_node_;
  std::vector<Cut> cuts_;
};

}  // namespace

absl::StatusOr<CutGraph> CutParts(const GraphIndex& index, const std::vector<PartPlan>& parts) {
  return Cutter(index, parts).Run();
}

}  // namespace portico
