#include "result_cache/result_cache.h"

#include <optional>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "absl/hash/hash.h"
#include "base/check.h"
#include "base/mutex.h"
#include "base/rows.h"
#include "base/span.h"

namespace portico {
namespace {

using Result = absl::StatusOr<std::vector<Tensor>>;

Counter& RowsCounter(MetricRegistry& metrics, MetricLabels labels, absl::string_view result) {
  labels.emplace_back("result", result);
  return metrics.NewCounter("portico_result_cache_rows_total",
                            "Rows of models with a result cache: answered from memory (hit), run (miss), answered by "
                            "what another row's run gave (coalesced), or not looked for (passed).",
                            labels);
}

size_t BytesOf(absl::Span<const Tensor> tensors) {
  size_t bytes = 0;
  for (const Tensor& tensor : tensors) bytes += tensor.bytes().size();
  return bytes;
}

size_t FirstOf(const std::vector<bool>& row_inputs) {
  return static_cast<size_t>(absl::c_find(row_inputs, true) - row_inputs.begin());
}

/// Whether a call ended so for what it was or when it came: it went, or was refused for overload.
bool SaysNothingOfRows(const absl::Status& status) {
  return absl::IsCancelled(status) || absl::IsDeadlineExceeded(status) || absl::IsResourceExhausted(status) ||
         absl::IsUnavailable(status);
}

}  // namespace

/// One call of Run(): Start, Lookup (again for rows whose leader left), RunMisses, OnRan, GoOn, Finish. What it has of
/// rows it has of distinct ones: equal rows of a call are one.
class ResultCache::Call final : public ParkedCall {
 public:
  Call(ResultCache& cache, Ref<const RequestContext> context, std::vector<Tensor> inputs, Done done)
      : cache_(cache), context_(std::move(context)), inputs_(std::move(inputs)), done_(std::move(done)) {}
  /// An executor that stops drops what it has not run.
  ~Call() override {
    if (done_) done_(absl::UnavailableError("result cache: the node is shutting down"));
  }

  void Start();
  void OnLanded(size_t row, Outcome outcome, const Ref<const RowAnswer>& answer) override;
  void OnDeadline() override {
    End(absl::DeadlineExceededError("request: got no answer before its deadline; allow more time or send less"));
  }
  void OnCancel() override { End(absl::CancelledError("request: cancelled by the client")); }

 private:
  class Ran;

  /// Where a distinct row's answer is from.
  enum class Source : uint8_t { kRun, kMemory, kOtherCall };
  struct DistinctRow {
    Digest digest;
    /// Which row of the call it is first.
    int64_t first;
    Source source = Source::kRun;
  };
  /// A distinct row that is to be run, and whether others may wait for it.
  struct Miss {
    size_t row;
    bool leads;
  };
  /// Those who wait for a row, and what they are told.
  struct Landing {
    std::vector<RowFlights::Waiting> waiting;
    Outcome outcome;
    Ref<const RowAnswer> answer;

    void Tell() const {
      for (const RowFlights::Waiting& one : waiting) one.call->OnLanded(one.index, outcome, answer);
    }
  };

  /// What is to be done once there is nothing left to wait for.
  struct Next {
    absl::Status failed;
    std::vector<size_t> again;
    bool alone = false;
  };

  void FindDistinct();
  void Lookup(absl::Span<const size_t> rows, bool alone);
  Ref<const RowAnswer> Find(size_t row, const RowFlights::Standing& standing, bool alone);
  void Park();
  void RunMisses();
  void RunWhole();
  void OnRan(bool whole, Result result);
  std::vector<Landing> Keep(bool whole, const Result& result);
  std::optional<Next> TakeNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void GoOn(std::optional<Next> next);
  /// Ends it before its rows are there. What of it runs is waited for: the function may go with `done`.
  void End(absl::Status status);
  std::optional<std::vector<Tensor>> Join() const;
  void Finish(Result result);
  void Account();

