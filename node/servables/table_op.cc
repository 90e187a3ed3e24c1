#include "node/servables/table_op.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/span.h"
#include "base/turn.h"
#include "embedding/shard_lookup.h"

namespace portico {
namespace {

/// What a call claims to have, before anything of it is checked.
uint64_t IdsOf(const std::vector<Tensor>& inputs) {
  uint64_t ids = 0;
  for (const LookupCall::Input input : {LookupCall::kIds, LookupCall::kStrings}) {
    if (inputs.size() > input && inputs[input].valid()) ids += inputs[input].num_elements();
  }
  return ids;
}

/// What a call costs, about: each bag has a sum to write, ids or not.
uint64_t WorkOf(const std::vector<Tensor>& inputs) {
  uint64_t work = IdsOf(inputs);
  if (inputs.size() > LookupCall::kLengths && inputs[LookupCall::kLengths].valid())
    work += inputs[LookupCall::kLengths].num_elements();
  return work;
}

void AddSpans(const RequestContext& context, uint64_t ids, absl::Time since, absl::Time start, absl::Time end) {
  Span lookup;
  lookup.span_id = NewSpanId();
  lookup.parent_span_id = context.trace.parent_span_id;
  lookup.name = "lookup";
  lookup.start = since;
  lookup.duration = end - since;
  lookup.attributes = {{"ids", static_cast<int64_t>(ids)}};
  Span queue;
  queue.span_id = NewSpanId();
  queue.parent_span_id = lookup.span_id;
  queue.name = "queue";
  queue.start = since;
  queue.duration = start - since;
  context.spans.Add(std::move(lookup));
  context.spans.Add(std::move(queue));
}

}  // namespace

/// One call on its way through the workers. One that is destroyed unrun says so.
class TableOp::Task {
 public:
  Task(const TableOp& op, Ref<const RequestContext> context, std::vector<Tensor> inputs, OpDone done, absl::Time since)
      : op_(&op), context_(std::move(context)), inputs_(std::move(inputs)), done_(std::move(done)), since_(since) {}
  Task(Task&& other) noexcept
      : op_(std::exchange(other.op_, nullptr)),
        context_(std::move(other.context_)),
        inputs_(std::move(other.inputs_)),
        done_(std::move(other.done_)),
        since_(other.since_) {}
  ~Task() {
    if (op_ == nullptr) return;
    done_(absl::UnavailableError(
        absl::StrCat("lookup '", op_->options_.name, "': shutting down; send the request to another replica")));
  }

  void operator()() {
    const TableOp& op = *std::exchange(op_, nullptr);
    const absl::Time start = op.clock_.Now();
    if (absl::Status alive = op.CheckAlive(*context_, start); !alive.ok()) return done_(std::move(alive));
    const uint64_t ids = IdsOf(inputs_);
    absl::StatusOr<std::vector<Tensor>> outputs = op.Answer(std::move(inputs_));
    const absl::Time end = op.clock_.Now();
    if (op.options_.observer != nullptr) {
      op.options_.observer->OnRun({.rows = 1, .calls = 1, .queued = start - since_, .time = end - start});
    }
    if (context_->Records(end - since_)) AddSpans(*context_, ids, since_, start, end);
    // Last: the op may go with it.
    done_(std::move(outputs));
  }

 private:
  const TableOp* op_;
  Ref<const RequestContext> context_;
  std::vector<Tensor> inputs_;
  OpDone done_;
  absl::Time since_;
};

void TableOp::Run(const Ref<const RequestContext>& context, std::vector<Tensor> inputs, OpDone done) {
  // A block that nobody has read yet comes from the disk: nothing for a thread that has sockets to look after.
  const bool is_short =
      WorkOf(inputs) <= kShortIds && shard_->stays_in_memory() && shard_->file().blocks().AllVerified();
  Task task(*this, context, std::move(inputs), std::move(done), clock_.Now());
  Turn* const turn = is_short ? workers_.TurnHere() : nullptr;
  if (turn != nullptr) return turn->Add(std::move(task));
  workers_.Schedule(std::move(task));
}

absl::Status TableOp::CheckAlive(const RequestContext& context, absl::Time now) const {
  if (context.cancelled.load(std::memory_order_relaxed)) {
    return absl::CancelledError(absl::StrCat("lookup '", options_.name, "': cancelled by the client"));
  }
  if (context.deadline.at() <= now) {
    return absl::DeadlineExceededError(
        absl::StrCat("lookup '", options_.name, "': its deadline passed before a worker was free"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Tensor>> TableOp::Answer(std::vector<Tensor> inputs) const {
  absl::StatusOr<ShardLookup> lookup = ShardLookup::Read(shard_->version(), std::move(inputs));
  absl::StatusOr<std::vector<Tensor>> outputs = lookup.ok() ? lookup->Run() : lookup.status();
  if (absl::IsDataLoss(outputs.status())) shard_->NoteBroken(outputs.status());
  return outputs;
}

}  // namespace portico
