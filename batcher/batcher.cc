#include "batcher/batcher.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "base/turn.h"
#include "batcher/batch_runner.h"
#include "batcher/batch_size_learner.h"
#include "batcher/batch_spans.h"
#include "batcher/pieced_call.h"
#include "batcher/products.h"
#include "batcher/rows.h"
#include "batcher/waiting_calls.h"

namespace portico {
namespace {

/// A worker that was woken takes some 50 µs to come; one that needs longer has met something on its core.
constexpr absl::Duration kWakeAnotherAfter = absl::Microseconds(200);
/// Runs up to this long stay on a thread that has turns: a hand-off costs both cores about 10 µs.
constexpr absl::Duration kShortRun = absl::Microseconds(30);
/// Deadlines of calls that wait are looked at this often at most.
constexpr absl::Duration kLookEvery = absl::Milliseconds(5);
/// And no later: a timer that a sooner one replaces stays behind until its time.
constexpr absl::Duration kLookAhead = absl::Seconds(1);
/// Deadlines that one look may take, on the timer's thread; the rest is for the next.
constexpr size_t kMostPerLook = 1024;
/// A call that meets a full queue looks for others that are late, not more often than this and at so many at most.
constexpr absl::Duration kLookWhenFullEvery = absl::Milliseconds(1);
constexpr size_t kMostWhenFull = 64;

}  // namespace

/// Shared with the runs on the executor, so that completions may outlive the Batcher.
class Batcher::Impl final : public std::enable_shared_from_this<Impl>, public CancelWaiters::Waiter {
 public:
  Impl(Options options, Function function, Executor& executor, const Clock& clock, MetricRegistry& metrics);

  void Submit(Ref<const RequestContext> context, std::vector<Tensor> inputs, Done done);
  void SetShares(const Products::Shares& shares) {
    MutexLock lock(&mutex_);
    products_.SetShares(shares);
  }
  /// Refuses nothing, lets nothing wait any longer, and returns when all is done.
  void Finish();
  /// Takes what is there and runs it; on the executor or in a turn. `drain`: of PlanNext().
  void Drain(uint64_t drain);
  /// The executor destroyed a scheduled Drain().
  void OnDrainDropped(uint64_t drain);
  /// Takes a waiting call back; its completion is left to the executor.
  void OnCancel(uint64_t ticket, uint64_t lane) override;

 private:
  class DrainTask;
  class DeadCalls;
  using Result = BatchRunner::Result;
  /// What to do about what waits, once the lock is released.
  struct Next {
    /// A drain to schedule; 0: none.
    uint64_t drain = 0;
    /// Where it runs; null: on the executor.
    Turn* turn = nullptr;
    bool wake_another = false;
    /// When to look again; infinite: not by the timer.
    absl::Time timer_at = absl::InfiniteFuture();
    /// When to look for deadlines that have passed; infinite: not by another timer.
    absl::Time look_at = absl::InfiniteFuture();
    /// Calls that are cancelled or late and have left the queue: the executor completes them.
    std::vector<WaitingCall> dead;
  };