  ResultCache& cache_;
  const Ref<const RequestContext> context_;
  std::vector<Tensor> inputs_;
  absl::Time start_;
  /// Sources and answers are written by one thread each, and read once all are there.
  absl::InlinedVector<DistinctRow, 1> rows_;
  absl::InlinedVector<Ref<const RowAnswer>, 1> answers_;
  /// Of each row of the call, which distinct one it is.
  absl::InlinedVector<size_t, 1> distinct_;
  /// Distinct rows that run now.
  absl::InlinedVector<Miss, 1> misses_;
  /// Distinct rows that it waits for, or did before they came.
  std::vector<size_t> waits_for_;
  /// How often it has waited for leaders.
  int waits_ = 0;
  /// The outputs of a run that was the whole call.
  std::optional<std::vector<Tensor>> whole_;
  std::optional<WaitDeadlines::Ticket> deadline_;
  bool parked_ = false;

  Mutex mutex_;
  Done done_ ABSL_GUARDED_BY(mutex_);
  /// What it does itself now: looking, running, finishing. Nobody but who does it goes on.
  bool busy_ ABSL_GUARDED_BY(mutex_) = true;
  /// Rows that others compute. Below zero while it looks: those that came before all were counted.
  int64_t awaited_ ABSL_GUARDED_BY(mutex_) = 0;
  /// Rows that others gave up, and whether one of them for good.
  std::vector<size_t> again_ ABSL_GUARDED_BY(mutex_);
  bool alone_ ABSL_GUARDED_BY(mutex_) = false;
  /// Not OK: what it ends with.
  absl::Status failed_ ABSL_GUARDED_BY(mutex_);
};

/// What the function calls; a dropped one becomes an error, so that nobody waits for it for ever. Small enough to lie
/// within a Done.
class ResultCache::Call::Ran {
 public:
  Ran(Ref<Call> call, bool whole) : call_(std::move(call)), whole_(whole) {}
  Ran(Ran&&) noexcept = default;
  ~Ran() {
    if (call_) (*this)(absl::InternalError("result cache: got a completion that was dropped, want one that is called"));
  }
  void operator()(Result result) {
    PORTICO_CHECK(static_cast<bool>(call_));  // Called once.
    const Ref<Call> call = std::exchange(call_, nullptr);
    call->OnRan(whole_, std::move(result));
  }

