#include "models/split/graph_index.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <queue>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "models/graph/determinism.h"
#include "models/graph/node_reads.h"
#include "models/graph/portal_spec.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

bool Computes(const onnx::GraphProto& body, absl::string_view tensor) {
  bool found = false;
  for (const auto& input : body.input()) found |= input.name() == tensor;
  for (const auto& node : body.node()) {
    for (const auto& output : node.output()) found |= output == tensor;
    ForEachBody(node,
                [&](const onnx::AttributeProto&, const onnx::GraphProto& inner) { found |= Computes(inner, tensor); });
  }
  return found;
}

size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

absl::StatusOr<GraphIndex> GraphIndex::Create(const onnx::ModelProto& model) {
  GraphIndex index(model.graph());
  RETURN_IF_ERROR(index.Connect());
  RETURN_IF_ERROR(index.Sort(Determinism(model)));
  return index;
}

absl::Status GraphIndex::Connect() {
  for (const auto& initializer : graph_->initializer()) weights_.insert(initializer.name());
  // Up to IR version 3 every initializer is listed as an input too.
  for (const auto& input : graph_->input()) {
    if (!weights_.contains(input.name())) graph_inputs_.insert(input.name());
  }
  for (const auto& output : graph_->output()) graph_outputs_.insert(output.name());

  inputs_.resize(graph_->node_size());
  outputs_.resize(graph_->node_size());
  for (int i = 0; i < num_nodes(); ++i) {
    const onnx::NodeProto& node = graph_->node(i);
    for (const absl::string_view name : TensorsRead(node)) inputs_[i].emplace_back(name);
    for (const std::string& name : inputs_[i]) readers_[name].push_back(i);
    for (const std::string& name : node.output()) {
      if (name.empty()) continue;
      if (Exists(name)) {
        return absl::InvalidArgumentError(absl::StrCat("tensor '", name, "': got a second definition by ", Describe(i),
                                                       ", want one; repair the model"));
      }
      outputs_[i].push_back(name);
      producer_[name] = i;
    }
  }
  return absl::OkStatus();
}

absl::Status GraphIndex::Sort(const Determinism& determinism) {
  std::vector<int> waits(num_nodes(), 0);
  // The smallest number first, so that a sorted graph keeps its order.
  std::priority_queue<int, std::vector<int>, std::greater<int>> ready;
  for (int i = 0; i < num_nodes(); ++i) {
    for (const std::string& input : inputs_[i]) {
      if (Producer(input) >= 0) {
        ++waits[i];
      } else if (!Exists(input)) {
        return absl::InvalidArgumentError(
            absl::StrCat(Describe(i), ": got input '", input, "', which nobody computes; repair the model"));
      }
    }
    if (waits[i] == 0) ready.push(i);
  }
  constant_.resize(num_nodes());
  while (!ready.empty()) {
    const int node = ready.top();
    ready.pop();
    order_.push_back(node);
    constant_[node] = determinism.IsDeterministic(graph_->node(node)) &&
                      std::all_of(inputs_[node].begin(), inputs_[node].end(),
                                  [this](const std::string& input) { return IsConstant(input); });
    for (const std::string& output : outputs_[node]) {
      for (const int reader : Readers(output)) {
        if (--waits[reader] == 0) ready.push(reader);
      }
    }
  }
  if (static_cast<int>(order_.size()) == num_nodes()) return absl::OkStatus();
  const auto stuck = std::find_if(waits.begin(), waits.end(), [](int count) { return count > 0; });
  return absl::InvalidArgumentError(absl::StrCat("graph: got a cycle through or before ",
                                                 Describe(static_cast<int>(stuck - waits.begin())),
                                                 ", want none; repair the model"));
}

const onnx::NodeProto& GraphIndex::node(int node) const { return graph_->node(node); }

int GraphIndex::Producer(absl::string_view tensor) const {
  const auto it = producer_.find(tensor);
  return it == producer_.end() ? -1 : it->second;
}

absl::Span<const int> GraphIndex::Readers(absl::string_view tensor) const {
  const auto it = readers_.find(tensor);
  if (it == readers_.end()) return {};
  return it->second;
}

bool GraphIndex::IsConstant(absl::string_view tensor) const {
  const int producer = Producer(tensor);
  return producer >= 0 ? constant_[producer] : IsWeight(tensor);
}

std::string GraphIndex::Describe(int node) const { return DescribeNode(graph_->node(node)); }

int GraphIndex::BodyWith(absl::string_view tensor) const {
  for (int i = 0; i < num_nodes(); ++i) {
    bool found = false;
    ForEachBody(graph_->node(i),
                [&](const onnx::AttributeProto&, const onnx::GraphProto& body) { found |= Computes(body, tensor); });
    if (found) return i;
  }
  return -1;
}

std::string GraphIndex::NearestNames(absl::string_view name) const {
  std::vector<std::pair<size_t, std::string>> names;
  const auto add = [&](const std::string& candidate) {
    // Where one is the end of the other, exporters have put a scope in front.
    const bool scoped = absl::StrContains(candidate, name) || absl::StrContains(name, candidate);
    names.emplace_back(scoped ? 1 : EditDistance(candidate, name), absl::StrCat("'", candidate, "'"));
  };
  for (const std::string& input : graph_inputs_) add(input);
  for (const auto& [output, producer] : producer_) {
    if (!constant_[producer]) add(output);
  }
  const size_t count = std::min<size_t>(3, names.size());
  std::partial_sort(names.begin(), names.begin() + count, names.end());
  return absl::StrJoin(names.begin(), names.begin() + count, ", ",
                       [](std::string* out, const auto& entry) { absl::StrAppend(out, entry.second); });
}

}  // namespace portico