  /// Of a call with more rows than a run may hold.
  void SubmitPieces(WaitingCall call);
  /// Whether calls of one product, of that weight together, may wait; else RESOURCE_EXHAUSTED, and it is counted. Late
  /// calls that are in their way are left to `next`.
  absl::Status Admit(Product& product, int64_t weight, absl::Time now, Next* next)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HasRoom(const Product& product, int64_t weight) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// `may_be_short`: whether this thread may run what is short by itself.
  void PlanNext(absl::Time now, Next* next, bool may_be_short = false) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// A run of what waits takes no longer than waking a worker for it.
  bool ShortRun() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// Sees to it that the timer looks when the soonest deadline has passed. Returns when to set it; infinite: it is set.
  absl::Time PlanLook(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Act(Next next);
  void OnTimer();
  /// The timer that was set for `at`: takes late calls from the queue.
  void OnLook(absl::Time at);
  /// Whoever waits for the batcher to be idle is told where it is.
  void TellIfIdle() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndRun(int64_t rows, absl::Duration time);
  /// Nobody can take these back any more.
  void StopWaiting(const std::vector<WaitingCall>& calls);
  const Options options_;
  Executor& executor_;
  const Clock& clock_;
  const bool joins_;
  const JoinRule rule_;
  const int64_t max_batch_rows_;
  const BatchRunner runner_;
  std::atomic<uint64_t> tickets_{0};
  Counter& refused_metric_;

  Mutex mutex_;
  CondVar idle_;
  Products products_ ABSL_GUARDED_BY(mutex_);
  WaitingCalls waiting_ ABSL_GUARDED_BY(mutex_);
  BatchSizeLearner learner_ ABSL_GUARDED_BY(mutex_);
  /// The drain that is scheduled and has not begun; 0: none.
  uint64_t pending_drain_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t last_drain_ ABSL_GUARDED_BY(mutex_) = 0;
  /// It waits for the end of this turn; null: for the executor.
  Turn* drain_turn_ ABSL_GUARDED_BY(mutex_) = nullptr;
  /// Since when it waits, or when another worker was last woken for it.
  absl::Time drain_since_ ABSL_GUARDED_BY(mutex_);
  /// Smoothed time of a run for each of its rows; infinite: nothing has run.
  absl::Duration row_time_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteDuration();
  int running_ ABSL_GUARDED_BY(mutex_) = 0;
  /// When the timer will look; infinite: it is not set.
  absl::Time timer_at_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  /// When it will look for late calls; infinite: it is not set.
  absl::Time look_at_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  /// When a call that meets a full queue may look for them.
  absl::Time look_when_full_at_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  bool finishing_ ABSL_GUARDED_BY(mutex_) = false;
};

namespace {

Batcher::Options WithLabels(Batcher::Options options) {
  if (options.labels.empty()) options.labels = {{"queue", options.name}};
  return options;
}

}  // namespace

Batcher::Impl::Impl(Options options, Function function, Executor& executor, const Clock& clock, MetricRegistry& metrics)
    : options_(WithLabels(std::move(options))),
      executor_(executor),
      clock_(clock),
      joins_(options_.row_outputs && options_.max_batch_rows > 1),
      rule_(JoinRule::Of(options_)),
      max_batch_rows_(options_.allowed_batch_rows.empty()
                          ? options_.max_batch_rows
                          : std::min(options_.max_batch_rows, options_.allowed_batch_rows.back())),
      runner_(options_, rule_, std::move(function), clock, metrics),
      refused_metric_(metrics.NewCounter("portico_batch_refused_total", "Calls refused because the queue was full.",
                                         options_.labels)),
      products_(options_.shares, options_.labels, metrics),
      waiting_(rule_, options_.max_delay),
      learner_(max_batch_rows_) {
  metrics.NewGauge("portico_batch_limit_rows", "Rows that one run may hold.", options_.labels)
      .Set(joins_ ? static_cast<double>(max_batch_rows_) : 1);
  PORTICO_CHECK(options_.max_running >= 1 && options_.max_batch_rows >= 1);
}

void Batcher::Impl::Submit(Ref<const RequestContext> context, std::vector<Tensor> inputs, Done done) {
  PORTICO_CHECK(inputs.size() == options_.row_inputs.size());
  WaitingCall call;
  call.context = std::move(context);
  call.inputs = std::move(inputs);
  call.done = std::move(done);
  if (const auto rows = JoinableRows(call.inputs, rule_)) {
    call.rows = *rows;
    call.joinable = joins_;
    if (joins_) call.hash = JoinHash(call.inputs, rule_);
  }
  const absl::Time now = call.since = clock_.Now();
  const int64_t weight = call.weight();
  if (options_.split_large_calls && call.joinable && call.rows > max_batch_rows_) return SubmitPieces(std::move(call));
  // Before it can be taken: whoever takes it removes it from there.
  call.ticket = tickets_.fetch_add(1, std::memory_order_relaxed);
  const Ref<const RequestContext> kept = call.context;
  const uint64_t ticket = call.ticket, lane = call.lane();
  kept->cancel_waiters.Add(this, ticket, lane);
  Next next;
  absl::Status admitted;
  {
    MutexLock lock(&mutex_);
    Product& product = products_.Of(kept->product);
    admitted = Admit(product, weight, now, &next);
    if (admitted.ok()) {
      call.product = &product;
      waiting_.Push(std::move(call), max_batch_rows_);
      PlanNext(now, &next, /*may_be_short=*/true);
      next.look_at = PlanLook(now);
    }
  }
  Act(std::move(next));
  if (!admitted.ok()) {
    kept->cancel_waiters.Remove(this, ticket);
    return call.done(std::move(admitted));
  }
  // It may have been cancelled before it could be found.
  if (kept->cancelled.load(std::memory_order_seq_cst)) OnCancel(ticket, lane);
}

bool Batcher::Impl::HasRoom(const Product& product, int64_t weight) const {
  const int64_t waiting = waiting_.weight(), most = options_.max_queue_rows;
  if (waiting == 0 || waiting + weight <= most) return true;
  // What others have filled is no reason to refuse a product its share, nor its only call.
  const int64_t own = waiting_.WeightOf(product);
  return own < waiting && (own == 0 || own + weight <= waiting_.RoomOf(product, most)) && waiting + weight <= 2 * most;
}

absl::Status Batcher::Impl::Admit(Product& product, int64_t weight, absl::Time now, Next* next) {
  if (HasRoom(product, weight)) return absl::OkStatus();
  if (waiting_.soonest_deadline() <= now && look_when_full_at_ <= now) {
    next->dead = waiting_.TakeLate(now, kMostWhenFull);
    if (waiting_.soonest_deadline() > now) look_when_full_at_ = now + kLookWhenFullEvery;
    if (HasRoom(product, weight)) return absl::OkStatus();
  }
  refused_metric_.Increment();
  product.refused.Increment();
  const int64_t waiting = waiting_.weight(), own = waiting_.WeightOf(product), most = options_.max_queue_rows;
  const int64_t room = waiting_.RoomOf(product, most);
  const bool alone = own == waiting;
  const std::string its = alone ? "" : absl::StrCat(", ", own, " of them of the same product '", product.name, "'");
  const std::string or_its = alone ? "" : absl::StrCat(", or ", room, " of that product");
  return absl::ResourceExhaustedError(absl::StrCat("queue '", options_.name, "': got ", weight, " rows while ", waiting,
                                                   " wait", its, ", want at most ", most, " waiting", or_its,
                                                   "; send fewer at once, or raise batching.max_queue_rows"));
}

void Batcher::Impl::SubmitPieces(WaitingCall call) {
  const int64_t rows = call.rows;
  const auto count = static_cast<size_t>((rows + max_batch_rows_ - 1) / max_batch_rows_);
  const Ref<const RequestContext> kept = call.context;
  const absl::Time now = call.since;
  const uint64_t lane = call.lane();
  const uint64_t first = tickets_.fetch_add(count, std::memory_order_relaxed);
  if (kept->MayRecord()) {
    call.span_id = NewSpanId();
    call.done = [kept, id = call.span_id, name = options_.span_name, now, clock = &clock_,
                 done = std::move(call.done)](Result result) mutable {
      const absl::Time end = clock->Now();
      if (kept->Records(end - now)) AddSpan(*kept, id, kept->trace.parent_span_id, std::move(name), now, end);
      done(std::move(result));
    };
  }
  auto whole = std::make_shared<PiecedCall>(count, std::move(call.done));
  std::vector<std::vector<Tensor>> parts = SplitRows({call.inputs, rows}, rule_, max_batch_rows_);
  std::vector<WaitingCall> pieces;
  pieces.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    WaitingCall piece;
    piece.context = call.context;
    piece.rows = std::min(max_batch_rows_, rows - static_cast<int64_t>(i) * max_batch_rows_);
    piece.inputs = std::move(parts[i]);
    piece.done = [whole, i](Result result) { whole->Finish(i, std::move(result)); };
    piece.joinable = true;
    piece.hash = call.hash;
    piece.since = now;
    piece.ticket = first + i;
    piece.span_id = call.span_id;
    pieces.push_back(std::move(piece));
  }
  for (size_t i = 0; i < count; ++i) kept->cancel_waiters.Add(this, first + i, lane);
  Next next;
  absl::Status admitted;
  {
    MutexLock lock(&mutex_);
    Product& product = products_.Of(kept->product);
    admitted = Admit(product, rows, now, &next);
    if (admitted.ok()) {
      for (WaitingCall& piece : pieces) {
        piece.product = &product;
        waiting_.Push(std::move(piece), max_batch_rows_);
      }
      PlanNext(now, &next);
      next.look_at = PlanLook(now);
    }
  }
  Act(std::move(next));
  if (!admitted.ok()) {
    StopWaiting(pieces);
    for (WaitingCall& piece : pieces) piece.done(admitted);
    return;
  }
  if (!kept->cancelled.load(std::memory_order_seq_cst)) return;
  for (size_t i = 0; i < count; ++i) OnCancel(first + i, lane);
}

/// Completes calls that have left the queue without a run, on the executor; also where that drops it.
class Batcher::Impl::DeadCalls {
 public:
  DeadCalls(std::shared_ptr<Impl> impl, std::vector<WaitingCall> calls)
      : impl_(std::move(impl)), calls_(std::move(calls)) {}
  DeadCalls(DeadCalls&&) noexcept = default;
  ~DeadCalls() {
    if (impl_ != nullptr) (*this)();
  }
  void operator()() {
    const std::shared_ptr<Impl> impl = std::exchange(impl_, nullptr);
    impl->StopWaiting(calls_);
    for (WaitingCall& call : calls_) impl->runner_.CompleteDead(call);
  }

