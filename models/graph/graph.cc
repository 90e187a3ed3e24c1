#include "models/graph/graph.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <new>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "models/graph/portal_spec.h"

namespace portico {

/// One thread's turn at a run: the steps it found ready and has yet to start. Lives on that thread's stack, linked to
/// the turns further out, so that a step that completes inside its start adds to the turn that started it.
struct Graph::Drive {
  explicit Drive(RunState* run) : run(run), outer(std::exchange(innermost, this)) {}
  ~Drive() { innermost = outer; }
  Drive(const Drive&) = delete;
  Drive& operator=(const Drive&) = delete;

  static Drive* Of(const RunState* run) {
    Drive* drive = innermost;
    while (drive != nullptr && drive->run != run) drive = drive->outer;
    return drive;
  }
  /// The plan's order puts first what others wait for longest.
  void Push(int step) {
    ready.push_back(step);
    std::push_heap(ready.begin(), ready.end(), std::greater<>());
  }
  int Pop() {
    std::pop_heap(ready.begin(), ready.end(), std::greater<>());
    const int step = ready.back();
    ready.pop_back();
    return step;
  }

  RunState* const run;
  Drive* const outer;
  absl::InlinedVector<int, 8> ready;

 private:
  static thread_local Drive* innermost;
};

thread_local Graph::Drive* Graph::Drive::innermost = nullptr;

/// The state of one request, in one allocation: this object, then its slots, then its steps' counters.
///
/// `turns_` counts the threads that are starting steps and holds the flag kEnded. The thread that leaves last after the
/// run was decided sets the flag and calls `done`; nobody enters after that. So the graph may go as soon as `done`
/// runs.
class Graph::RunState final : public RefCounted {
 public:
  static Ref<RunState> Make(const Graph& graph, Ref<const RequestContext> context, OpDone done) {
    const size_t slots_at = AlignUp(sizeof(RunState), alignof(SlotState));
    const size_t waits_at = slots_at + graph.slots_.size() * sizeof(SlotState);
    const size_t bytes = waits_at + graph.steps_.size() * sizeof(std::atomic<int>);
    char* block = static_cast<char*>(::operator new(bytes));
    auto* slots = reinterpret_cast<SlotState*>(block + slots_at);
    auto* waits = reinterpret_cast<std::atomic<int>*>(block + waits_at);
    for (size_t i = 0; i < graph.slots_.size(); ++i) {
      const Slot& slot = graph.slots_[i];
      new (&slots[i]) SlotState(static_cast<int>(slot.readers.size()) + (slot.is_output ? 1 : 0));
    }
    for (size_t i = 0; i < graph.steps_.size(); ++i) new (&waits[i]) std::atomic<int>(graph.steps_[i].waits);
    return Ref<RunState>(new (block) RunState(graph, std::move(context), std::move(done), slots, waits));
  }

  void Start(std::vector<Tensor> inputs);
  void OnStepDone(int step, absl::StatusOr<std::vector<Tensor>> result);

 private:
  struct SlotState {
    explicit SlotState(int readers) : readers_left(readers) {}
    Tensor tensor;
    std::atomic<int> readers_left;
  };
  static constexpr uint32_t kEnded = uint32_t{1} << 31;

  RunState(const Graph& graph, Ref<const RequestContext> context, OpDone done, SlotState* slots,
           std::atomic<int>* waits)
      : graph_(graph),
        context_(std::move(context)),
        done_(std::move(done)),
        slots_(slots),
        num_slots_(graph.slots_.size()),
        waits_(waits),
        outputs_left_(graph.distinct_outputs_) {}
  ~RunState() override { std::destroy_n(slots_, num_slots_); }
  void Destroy() const override {
    auto* self = const_cast<RunState*>(this);
    self->~RunState();
    ::operator delete(static_cast<void*>(self));
  }
  static size_t AlignUp(size_t value, size_t alignment) { return (value + alignment - 1) / alignment * alignment; }

  /// False once the run has ended; otherwise one Leave() is owed, after the turn's Drive is gone.
  bool Enter();
  /// Calls `done` when this was the last turn of a run that is decided.
  void Leave();
  void Accept(int step, absl::StatusOr<std::vector<Tensor>> result, Drive& drive);
  void Work(Drive& drive);
  void StartStep(int step);
  void Put(int slot, Tensor tensor, Drive& drive);
  Tensor Take(int slot);
  void Fail(absl::Status status);

