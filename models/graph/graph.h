#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "models/graph/graph_plan.h"
#include "models/graph/op.h"

namespace portico {

/// The asynchronous executor of one signature: starts each step as soon as its inputs are there. One instance serves all
/// requests; each Run() has an instance of its own state, freed when it completes. Thread-safe, lock-free.
///
/// The first error completes the run with that error; steps under way finish and are ignored. A step whose request was
/// cancelled or is past its deadline is not started.
class Graph {
 public:
  /// `ops`: one per step of `plan`, in order. `clock` is not owned and must outlive the graph.
  Graph(GraphPlan plan, std::vector<std::unique_ptr<AsyncOp>> ops, const Clock& clock);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  /// `inputs` in the signature's order (checked by the caller). `done` gets the signature's outputs; it may run inside the
  /// call. REQUIRES: the graph outlives the run (a Servable is held by each of its requests).
  void Run(Ref<const RequestContext> context, std::vector<Tensor> inputs, OpDone done);

  const GraphPlan& plan() const { return plan_; }

 private:
  class RunState;
  const GraphPlan plan_;
  const std::vector<std::unique_ptr<AsyncOp>> ops_;
  const Clock& clock_;
  /// Steps that read each slot, and how many inputs each step waits for (distinct slots).
  std::vector<std::vector<int>> readers_;
  std::vector<int> waits_;
};

}  // namespace portico