 private:
  std::shared_ptr<Impl> impl_;
  std::vector<WaitingCall> calls_;
};

void Batcher::Impl::OnCancel(uint64_t ticket, uint64_t lane) {
  Next next;
  {
    MutexLock lock(&mutex_);
    std::optional<WaitingCall> call = waiting_.Remove(lane, ticket);
    if (!call.has_value()) return;
    next.dead.push_back(*std::move(call));
    TellIfIdle();
  }
  Act(std::move(next));
}

void Batcher::Impl::StopWaiting(const std::vector<WaitingCall>& calls) {
  for (const WaitingCall& call : calls) call.context->cancel_waiters.Remove(this, call.ticket);
}

bool Batcher::Impl::ShortRun() const {
  const int64_t rows = std::min(waiting_.weight(), max_batch_rows_);
  return row_time_ < absl::InfiniteDuration() && row_time_ * rows <= kShortRun;
}

void Batcher::Impl::PlanNext(absl::Time now, Next* next, bool may_be_short) {
  if (pending_drain_ != 0) {
    const bool late = now - drain_since_ >= kWakeAnotherAfter;
    const bool stuck = finishing_ || (late && executor_.TurnHere() != drain_turn_);
    if (drain_turn_ != nullptr && (stuck || !ShortRun())) {
      // A worker takes over where that thread's turn has become long, or the run.
      drain_turn_ = nullptr;
      drain_since_ = now;
      next->drain = pending_drain_ = ++last_drain_;
    } else if (late && drain_turn_ == nullptr) {
      drain_since_ = now;
      next->wake_another = true;
    }
    return;
  }
  if (running_ >= options_.max_running || waiting_.empty()) return;
  const absl::Time ripe_at = finishing_ ? absl::InfinitePast() : waiting_.RipeAt();
  if (ripe_at <= now) {
    next->drain = pending_drain_ = ++last_drain_;
    drain_since_ = now;
    next->turn = drain_turn_ = may_be_short && ShortRun() ? executor_.TurnHere() : nullptr;
  } else if (ripe_at < timer_at_) {
    next->timer_at = timer_at_ = ripe_at;
  }
}

absl::Time Batcher::Impl::PlanLook(absl::Time now) {
  const absl::Time soonest = waiting_.soonest_deadline();
  if (soonest == absl::InfiniteFuture() || soonest > look_at_ - kLookEvery) return absl::InfiniteFuture();
  // Whole multiples: deadlines that are close to each other are looked at together.
  const absl::Time at = std::clamp(soonest, now, now + kLookAhead);
  return look_at_ = absl::UnixEpoch() + absl::Ceil(at - absl::UnixEpoch(), kLookEvery);
}

/// Held by the executor: one that is destroyed unrun says so.
class Batcher::Impl::DrainTask {
 public:
  DrainTask(std::shared_ptr<Impl> impl, uint64_t drain) : impl_(std::move(impl)), drain_(drain) {}
  DrainTask(DrainTask&&) noexcept = default;
  ~DrainTask() {
    if (impl_ != nullptr) impl_->OnDrainDropped(drain_);
  }
  void operator()() { std::exchange(impl_, nullptr)->Drain(drain_); }