  const Graph& graph_;
  const Ref<const RequestContext> context_;
  OpDone done_;
  SlotState* const slots_;
  const size_t num_slots_;
  std::atomic<int>* const waits_;
  std::atomic<uint32_t> turns_{0};
  /// Whether the result is known, good or bad; `error_` is written by whoever sets `failing_` first.
  std::atomic<bool> failing_{false};
  std::atomic<bool> decided_{false};
  absl::Status error_;
  std::atomic<int> outputs_left_;
};

/// The completion of one step; a dropped one becomes an error.
class Graph::StepDone {
 public:
  StepDone(Ref<RunState> run, int step) : run_(std::move(run)), step_(step) {}
  StepDone(StepDone&&) noexcept = default;
  ~StepDone() {
    if (run_) (*this)(absl::InternalError("op: got a completion that was dropped, want one that is called"));
  }
  void operator()(absl::StatusOr<std::vector<Tensor>> result) {
    PORTICO_CHECK(static_cast<bool>(run_));  // Called once.
    const Ref<RunState> run = std::exchange(run_, nullptr);
    run->OnStepDone(step_, std::move(result));
  }

 private:
  Ref<RunState> run_;
  int step_;
};

void Graph::RunState::Start(std::vector<Tensor> inputs) {
  Enter();
  {
    Drive drive(this);
    for (const auto& [slot, tensor] : graph_.plan_.constants) Put(slot, tensor, drive);
    for (size_t i = 0; i < inputs.size(); ++i) Put(graph_.plan_.inputs[i], std::move(inputs[i]), drive);
    for (const int step : graph_.sources_) drive.Push(step);
    if (graph_.distinct_outputs_ == 0) decided_.store(true, std::memory_order_release);
    Work(drive);
  }
  Leave();
}

void Graph::RunState::OnStepDone(int step, absl::StatusOr<std::vector<Tensor>> result) {
  if (Drive* outer = Drive::Of(this)) return Accept(step, std::move(result), *outer);
  if (!Enter()) return;
  {
    Drive drive(this);
    Accept(step, std::move(result), drive);
    Work(drive);
  }
  Leave();
}

void Graph::RunState::Accept(int step, absl::StatusOr<std::vector<Tensor>> result, Drive& drive) {
  if (!result.ok()) return Fail(result.status());
  const std::vector<int>& slots = graph_.plan_.steps[step].outputs;
  if (result->size() != slots.size()) {
    return Fail(absl::InternalError(
        absl::StrCat(graph_.steps_[step].name, ": got ", result->size(), " outputs, want ", slots.size())));
  }
  for (size_t i = 0; i < slots.size(); ++i) Put(slots[i], std::move((*result)[i]), drive);
}

bool Graph::RunState::Enter() {
  uint32_t turns = turns_.load(std::memory_order_relaxed);
  while ((turns & kEnded) == 0) {
    if (turns_.compare_exchange_weak(turns, turns + 1, std::memory_order_acquire)) return true;
  }
  return false;
}

void Graph::RunState::Leave() {
  if (turns_.fetch_sub(1, std::memory_order_acq_rel) != 1 || !decided_.load(std::memory_order_acquire)) return;
  // Who came in meanwhile sees the decision too, and ends the run instead.
  uint32_t nobody = 0;
  if (!turns_.compare_exchange_strong(nobody, kEnded, std::memory_order_acq_rel)) return;
  absl::StatusOr<std::vector<Tensor>> result = std::vector<Tensor>();
  if (failing_.load(std::memory_order_relaxed)) {
    result = std::move(error_);
  } else {
    result->reserve(graph_.plan_.outputs.size());
    for (const int slot : graph_.plan_.outputs) result->push_back(slots_[slot].tensor);  // Two may be one slot.
  }
  // Steps of a failed run may keep this object for long.
  for (size_t i = 0; i < num_slots_; ++i) slots_[i].tensor = Tensor();
  std::exchange(done_, nullptr)(std::move(result));
}

void Graph::RunState::Work(Drive& drive) {
  while (!drive.ready.empty() && !decided_.load(std::memory_order_acquire)) {
    if (absl::Status alive = graph_.CheckAlive(*context_); !alive.ok()) {
      Fail(std::move(alive));
    } else {
      StartStep(drive.Pop());
    }
  }
}

void Graph::RunState::StartStep(int step) {
  const PlanStep& plan = graph_.plan_.steps[step];
  const Step& shape = graph_.steps_[step];
  std::vector<Tensor> inputs;
  inputs.reserve(plan.inputs.size());
  for (size_t i = 0; i < plan.inputs.size(); ++i) {
    inputs.push_back(shape.read_again[i] ? slots_[plan.inputs[i]].tensor : Take(plan.inputs[i]));
  }
  graph_.ops_[step]->Run(context_, std::move(inputs), StepDone(Ref<RunState>(this), step));
}

void Graph::RunState::Put(int slot, Tensor tensor, Drive& drive) {
  const Slot& shape = graph_.slots_[slot];
  if (shape.readers.empty() && !shape.is_output) return;
  slots_[slot].tensor = std::move(tensor);
  for (const int reader : shape.readers) {
    if (waits_[reader].fetch_sub(1, std::memory_order_acq_rel) == 1) drive.Push(reader);
  }
  if (shape.is_output && outputs_left_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    decided_.store(true, std::memory_order_release);
  }
}

/// Readers that run at the same time copy; the last one takes the slot's own reference, so that memory goes with its
/// last use.
Tensor Graph::RunState::Take(int slot) {
  SlotState& state = slots_[slot];
  if (state.readers_left.load(std::memory_order_acquire) == 1) {
    state.readers_left.store(0, std::memory_order_relaxed);
    return std::exchange(state.tensor, Tensor());
  }
  Tensor copy = state.tensor;
  if (state.readers_left.fetch_sub(1, std::memory_order_acq_rel) == 1) state.tensor = Tensor();
  return copy;
}

void Graph::RunState::Fail(absl::Status status) {
  if (failing_.exchange(true, std::memory_order_acq_rel)) return;
  error_ = std::move(status);
  decided_.store(true, std::memory_order_release);
}

absl::Status Graph::CheckAlive(const RequestContext& context) const {
  if (context.cancelled.load(std::memory_order_relaxed)) {
    return absl::CancelledError("request: cancelled by the client");
  }
  if (context.deadline.Expired(clock_)) {
    return absl::DeadlineExceededError("request: got no answer before its deadline; allow more time or send less");
  }
  return absl::OkStatus();
}

Graph::Graph(GraphPlan plan, std::vector<std::unique_ptr<AsyncOp>> ops, const Clock& clock)
    : plan_(std::move(plan)), ops_(std::move(ops)), clock_(clock), slots_(plan_.slots.size()) {
  PORTICO_CHECK(ops_.size() == plan_.steps.size());
  for (size_t i = 0; i < plan_.steps.size(); ++i) {
    const PlanStep& plan_step = plan_.steps[i];
    Step step;
    step.read_again.resize(plan_step.inputs.size());
    for (size_t input = 0; input < plan_step.inputs.size(); ++input) {
      const auto at = plan_step.inputs.begin() + static_cast<ptrdiff_t>(input);
      step.read_again[input] = std::find(at + 1, plan_step.inputs.end(), *at) != plan_step.inputs.end();
      if (step.read_again[input]) continue;
      ++step.waits;
      slots_[plan_step.inputs[input]].readers.push_back(static_cast<int>(i));
    }
    if (step.waits == 0) sources_.push_back(static_cast<int>(i));
    step.name = plan_step.segment != nullptr ? absl::StrCat("segment ", plan_step.segment->name)
                : plan_step.table != nullptr ? absl::StrCat("lookup in ", plan_step.table->file)
                                             : absl::StrCat("portal ", TargetNames(*plan_step.portal));
    steps_.push_back(std::move(step));
  }
  for (const int slot : plan_.outputs) {
    distinct_outputs_ += !slots_[slot].is_output;
    slots_[slot].is_output = true;
  }
  is_one_local_step_ = plan_.steps.size() == 1 && plan_.steps[0].portal == nullptr && plan_.constants.empty() &&
                       plan_.steps[0].inputs == plan_.inputs && plan_.steps[0].outputs == plan_.outputs;
}

Graph::~Graph() = default;

void Graph::Run(Ref<const RequestContext> context, std::vector<Tensor> inputs, OpDone done) {
  if (inputs.size() != plan_.inputs.size()) {
    return done(absl::InternalError(absl::StrCat("graph: got ", inputs.size(), " inputs, want ", plan_.inputs.size())));
  }
  // Most models are one segment, and shards one lookup: without slots to fill there is nothing to keep of such a run.
  if (is_one_local_step_) {
    if (absl::Status alive = CheckAlive(*context); !alive.ok()) return done(std::move(alive));
    return ops_[0]->Run(context, std::move(inputs), std::move(done));
  }
  const Ref<RunState> run = RunState::Make(*this, std::move(context), std::move(done));
  run->Start(std::move(inputs));
}

}  // namespace portico