 private:
  Ref<Call> call_;
  bool whole_;
};

void ResultCache::Call::Start() {
  if (cache_.on_looked_ || context_->MayRecord()) start_ = cache_.clock_.Now();
  FindDistinct();
  answers_.resize(rows_.size());
  absl::InlinedVector<size_t, 1> all(rows_.size());
  absl::c_iota(all, size_t{0});
  Lookup(all, false);
}

void ResultCache::Call::FindDistinct() {
  const auto digests = cache_.digests_.Of(inputs_, *cache_.digests_.RowsOf(inputs_));
  if (digests.size() == 1) {
    rows_.push_back({digests[0], 0});
    distinct_.push_back(0);
    return;
  }
  absl::flat_hash_map<Digest, size_t> known;
  known.reserve(digests.size());
  distinct_.reserve(digests.size());
  for (size_t row = 0; row < digests.size(); ++row) {
    const auto [found, is_new] = known.try_emplace(digests[row], rows_.size());
    if (is_new) rows_.push_back({digests[row], static_cast<int64_t>(row)});
    distinct_.push_back(found->second);
  }
}

/// REQUIRES: busy. `rows` are distinct ones, ascending; `alone`: others that compute them are not waited for.
void ResultCache::Call::Lookup(absl::Span<const size_t> rows, bool alone) {
  const bool is_first = waits_ == 0;
  const RowFlights::Standing standing{context_->priority, absl::HashOf(context_->product), rows.size()};
  misses_.clear();
  waits_for_.clear();
  for (const size_t row : rows) {
    Ref<const RowAnswer> answer = Find(row, standing, alone);
    if (!answer) continue;
    rows_[row].source = Source::kMemory;
    answers_[row] = std::move(answer);
  }
  if (is_first && cache_.on_looked_) {
    cache_.on_looked_(misses_.empty() && waits_for_.empty(), cache_.clock_.Now() - start_);
  }
  if (!waits_for_.empty()) Park();
  const bool runs = !misses_.empty();
  std::optional<Next> next;
  if (!runs || !waits_for_.empty()) {
    MutexLock lock(&mutex_);
    awaited_ += static_cast<int64_t>(waits_for_.size());
    if (!runs) {
      busy_ = false;
      next = TakeNext();
    }
  }
  if (runs) return RunMisses();
  GoOn(std::move(next));
}

/// Looks for one row: its answer, or it becomes a miss or one that is waited for.
Ref<const RowAnswer> ResultCache::Call::Find(size_t row, const RowFlights::Standing& standing, bool alone) {
  const Digest& digest = rows_[row].digest;
  const uint64_t puts = cache_.store_->Puts(digest);
  if (Ref<const RowAnswer> answer = cache_.store_->Get(digest)) return answer;
  const RowFlights::Role role =
      alone ? RowFlights::Role::kAlone : cache_.flights_.Join(digest, standing, Ref<ParkedCall>(this), row);
  if (role == RowFlights::Role::kWait) {
    waits_for_.push_back(row);
    return nullptr;
  }
  const bool leads = role == RowFlights::Role::kLead;
  // It may have come between the look and the flight.
  if (leads && cache_.store_->Puts(digest) != puts) {
    if (Ref<const RowAnswer> answer = cache_.store_->Get(digest)) {
      Landing{cache_.flights_.Land(digest), Outcome::kAnswered, answer}.Tell();
      return answer;
    }
  }
  misses_.push_back({row, leads});
  return nullptr;
}

/// From now on its deadline and its client can end it.
void ResultCache::Call::Park() {
  if (parked_) return;
  parked_ = true;
  if (!context_->deadline.infinite()) {
    deadline_ = cache_.deadlines_.Add(context_->deadline.at(), Ref<ParkedCall>(this));
  }
  context_->cancel_waiters.Add(Ref<CancelHook>(this));
  if (context_->cancelled.load(std::memory_order_seq_cst)) OnCancel();
}

void ResultCache::Call::RunMisses() {
  if (misses_.size() == distinct_.size()) {
    return cache_.function_(context_, std::move(inputs_), Ran(Ref<Call>(this), true));
  }
  std::vector<int64_t> rows;
  rows.reserve(misses_.size());
  for (const Miss& miss : misses_) rows.push_back(rows_[miss.row].first);
  std::vector<Tensor> inputs = inputs_;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (cache_.digests_.row_inputs()[i]) inputs[i] = TakeRows(inputs[i], rows);
  }
  cache_.function_(context_, std::move(inputs), Ran(Ref<Call>(this), false));
}

/// What was put together of several runs does not fit: one run of all rows does.
void ResultCache::Call::RunWhole() {
  for (DistinctRow& row : rows_) row.source = Source::kRun;
  misses_.clear();
  cache_.function_(context_, std::move(inputs_), Ran(Ref<Call>(this), true));
}

/// Keeps the answers of a run. Returns who waits for them, or for what failed. Rows of a `whole` run, whose outputs are
/// the call's answer as they are, are copied for the store and for those who wait.
std::vector<ResultCache::Call::Landing> ResultCache::Call::Keep(bool whole, const Result& result) {
  const bool kept = result.ok() && RowAnswer::HasRows(*result, static_cast<int64_t>(misses_.size())) &&
                    context_->fallbacks.empty() && context_->row_notes.empty();
  const Outcome outcome = kept                                 ? Outcome::kAnswered
                          : SaysNothingOfRows(result.status()) ? Outcome::kLeaderLeft
                                                               : Outcome::kFailed;
  std::vector<Landing> landings;
  for (size_t i = 0; i < misses_.size(); ++i) {
    const auto [row, leads] = misses_[i];
    const Digest& digest = rows_[row].digest;
    const auto ran_row = static_cast<int64_t>(i);
    Ref<const RowAnswer> answer;
    if (kept) answer = cache_.store_->Put(digest, *result, ran_row);
    std::vector<RowFlights::Waiting> waiting;
    // After it can be found: who asks from now on need not wait.
    if (leads) waiting = cache_.flights_.Land(digest);
    if (kept && !answer && (!whole || !waiting.empty())) answer = RowAnswer::Of(*result, ran_row);
    if (!waiting.empty()) landings.push_back({std::move(waiting), outcome, answer});
    if (!whole) answers_[row] = std::move(answer);
  }
  if (kept) cache_.ShowStore();
  return landings;
}

