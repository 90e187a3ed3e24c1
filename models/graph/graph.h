#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "models/graph/graph_plan.h"
#include "models/graph/op.h"

namespace portico {

/// The asynchronous executor of one signature: starts each step as soon as its inputs are there. One instance serves
/// all requests; each Run() has a state of its own, freed when its last step is done. Thread-safe, lock-free.
///
/// The first error completes the run with that error; steps under way finish and are ignored. A step whose request was
/// cancelled or is past its deadline is not started. Steps that complete inside their start are followed up in a loop,
/// not by recursion.
class Graph {
 public:
  /// `ops`: one per step of `plan`, in order. `clock` is not owned and must outlive the graph.
  Graph(GraphPlan plan, std::vector<std::unique_ptr<AsyncOp>> ops, const Clock& clock);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  /// `inputs` in the signature's order (checked by the caller). `done` gets the signature's outputs; it may run inside
  /// the call. REQUIRES: the graph outlives the run, which ends when `done` is called: nothing of the graph is used
  /// from then on, though steps of a failed run may still be under way in their ops.
  void Run(Ref<const RequestContext> context, std::vector<Tensor> inputs, OpDone done);

  const GraphPlan& plan() const { return plan_; }
  /// In the order of the plan's steps; for health and metrics.
  const std::vector<std::unique_ptr<AsyncOp>>& ops() const { return ops_; }

 private:
  class RunState;
  class StepDone;
  struct Drive;

  struct Step {
    /// Distinct slots it reads, each waited for.
    int waits = 0;
    /// Per input: whether a later input of the step is the same slot.
    std::vector<bool> read_again;
    /// "segment segment_0", "portal hub/encoder": for messages.
    std::string name;
  };
  struct Slot {
    /// Steps that read it, and whether the caller does.
    std::vector<int> readers;
    bool is_output = false;
  };

  /// CANCELLED or DEADLINE_EXCEEDED where the answer is of no use any more.
  absl::Status CheckAlive(const RequestContext& context) const;

  const GraphPlan plan_;
  const std::vector<std::unique_ptr<AsyncOp>> ops_;
  const Clock& clock_;
  std::vector<Step> steps_;
  std::vector<Slot> slots_;
  /// Steps that wait for nothing.
  std::vector<int> sources_;
  int distinct_outputs_ = 0;
  /// One step without portals, whose inputs and outputs are the caller's, in order.
  bool is_one_local_step_ = false;
};

}  // namespace portico