 private:
  std::shared_ptr<Impl> impl_;
  uint64_t drain_;
};

void Batcher::Impl::Act(Next next) {
  if (next.wake_another) executor_.WakeAnother();
  if (next.drain != 0) {
    DrainTask task(shared_from_this(), next.drain);
    next.turn != nullptr ? next.turn->Add(std::move(task)) : executor_.Schedule(std::move(task));
  }
  if (!next.dead.empty()) executor_.Schedule(DeadCalls(shared_from_this(), std::move(next.dead)));
  if (next.timer_at == absl::InfiniteFuture() && next.look_at == absl::InfiniteFuture()) return;
  Timer& timer = options_.timer != nullptr ? *options_.timer : Timer::Real();
  const auto set = [&](absl::Time at, auto then) {
    if (at == absl::InfiniteFuture()) return;
    timer.ScheduleAt(at, [weak = weak_from_this(), then] {
      if (const std::shared_ptr<Impl> impl = weak.lock()) then(*impl);
    });
  };
  set(next.timer_at, [](Impl& impl) { impl.OnTimer(); });
  set(next.look_at, [at = next.look_at](Impl& impl) { impl.OnLook(at); });
}

void Batcher::Impl::OnTimer() {
  Next next;
  {
    MutexLock lock(&mutex_);
    timer_at_ = absl::InfiniteFuture();
    PlanNext(clock_.Now(), &next);
  }
  Act(std::move(next));
}

void Batcher::Impl::OnLook(absl::Time at) {
  Next next;
  {
    MutexLock lock(&mutex_);
    if (at != look_at_) return;  // A sooner one was set since.
    look_at_ = absl::InfiniteFuture();
    const absl::Time now = clock_.Now();
    next.dead = waiting_.TakeLate(now, kMostPerLook);
    next.look_at = PlanLook(now);
    TellIfIdle();
  }
  Act(std::move(next));
}

void Batcher::Impl::TellIfIdle() {
  if (waiting_.empty() && running_ == 0 && pending_drain_ == 0) idle_.NotifyAll();
}

void Batcher::Impl::Drain(uint64_t drain) {
  const absl::Time start = clock_.Now();
  WaitingCalls::Taken taken;
  Next next;
  bool too_long = false;
  {
    MutexLock lock(&mutex_);
    if (pending_drain_ != drain) return;  // A worker took over.
    too_long = drain_turn_ != nullptr && !ShortRun();
    drain_turn_ = nullptr;
    if (!too_long) {
      pending_drain_ = 0;
      ++running_;
      taken = waiting_.TakeBatch(start, options_.adaptive ? learner_.NextLimit() : max_batch_rows_, finishing_);
      PlanNext(start, &next);
    }
  }
  if (too_long) return executor_.Schedule(DrainTask(shared_from_this(), drain));
  Act(std::move(next));
  StopWaiting(taken.calls);
  StopWaiting(taken.dead);
  // Whoever waits below keeps the batcher alive until it is told, so only a run's last completions come after EndRun().
  std::vector<Result> results;
  int64_t rows = 0;
  absl::Duration time;
  if (!taken.calls.empty()) {
    for (WaitingCall& call : std::exchange(taken.dead, {})) runner_.CompleteDead(call);
    for (const WaitingCall& call : taken.calls) rows += call.rows;
    const absl::Time begin = clock_.Now();
    results = runner_.Run(taken.calls, rows);
    time = clock_.Now() - begin;
  }
  EndRun(rows, time);
  for (WaitingCall& call : taken.dead) runner_.CompleteDead(call);
  for (size_t i = 0; i < results.size(); ++i) taken.calls[i].done(std::move(results[i]));
}

void Batcher::Impl::EndRun(int64_t rows, absl::Duration time) {
  Next next;
  {
    MutexLock lock(&mutex_);
    --running_;
    if (options_.adaptive && rows > 0) learner_.Record(rows, time);
    if (rows > 0) {
      const absl::Duration row_time = time / rows;
      row_time_ = row_time_ == absl::InfiniteDuration() ? row_time : row_time_ + (row_time - row_time_) / 8;
    }
    PlanNext(clock_.Now(), &next);
    TellIfIdle();
  }
  Act(std::move(next));
}

void Batcher::Impl::OnDrainDropped(uint64_t drain) {
  std::vector<WaitingCall> calls;
  {
    MutexLock lock(&mutex_);
    if (pending_drain_ != drain) return;
    pending_drain_ = 0;
    calls = waiting_.TakeAll();
    if (running_ == 0) idle_.NotifyAll();
  }
  StopWaiting(calls);
  for (WaitingCall& call : calls) {
    call.done(absl::UnavailableError(absl::StrCat("queue '", options_.name, "': its workers have stopped")));
  }
}

void Batcher::Impl::Finish() {
  Next next;
  {
    MutexLock lock(&mutex_);
    finishing_ = true;
    PlanNext(clock_.Now(), &next);
  }
  Act(std::move(next));
  MutexLock lock(&mutex_);
  while (!waiting_.empty() || running_ > 0 || pending_drain_ != 0) idle_.Wait(&mutex_);
}

Batcher::Batcher(Options options, Function function, Executor& executor, const Clock& clock, MetricRegistry& metrics)
    : impl_(std::make_shared<Impl>(std::move(options), std::move(function), executor, clock, metrics)) {}

Batcher::~Batcher() { impl_->Finish(); }

void Batcher::Submit(Ref<const RequestContext> context, std::vector<Tensor> inputs, Done done) {
  impl_->Submit(std::move(context), std::move(inputs), std::move(done));
}

void Batcher::SetShares(const Products::Shares& shares) { impl_->SetShares(shares); }

}  // namespace portico