void ResultCache::Call::OnRan(bool whole, Result result) {
  const std::vector<Landing> landings = Keep(whole, result);
  absl::Status ran = result.status();
  if (ran.ok() && whole) whole_ = *std::move(result);
  std::optional<Next> next;
  {
    MutexLock lock(&mutex_);
    busy_ = false;
    if (failed_.ok()) failed_ = std::move(ran);
    next = TakeNext();
  }
  GoOn(std::move(next));
  // The cache may be gone.
  for (const Landing& landing : landings) landing.Tell();
}

void ResultCache::Call::OnLanded(size_t row, Outcome outcome, const Ref<const RowAnswer>& answer) {
  std::optional<Next> next;
  {
    MutexLock lock(&mutex_);
    if (!done_) return;  // Ended meanwhile.
    if (outcome == Outcome::kAnswered) {
      answers_[row] = answer;
      rows_[row].source = Source::kOtherCall;
    } else {
      again_.push_back(row);
      alone_ |= outcome == Outcome::kFailed;
    }
    --awaited_;
    next = TakeNext();
  }
  GoOn(std::move(next));
}

/// Nothing where there is something left to wait for; of those who ask, one is given it.
std::optional<ResultCache::Call::Next> ResultCache::Call::TakeNext() {
  // What has failed does not wait for other calls.
  if (!done_ || busy_ || (awaited_ > 0 && failed_.ok())) return std::nullopt;
  busy_ = true;
  return Next{failed_, std::exchange(again_, {}), std::exchange(alone_, false)};
}

void ResultCache::Call::GoOn(std::optional<Next> next) {
  if (!next.has_value()) return;
  if (!next->failed.ok()) return Finish(std::move(next->failed));
  if (!next->again.empty()) {
    absl::c_sort(next->again);
    return Lookup(next->again, ++waits_ >= kMaxWaits || next->alone);
  }
  std::optional<std::vector<Tensor>> outputs = whole_.has_value() ? std::move(whole_) : Join();
  if (!outputs.has_value()) return RunWhole();
  Finish(*std::move(outputs));
}

void ResultCache::Call::End(absl::Status status) {
  std::optional<Next> next;
  {
    MutexLock lock(&mutex_);
    if (failed_.ok()) failed_ = std::move(status);
    next = TakeNext();
  }
  GoOn(std::move(next));
}

std::optional<std::vector<Tensor>> ResultCache::Call::Join() const {
  if (!absl::c_all_of(answers_, [](const Ref<const RowAnswer>& answer) { return bool{answer}; })) return std::nullopt;
  if (rows_.size() == distinct_.size()) return RowAnswer::Join(answers_);
  std::vector<Ref<const RowAnswer>> rows;
  rows.reserve(distinct_.size());
  for (const size_t row : distinct_) rows.push_back(answers_[row]);
  return RowAnswer::Join(rows);
}

void ResultCache::Call::Finish(Result result) {
  if (parked_) {
    if (deadline_.has_value()) cache_.deadlines_.Remove(*deadline_);
    context_->cancel_waiters.Remove(*this);
  }
  if (result.ok()) Account();
  // From now on it is told nothing: lets go of what it holds.
  std::vector<Tensor> inputs;
  decltype(answers_) answers;
  std::optional<std::vector<Tensor>> whole;  // All freed outside the lock.
  Done done;
  bool is_awaiting;
  {
    MutexLock lock(&mutex_);
    inputs.swap(inputs_);
    answers.swap(answers_);
    whole.swap(whole_);
    done = std::exchange(done_, nullptr);
    is_awaiting = awaited_ > 0;
  }
  // Ended before others have answered: gives its places up.
  if (is_awaiting) {
    for (const size_t row : waits_for_) cache_.flights_.Leave(rows_[row].digest, *this);
  }
  done(std::move(result));
}

