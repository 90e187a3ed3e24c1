#include "batcher/batcher.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "batcher/rows.h"
#include "batcher/waiting_calls.h"

namespace portico {

/// Shared with the runs on the executor, so that completions may outlive the Batcher.
class Batcher::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(Options options, Function function, Executor& executor, const Clock& clock, MetricRegistry& metrics);

  void Submit(Ref<const RequestContext> context, std::vector<Tensor> inputs, Done done);
  /// Refuses nothing, lets nothing wait any longer, and returns when all is done.
  void Finish();
  /// Takes what is there and runs it; on the executor.
  void Drain();
  /// The executor destroyed a scheduled Drain().
  void OnDrainDropped();

 private:
  class DrainTask;
  using Result = absl::StatusOr<std::vector<Tensor>>;
  /// What to do about what waits, once the lock is released.
  struct Next {
    bool schedule_drain = false;
    /// When to look again; infinite: not by the timer.
    absl::Time timer_at = absl::InfiniteFuture();
  };

  Next PlanNext(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Act(const Next& next);
  void OnTimer();
  void EndRun();
  void CompleteDead(std::vector<WaitingCall> calls);
  /// One result for each call.
  std::vector<Result> RunCalls(const std::vector<WaitingCall>& calls);
  void RunJoined(const std::vector<WaitingCall>& calls, int64_t rows, std::vector<Result>& results);
  void RecordSpans(const std::vector<WaitingCall>& calls, int64_t rows, absl::Time start);

  const Options options_;
  const Function function_;
  Executor& executor_;
  const Clock& clock_;
  const bool joins_;
  Histogram& rows_metric_;
  Histogram& queue_seconds_metric_;
  Counter& refused_metric_;
  Counter& expired_metric_;

  Mutex mutex_;
  CondVar idle_;
  WaitingCalls waiting_ ABSL_GUARDED_BY(mutex_);
  /// A drain is scheduled and has not begun.
  bool drain_pending_ ABSL_GUARDED_BY(mutex_) = false;
  int running_ ABSL_GUARDED_BY(mutex_) = 0;
  /// When the timer will look; infinite: it is not set.
  absl::Time timer_at_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  bool finishing_ ABSL_GUARDED_BY(mutex_) = false;
};

namespace {

/// Rows a run may hold are powers of two up to 16384.
std::vector<double> RowBuckets() {
  std::vector<double> bounds;
  for (double bound = 1; bound <= 16384; bound *= 2) bounds.push_back(bound);
  return bounds;
}

absl::Status DeadStatus(const RequestContext& context) {
  if (context.cancelled.load(std::memory_order_relaxed)) {
    return absl::CancelledError("request: cancelled by the client");
  }
  return absl::DeadlineExceededError("request: its deadline passed before it could run; allow more time or send less");
}

void AddSpan(const RequestContext& context, std::string name, absl::Time start, absl::Time end) {
  context.spans.Add({.span_id = NewSpanId(),
                     .parent_span_id = context.trace.parent_span_id,
                     .name = std::move(name),
                     .start = start,
                     .duration = end - start});
}

}  // namespace

Batcher::Impl::Impl(Options options, Function function, Executor& executor, const Clock& clock, MetricRegistry& metrics)
    : options_(std::move(options)),
      function_(std::move(function)),
      executor_(executor),
      clock_(clock),
      joins_(options_.row_outputs && options_.max_batch_rows > 1),
      rows_metric_(
          metrics.NewHistogram("portico_batch_rows", "Rows of one run", {{"queue", options_.name}}, RowBuckets())),
      queue_seconds_metric_(metrics.NewHistogram("portico_batch_queue_seconds", "Time a call waited for its run",
                                                 {{"queue", options_.name}}, LatencyBuckets())),
      refused_metric_(metrics.NewCounter("portico_batch_refused_total", "Calls refused because the queue was full",
                                         {{"queue", options_.name}})),
      expired_metric_(metrics.NewCounter("portico_batch_expired_total",
                                         "Calls dropped from the queue: cancelled or past their deadline",
                                         {{"queue", options_.name}})),
      waiting_(options_.row_inputs, options_.max_batch_rows, options_.max_delay) {
  PORTICO_CHECK(options_.max_running >= 1 && options_.max_batch_rows >= 1);
}

void Batcher::Impl::Submit(Ref<const RequestContext> context, std::vector<Tensor> inputs, Done done) {
  PORTICO_CHECK(inputs.size() == options_.row_inputs.size());
  WaitingCall call;
  call.context = std::move(context);
  call.inputs = std::move(inputs);
  call.done = std::move(done);
  if (const auto rows = JoinableRows(call.inputs, options_.row_inputs)) {
    call.rows = *rows;
    call.joinable = joins_;
    if (joins_) call.hash = JoinHash(call.inputs, options_.row_inputs);
  }
  call.since = clock_.Now();
  Next next;
  int64_t waiting = 0;
  bool full = false;
  {
    MutexLock lock(&mutex_);
    waiting = waiting_.weight();
    full = waiting > 0 && waiting + call.weight() > options_.max_queue_rows;
    if (!full) {
      const absl::Time now = call.since;
      waiting_.Push(std::move(call));
      next = PlanNext(now);
    }
  }
  if (!full) return Act(next);
  refused_metric_.Increment();
  call.done(absl::ResourceExhaustedError(
      absl::StrCat("queue '", options_.name, "': got ", call.weight(), " rows while ", waiting, " wait, want at most ",
                   options_.max_queue_rows, " waiting; send fewer at once, or raise batching.max_queue_rows")));
}

Batcher::Impl::Next Batcher::Impl::PlanNext(absl::Time now) {
  if (drain_pending_ || running_ >= options_.max_running || waiting_.empty()) return {};
  const absl::Time ripe_at = finishing_ ? absl::InfinitePast() : waiting_.RipeAt();
  if (ripe_at <= now) {
    drain_pending_ = true;
    return {.schedule_drain = true};
  }
  if (timer_at_ <= ripe_at) return {};
  timer_at_ = ripe_at;
  return {.timer_at = ripe_at};
}

/// Held by the executor: one that is destroyed unrun says so.
class Batcher::Impl::DrainTask {
 public:
  explicit DrainTask(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  DrainTask(DrainTask&&) noexcept = default;
  ~DrainTask() {
    if (impl_ != nullptr) impl_->OnDrainDropped();
  }
  void operator()() { std::exchange(impl_, nullptr)->Drain(); }

 private:
  std::shared_ptr<Impl> impl_;
};

void Batcher::Impl::Act(const Next& next) {
  if (next.schedule_drain) executor_.Schedule(DrainTask(shared_from_this()));
  if (next.timer_at == absl::InfiniteFuture()) return;
  Timer& timer = options_.timer != nullptr ? *options_.timer : Timer::Real();
  timer.ScheduleAt(next.timer_at, [weak = weak_from_this()] {
    if (const std::shared_ptr<Impl> impl = weak.lock()) impl->OnTimer();
  });
}

void Batcher::Impl::OnTimer() {
  Next next;
  {
    MutexLock lock(&mutex_);
    timer_at_ = absl::InfiniteFuture();
    next = PlanNext(clock_.Now());
  }
  Act(next);
}

void Batcher::Impl::Drain() {
  const absl::Time start = clock_.Now();
  WaitingCalls::Taken taken;
  Next next;
  {
    MutexLock lock(&mutex_);
    drain_pending_ = false;
    ++running_;
    taken = waiting_.TakeBatch(start, finishing_);
    next = PlanNext(start);
  }
  Act(next);
  // Whoever waits below keeps the batcher alive until it is told, so only a run's last completions come after EndRun().
  std::vector<Result> results;
  if (!taken.calls.empty()) {
    CompleteDead(std::exchange(taken.dead, {}));
    results = RunCalls(taken.calls);
  }
  EndRun();
  CompleteDead(std::move(taken.dead));
  for (size_t i = 0; i < results.size(); ++i) taken.calls[i].done(std::move(results[i]));
}

void Batcher::Impl::EndRun() {
  Next next;
  {
    MutexLock lock(&mutex_);
    --running_;
    next = PlanNext(clock_.Now());
    if (waiting_.empty() && running_ == 0 && !drain_pending_) idle_.NotifyAll();
  }
  Act(next);
}

void Batcher::Impl::OnDrainDropped() {
  std::vector<WaitingCall> calls;
  {
    MutexLock lock(&mutex_);
    drain_pending_ = false;
    calls = waiting_.TakeAll();
    if (running_ == 0) idle_.NotifyAll();
  }
  for (WaitingCall& call : calls) {
    call.done(absl::UnavailableError(absl::StrCat("queue '", options_.name, "': its workers have stopped")));
  }
}

void Batcher::Impl::Finish() {
  Next next;
  {
    MutexLock lock(&mutex_);
    finishing_ = true;
    next = PlanNext(clock_.Now());
  }
  Act(next);
  MutexLock lock(&mutex_);
  while (!waiting_.empty() || running_ > 0 || drain_pending_) idle_.Wait(&mutex_);
}

void Batcher::Impl::CompleteDead(std::vector<WaitingCall> calls) {
  for (WaitingCall& call : calls) {
    expired_metric_.Increment();
    call.done(DeadStatus(*call.context));
  }
}

std::vector<Batcher::Impl::Result> Batcher::Impl::RunCalls(const std::vector<WaitingCall>& calls) {
  const absl::Time start = clock_.Now();
  int64_t rows = 0;
  for (const WaitingCall& call : calls) rows += call.rows;
  rows_metric_.Observe(static_cast<double>(rows));
  for (const WaitingCall& call : calls) queue_seconds_metric_.Observe(absl::ToDoubleSeconds(start - call.since));

  std::vector<Result> results;
  results.reserve(calls.size());
  if (calls.size() == 1) {
    results.push_back(function_(calls[0].inputs));
  } else {
    RunJoined(calls, rows, results);
  }
  RecordSpans(calls, rows, start);
  return results;
}

void Batcher::Impl::RunJoined(const std::vector<WaitingCall>& calls, int64_t rows, std::vector<Result>& results) {
  std::vector<absl::Span<const Tensor>> inputs;
  inputs.reserve(calls.size());
  for (const WaitingCall& call : calls) inputs.push_back(call.inputs);
  Result joined = function_(GatherRows(inputs, options_.row_inputs));
  if (joined.ok() && CanScatter(*joined, rows)) {
    int64_t begin = 0;
    for (const WaitingCall& call : calls) {
      results.push_back(ScatterRows(*joined, begin, call.rows));
      begin += call.rows;
    }
    return;
  }
  for (const WaitingCall& call : calls) {
    const bool dead = call.context->cancelled.load(std::memory_order_relaxed) || call.context->deadline.Expired(clock_);
    results.push_back(dead ? Result(DeadStatus(*call.context)) : function_(call.inputs));
  }
}

void Batcher::Impl::RecordSpans(const std::vector<WaitingCall>& calls, int64_t rows, absl::Time start) {
  for (const WaitingCall& call : calls) {
    if (!call.context->trace.sampled) continue;
    AddSpan(*call.context, "queue", call.since, start);
    AddSpan(*call.context, absl::StrCat("batch of ", rows, " rows, ", calls.size(), " calls"), start, clock_.Now());
  }
}

Batcher::Batcher(Options options, Function function, Executor& executor, const Clock& clock, MetricRegistry& metrics)
    : impl_(std::make_shared<Impl>(std::move(options), std::move(function), executor, clock, metrics)) {}

Batcher::~Batcher() { impl_->Finish(); }

void Batcher::Submit(Ref<const RequestContext> context, std::vector<Tensor> inputs, Done done) {
  impl_->Submit(std::move(context), std::move(inputs), std::move(done));
}

}  // namespace portico