/// Counts its rows, and says so in its trace.
void ResultCache::Call::Account() {
  int64_t hits = 0, runs = 0;
  for (size_t row = 0; row < distinct_.size(); ++row) {
    const DistinctRow& distinct = rows_[distinct_[row]];
    hits += distinct.source == Source::kMemory;
    runs += distinct.source == Source::kRun && distinct.first == static_cast<int64_t>(row);
  }
  const auto rows = static_cast<int64_t>(distinct_.size());
  const int64_t coalesced = rows - hits - runs;
  if (hits > 0) cache_.hits_.Add(static_cast<double>(hits));
  if (runs > 0) cache_.misses_.Add(static_cast<double>(runs));
  if (coalesced > 0) cache_.coalesced_.Add(static_cast<double>(coalesced));
  if (!context_->MayRecord()) return;
  const absl::Duration took = cache_.clock_.Now() - start_;
  if (!context_->Records(took)) return;
  Span span;
  span.span_id = NewSpanId();
  span.parent_span_id = context_->trace.parent_span_id;
  span.name = "result cache";
  span.start = start_;
  span.duration = took;
  span.attributes = {{"rows", rows}, {"hits", hits}, {"coalesced", coalesced}};
  context_->spans.Add(std::move(span));
}

ResultCache::ResultCache(Options options, std::shared_ptr<AnswerStore> store, Function function, Executor& workers,
                         Timer& timer, const Clock& clock, MetricRegistry& metrics)
    : digests_(options.model, options.signature, std::move(options.row_inputs)),
      store_(std::move(store)),
      function_(std::move(function)),
      on_looked_(std::move(options.on_looked)),
      workers_(workers),
      clock_(clock),
      first_row_input_(FirstOf(digests_.row_inputs())),
      flights_(options.batch_rows),
      deadlines_(timer, workers, clock),
      hits_(RowsCounter(metrics, options.labels, "hit")),
      misses_(RowsCounter(metrics, options.labels, "miss")),
      coalesced_(RowsCounter(metrics, options.labels, "coalesced")),
      passed_(RowsCounter(metrics, options.labels, "passed")),
      evictions_(metrics.NewCounter("portico_result_cache_evictions_total",
                                    "Kept answers that have made room for others.", options.store_labels)),
      bytes_(metrics.NewGauge("portico_result_cache_bytes", "Memory of kept answers, everything included.",
                              options.store_labels)) {
  bytes_.Set(static_cast<double>(store_->bytes()));
}

ResultCache::~ResultCache() = default;

void ResultCache::ShowStore() {
  const uint64_t bytes = store_->bytes();
  // Nearly always what it was: answers make room for as large ones.
  if (shown_bytes_.load(std::memory_order_relaxed) != bytes) {
    shown_bytes_.store(bytes, std::memory_order_relaxed);
    bytes_.Set(static_cast<double>(bytes));
  }
  if (const uint64_t evictions = store_->TakeEvictions(); evictions > 0) {
    evictions_.Add(static_cast<double>(evictions));
  }
}

void ResultCache::Run(Ref<const RequestContext> context, std::vector<Tensor> inputs, Done done) {
  const std::optional<int64_t> rows = digests_.RowsOf(inputs);
  if (rows.value_or(0) == 0) {
    passed_.Add(static_cast<double>(inputs[first_row_input_].rows()));
    return function_(std::move(context), std::move(inputs), std::move(done));
  }
  const bool is_large = *rows > kInlineRows || BytesOf(inputs) > kInlineBytes;
  const auto call = MakeRef<Call>(*this, std::move(context), std::move(inputs), std::move(done));
  if (!is_large) return call->Start();
  workers_.Schedule([call] { call->Start(); });
}

}  // namespace portico
