#include "node/servables/servables.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/event_thread.h"
#include "base/executor.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "base/version_policy.h"
#include "node/servables/folder_state.h"
#include "node/servables/folder_watcher.h"
#include "node/servables/memory_budget.h"
#include "node/servables/model_versions.h"
#include "node/servables/reaper.h"
#include "node/servables/serving_table.h"
#include "node/servables/waiting_requests.h"

namespace portico {
namespace {

/// Models that are configured no more, as status goes on to tell them.
constexpr size_t kMaxRemoved = 256;
/// How often requests that wait for a load are looked at: has the caller gone, is there room now?
constexpr absl::Duration kSweepPeriod = absl::Milliseconds(20);

absl::Status CheckConfig(const ModelConfig& model) {
  if (model.name.empty()) return absl::InvalidArgumentError("model: got no name, want one");
  const std::string subject = absl::StrCat("model '", model.name, "'");
  if (model.base_path.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(subject, ": got no base folder, want the folder with its version folders"));
  }
  if (absl::Status status = CheckVersionPolicy(model.versions); !status.ok()) return WithContext(subject, status);
  for (const auto& [label, version] : model.labels) {
    if (!label.empty() && version >= 0) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(subject, ": got label '", label, "' for version ", version, ", want a name and a version"));
  }
  return absl::OkStatus();
}

absl::Status NotServed(const ServableRef& ref, int64_t version) {
  return absl::NotFoundError(
      version < 0 ? absl::StrCat("Servable not found for request: Latest(", ref.name, ")")
                  : absl::StrCat("Servable not found for request: Specific(", ref.name, ", ", version, ")"));
}

absl::Status NoSuchLabel(const std::string& label) {
  return absl::InvalidArgumentError(absl::StrCat("Unrecognized servable version label: ", label));
}

}  // namespace

/// Everything that happens ends in Advance() of the model that it happened to, under the lock: the model's state
/// machine says what is to be done, which is begun there and goes on elsewhere. What may take long or calls others
/// (last references, callbacks) is left in an Aftermath, for after the lock.
class Servables::Impl {
 public:
  Impl(Options options, Servable::Dependencies dependencies)
      : options_(std::move(options)),
        dependencies_(dependencies),
        table_(dependencies.clock),
        waiting_(options_.max_waiting_requests),
        reaper_([this](const std::string& name, int64_t version) { OnGone(name, version); }),
        timer_("versions", dependencies.clock),
        loaders_({.threads = std::max(1, options_.load_threads), .name = "loader", .nice = 10}),
        watcher_({.period = options_.poll_period},
                 [this](const std::string& name, uint64_t number, const FolderWatcher::Listing& listing) {
                   OnListed(name, number, listing);
                 }) {}

  ~Impl() {
    Stop();
    Aftermath after;
    MutexLock lock(&mutex_);
    for (auto& [name, entry] : entries_) {
      table_.Set(name, nullptr);
      for (auto& [version, servable] : entry.available) after.dropped.push_back(std::move(servable));
      entry.available.clear();
    }
  }

  absl::Status Configure(std::vector<ModelConfig> models);
  void WhenSettled(std::optional<std::string> model, Deadline deadline, SettledDone done);
  absl::Status SetUnloaded(const std::string& name, bool unloaded);
  void Acquire(const ServableRef& ref, const Ref<const RequestContext>& context, AcquireDone done);
  ServablesMemory Memory() const;
  std::vector<ModelIndex> Index() const;
  absl::StatusOr<std::shared_ptr<const Servable>> Resolve(const ServableRef& ref) const;
  bool Has(absl::string_view name) const;
  absl::StatusOr<std::vector<VersionStatus>> Status(const ServableRef& ref) const;
  std::vector<std::shared_ptr<const Servable>> Available() const;
  std::vector<std::string> Names() const;
  absl::Status Ready() const;
  void Stop();

 private:
  struct Entry {
    ModelVersions versions;
    /// Tells listings of one configuration from those of another.
    uint64_t number = 0;
    std::map<int64_t, std::shared_ptr<const Servable>> available;
    /// Withdrawn, and perhaps still held by requests.
    std::map<int64_t, std::weak_ptr<const Servable>> unloading;
    /// Of those in `available` and `unloading`: what they take.
    std::map<int64_t, uint64_t> bytes;
    /// As the table has it; null where it has none.
    std::shared_ptr<const ServingModel> published;
    /// Whether it counts as settled, not among `unsettled_`.
    bool counted_settled = true;
    /// On demand: it is in `demands_`; what it will take, once that is known; an operator asked for it.
    bool queued = false;
    std::optional<uint64_t> estimate;
    bool asked_for = false;
    /// What the folder of a version that failed looked like.
    std::map<int64_t, FolderState> failed_folders;
    /// A timer for the next try is set for then.
    absl::Time timer_at = absl::InfiniteFuture();
  };
  struct SettledWaiter {
    std::optional<std::string> model;
    SettledDone done;
  };
  /// What is left to do once the lock is open. It is declared before the lock is taken.
  struct Aftermath {
    std::vector<std::shared_ptr<const Servable>> dropped;
    std::vector<std::pair<SettledDone, absl::Status>> settled;
    std::vector<WaitingRequests::Finished> acquired;
    bool changed = false;
  };

  absl::Status CheckLabels(const ModelConfig& model) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Advance(const std::string& name, Entry& entry, Aftermath* after) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Publish(const std::string& name, Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SetRetryTimer(const std::string& name, Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void NoteSettled(Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CheckSettled(Aftermath* after) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// Nothing settles any more.
  void FailWaiters(Aftermath* after) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::optional<absl::Status> SettledNow(const std::optional<std::string>& model) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ForgetRemoved() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // On demand: a request waits, its model is measured, others make room, it is loaded, the request goes on.
  void Demand(const std::string& name, Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Measure(const std::string& name);
  void ServeDemands(Aftermath* after) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::vector<ResidentModel> Resident() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FinishWaiting(const std::string& name, const Entry& entry, Aftermath* after)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FailWaiting(const std::string& name, const absl::Status& status, Aftermath* after)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void StartSweep() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnSweep();

  /// REQUIRES: not under the lock.
  void Finish(Aftermath after);

  void OnListed(const std::string& name, uint64_t number, const FolderWatcher::Listing& listing);
  void OnRetryTimer(const std::string& name);
  void OnGone(const std::string& name, int64_t version);
  void OnDeadline(uint64_t waiter);
  void LoadVersion(const std::string& name, const VersionFolder& folder);
  absl::StatusOr<std::shared_ptr<const Servable>> ReadVersion(const ModelConfig& config, const VersionFolder& folder);
  absl::StatusOr<std::shared_ptr<const Servable>> ResolveSlowly(const ServableRef& ref) const;

  const Options options_;
  const Servable::Dependencies dependencies_;
  WeightStore weights_;
  ServingTable table_;
  std::atomic<bool> stopping_{false};
  mutable Mutex mutex_;
  std::map<std::string, Entry, std::less<>> entries_ ABSL_GUARDED_BY(mutex_);
  uint64_t configurations_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, SettledWaiter> waiters_ ABSL_GUARDED_BY(mutex_);
  uint64_t last_waiter_ ABSL_GUARDED_BY(mutex_) = 0;
  /// Configured models that are not settled.
  int64_t unsettled_ ABSL_GUARDED_BY(mutex_) = 0;
  WaitingRequests waiting_ ABSL_GUARDED_BY(mutex_);
  /// Models that are to be loaded on demand, first come first served.
  std::deque<std::string> demands_ ABSL_GUARDED_BY(mutex_);
  bool sweeping_ ABSL_GUARDED_BY(mutex_) = false;
  /// Orders the calls of on_change.
  Mutex change_mutex_;
  bool silent_ ABSL_GUARDED_BY(change_mutex_) = false;
  Reaper reaper_;
  EventThread timer_;
  ThreadPool loaders_;
  FolderWatcher watcher_;
};

absl::Status Servables::Impl::CheckLabels(const ModelConfig& model) const {
  const auto entry = entries_.find(model.name);
  if (options_.labels_may_wait || entry == entries_.end() || entry->second.available.empty()) return absl::OkStatus();
  for (const auto& [label, version] : model.labels) {
    if (entry->second.available.contains(version)) continue;
    return absl::FailedPreconditionError(absl::StrCat("Request to assign label to version ", version, " of model ",
                                                      model.name, ", which is not currently available for inference"));
  }
  return absl::OkStatus();
}

absl::Status Servables::Impl::Configure(std::vector<ModelConfig> models) {
  std::set<std::string, std::less<>> names;
  for (ModelConfig& model : models) {
    RETURN_IF_ERROR(CheckConfig(model));
    if (!names.insert(model.name).second) {
      return absl::InvalidArgumentError(absl::StrCat("model '", model.name, "': got a second base folder '",
                                                     model.base_path, "', want one per name; rename one of the two"));
    }
    model.on_demand |= options_.on_demand;
  }
  ModelVersions::Options versions;
  versions.load_retries = options_.load_retries;
  versions.load_retry_delay = options_.load_retry_delay;
  versions.unload_on_empty = options_.unload_on_empty;
  Aftermath after;
  {
    MutexLock lock(&mutex_);
    for (const ModelConfig& model : models) RETURN_IF_ERROR(CheckLabels(model));
    for (auto& [name, entry] : entries_) {
      if (names.contains(name) || !entry.versions.configured()) continue;
      watcher_.Forget(name);
      entry.versions.Remove();
      Advance(name, entry, &after);
    }
    for (const ModelConfig& model : models) {
      Entry& entry = entries_[model.name];
      entry.versions.Configure(model, versions);
      entry.number = ++configurations_;
      NoteSettled(entry);
      // Not before it is listed, so that an old listing meets a new policy nowhere.
      watcher_.Watch(model.name, model.base_path, entry.number);
    }
    ForgetRemoved();
    CheckSettled(&after);
    // Under the lock, so that the last configuration is the last one told.
    if (options_.on_configure) options_.on_configure(models);
  }
  Finish(std::move(after));
  return absl::OkStatus();
}

void Servables::Impl::ForgetRemoved() {
  size_t removed = 0;
  for (auto it = entries_.begin(); it != entries_.end();) {
    const bool goes = !it->second.versions.configured() && it->second.versions.idle() && ++removed > kMaxRemoved;
    it = goes ? entries_.erase(it) : std::next(it);
  }
}

void Servables::Impl::OnListed(const std::string& name, uint64_t number, const FolderWatcher::Listing& listing) {
  std::vector<VersionFolder> failed;
  {
    MutexLock lock(&mutex_);
    const auto entry = entries_.find(name);
    if (entry == entries_.end() || entry->second.number != number) return;
    failed = entry->second.versions.Failed();
  }
  std::map<int64_t, FolderState> now;
  for (const VersionFolder& folder : failed) now[folder.version] = LookAtFolder(folder.folder);
  Aftermath after;
  {
    MutexLock lock(&mutex_);
    const auto found = entries_.find(name);
    if (found == entries_.end() || found->second.number != number) return;
    Entry& entry = found->second;
    const absl::Status before = entry.versions.listing();
    entry.versions.Listed(listing);
    const absl::Status& status = entry.versions.listing();
    if (status != before) {
      if (!status.ok()) LogError(status.message());
      if (status.ok()) LogInfo(absl::StrCat("model '", name, "': its folder can be listed again"));
    }
    for (const auto& [version, state] : now) {
      if (!(state == entry.failed_folders[version])) entry.versions.Changed(version);
    }
    // Somebody asked for it before it was known what is there.
    if (entry.queued && !entry.estimate.has_value()) loaders_.Schedule([this, name] { Measure(name); });
    Advance(name, entry, &after);
  }
  Finish(std::move(after));
}

void Servables::Impl::Advance(const std::string& name, Entry& entry, Aftermath* after) {
  if (stopping_.load(std::memory_order_relaxed)) return CheckSettled(after);
  const ModelVersions::Steps steps = entry.versions.Next(dependencies_.clock.Now());
  for (const int64_t version : steps.revive) {
    const auto held = entry.unloading.find(version);
    std::shared_ptr<const Servable> servable = held == entry.unloading.end() ? nullptr : held->second.lock();
    if (servable == nullptr) continue;  // OnGone() comes.
    entry.unloading.erase(held);
    entry.available[version] = std::move(servable);
    entry.versions.Revived(version);
    after->changed = true;
  }
  for (const int64_t version : steps.withdraw) {
    const auto servable = entry.available.find(version);
    entry.unloading[version] = servable->second;
    after->dropped.push_back(std::move(servable->second));
    entry.available.erase(servable);
    after->changed = true;
    LogInfo(absl::StrCat("model '", name, "' version ", version, " is being unloaded"));
  }
  for (const VersionFolder& folder : steps.load) {
    loaders_.Schedule([this, name, folder] { LoadVersion(name, folder); });
  }
  Publish(name, entry);
  FinishWaiting(name, entry, after);
  SetRetryTimer(name, entry);
  NoteSettled(entry);
  CheckSettled(after);
}

void Servables::Impl::Publish(const std::string& name, Entry& entry) {
  std::shared_ptr<ServingModel> model;
  if (!entry.available.empty()) {
    model = std::make_shared<ServingModel>();
    model->versions.assign(entry.available.begin(), entry.available.end());
    model->labels = entry.versions.labels();
    model->on_demand = entry.versions.on_demand();
    model->last_used = absl::ToUnixNanos(dependencies_.clock.Now());
  }
  const ServingModel* const old = entry.published.get();
  const bool same = model == nullptr ? old == nullptr
                                     : old != nullptr && old->versions == model->versions &&
                                           old->labels == model->labels && old->on_demand == model->on_demand;
  if (same) return;
  table_.Set(name, model);
  entry.published = std::move(model);
}

void Servables::Impl::SetRetryTimer(const std::string& name, Entry& entry) {
  const absl::Time next = entry.versions.NextRetry();
  if (next >= entry.timer_at || next == absl::InfiniteFuture()) return;
  entry.timer_at = next;
  timer_.At(next, [this, name] { OnRetryTimer(name); });
}

void Servables::Impl::OnRetryTimer(const std::string& name) {
  Aftermath after;
  {
    MutexLock lock(&mutex_);
    const auto entry = entries_.find(name);
    if (entry == entries_.end()) return;
    entry->second.timer_at = absl::InfiniteFuture();
    Advance(name, entry->second, &after);
  }
  Finish(std::move(after));
}

void Servables::Impl::LoadVersion(const std::string& name, const VersionFolder& folder) {
  ModelConfig config;
  bool wanted = false;
  {
    MutexLock lock(&mutex_);
    Entry& entry = entries_.find(name)->second;
    config = entry.versions.config();
    wanted = !stopping_.load(std::memory_order_relaxed) && entry.versions.wanted(folder.version);
  }
  const FolderState before = LookAtFolder(folder.folder);
  absl::StatusOr<std::shared_ptr<const Servable>> servable = absl::CancelledError();
  const absl::Time start = dependencies_.clock.Now();
  if (wanted) servable = ReadVersion(config, folder);
  if (servable.ok() && !(LookAtFolder(folder.folder) == before)) {
    servable = absl::UnavailableError(absl::StrCat("folder '", folder.folder,
                                                   "': got changes while it was being read, want it whole; it is read "
                                                   "again"));
  }
  absl::Status status = servable.status();
  if (!status.ok()) status = WithContext(absl::StrCat("model '", name, "' version ", folder.version), status);
  if (wanted) {
    MetricRegistry& metrics = dependencies_.metrics;
    const MetricLabels labels = {{"model", name}, {"result", status.ok() ? "ok" : "failed"}};
    metrics.NewCounter("portico_model_loads_total", "Versions read, by what came of it.", labels).Increment();
    metrics.NewCounter("portico_model_load_seconds_total", "Time that reading versions took, warm-up included.", labels)
        .Add(absl::ToDoubleSeconds(dependencies_.clock.Now() - start));
  }
  Aftermath after;
  {
    MutexLock lock(&mutex_);
    Entry& entry = entries_.find(name)->second;
    if (!wanted) {
      entry.versions.Gone(folder.version);
    } else {
      entry.versions.Loaded(folder.version, status, dependencies_.clock.Now());
    }
    if (status.ok()) {
      LogInfo(absl::StrCat("model '", name, "' version ", folder.version, " is available (",
                           (*servable)->digest().Short(), ", ", (*servable)->weight_bytes(), " bytes of weights)"));
      entry.bytes[folder.version] = std::max(before.bytes, (*servable)->weight_bytes());
      entry.available[folder.version] = reaper_.Adopt(*std::move(servable));
      entry.failed_folders.erase(folder.version);
      after.changed = true;
    } else if (wanted) {
      const absl::Time next = entry.versions.NextRetry();
      LogError(absl::StrCat(status.message(), next == absl::InfiniteFuture()
                                                  ? "; not tried again until its folder changes"
                                                  : absl::StrCat("; next try at ", absl::FormatTime(next))));
      entry.failed_folders[folder.version] = before;
      // Its folder may have changed since.
      watcher_.Look(name);
    }
    Advance(name, entry, &after);
  }
  Finish(std::move(after));
}

absl::StatusOr<std::shared_ptr<const Servable>> Servables::Impl::ReadVersion(const ModelConfig& config,
                                                                             const VersionFolder& folder) {
  ASSIGN_OR_RETURN(Package package, LoadPackage(config.name, folder.folder, weights_));
  if (config.batching.has_value()) {
    package.batching = *config.batching;
  } else if (options_.batching.has_value()) {
    package.batching = *options_.batching;
  }
  ASSIGN_OR_RETURN(std::shared_ptr<const Servable> servable, Servable::Load(std::move(package), dependencies_));
  RETURN_IF_ERROR(WarmUp(servable, folder.folder, options_.warmup, dependencies_.clock, dependencies_.metrics,
                         [this] { return stopping_.load(std::memory_order_relaxed); }));
  return servable;
}

void Servables::Impl::OnGone(const std::string& name, int64_t version) {
  if (stopping_.load(std::memory_order_relaxed)) return;
  LogInfo(absl::StrCat("model '", name, "' version ", version, " is unloaded"));
  Aftermath after;
  {
    MutexLock lock(&mutex_);
    const auto entry = entries_.find(name);
    if (entry == entries_.end()) return;
    entry->second.unloading.erase(version);
    entry->second.bytes.erase(version);
    entry->second.versions.Gone(version);
    Advance(name, entry->second, &after);
    ServeDemands(&after);
  }
  Finish(std::move(after));
}

void Servables::Impl::NoteSettled(Entry& entry) {
  // Entries start settled as far as the count goes: those that are not configured are.
  const bool settled = entry.versions.Settled().has_value();
  if (settled != entry.counted_settled) unsettled_ += settled ? -1 : 1;
  entry.counted_settled = settled;
}

std::optional<absl::Status> Servables::Impl::SettledNow(const std::optional<std::string>& model) const {
  if (!model.has_value() && unsettled_ > 0) return std::nullopt;
  std::vector<std::string> errors;
  absl::StatusCode code = absl::StatusCode::kOk;
  const auto add = [&](const Entry& entry) {
    const std::optional<absl::Status> status = entry.versions.Settled();
    if (!status.has_value()) return false;
    if (status->ok()) return true;
    if (errors.empty()) code = status->code();
    errors.emplace_back(status->message());
    return true;
  };
  if (model.has_value()) {
    const auto entry = entries_.find(*model);
    if (entry != entries_.end() && !add(entry->second)) return std::nullopt;
  } else {
    for (const auto& [name, entry] : entries_) {
      if (!add(entry)) return std::nullopt;
    }
  }
  return absl::Status(code, absl::StrJoin(errors, "; "));
}

void Servables::Impl::CheckSettled(Aftermath* after) {
  for (auto it = waiters_.begin(); it != waiters_.end();) {
    std::optional<absl::Status> status = SettledNow(it->second.model);
    if (stopping_.load(std::memory_order_relaxed)) status = absl::UnavailableError("servables: stopping");
    if (!status.has_value()) {
      ++it;
      continue;
    }
    after->settled.emplace_back(std::move(it->second.done), *std::move(status));
    it = waiters_.erase(it);
  }
}

void Servables::Impl::FailWaiters(Aftermath* after) {
  for (auto& [id, waiter] : waiters_) {
    after->settled.emplace_back(std::move(waiter.done), absl::UnavailableError("models: the node is shutting down"));
  }
  waiters_.clear();
}

void Servables::Impl::WhenSettled(std::optional<std::string> model, Deadline deadline, SettledDone done) {
  Aftermath after;
  {
    MutexLock lock(&mutex_);
    const uint64_t id = ++last_waiter_;
    waiters_.emplace(id, SettledWaiter{std::move(model), std::move(done)});
    CheckSettled(&after);
    if (stopping_.load(std::memory_order_relaxed)) FailWaiters(&after);
    if (waiters_.contains(id) && !deadline.infinite()) timer_.At(deadline.at(), [this, id] { OnDeadline(id); });
  }
  Finish(std::move(after));
}

void Servables::Impl::OnDeadline(uint64_t waiter) {
  Aftermath after;
  {
    MutexLock lock(&mutex_);
    const auto found = waiters_.find(waiter);
    if (found == waiters_.end()) return;
    std::vector<std::string> waited;
    for (const auto& [name, entry] : entries_) {
      if (found->second.model.has_value() && name != *found->second.model) continue;
      if (!entry.versions.Settled().has_value()) waited.push_back(name);
    }
    after.settled.emplace_back(
        std::move(found->second.done),
        absl::DeadlineExceededError(absl::StrCat("models still loading: ", absl::StrJoin(waited, ", "))));
    waiters_.erase(found);
  }
  Finish(std::move(after));
}

void Servables::Impl::Finish(Aftermath after) {
  if (after.changed && options_.on_change) {
    MutexLock lock(&change_mutex_);
    if (!silent_) options_.on_change();
  }
  after.dropped.clear();
  for (auto& [done, status] : after.settled) done(std::move(status));
  // Requests go on where requests do, not on a niced thread.
  for (WaitingRequests::Finished& finished : after.acquired) {
    dependencies_.workers.Schedule(
        [done = std::move(finished.done), result = std::move(finished.result)]() mutable { done(std::move(result)); });
  }
}

absl::Status Servables::Impl::SetUnloaded(const std::string& name, bool unloaded) {
  Aftermath after;
  {
    MutexLock lock(&mutex_);
    const auto entry = entries_.find(name);
    if (entry == entries_.end() || !entry->second.versions.configured()) {
      return absl::NotFoundError(
          absl::StrCat("model '", name, "': got a name that is not configured, want one that is"));
    }
    entry->second.versions.SetUnloaded(unloaded);
    if (unloaded) entry->second.versions.SetDemanded(false);
    if (!unloaded && entry->second.versions.on_demand()) {
      entry->second.asked_for = true;
      Demand(name, entry->second);
    }
    Advance(name, entry->second, &after);
  }
  Finish(std::move(after));
  return absl::OkStatus();
}

void Servables::Impl::Acquire(const ServableRef& ref, const Ref<const RequestContext>& context, AcquireDone done) {
  if (std::shared_ptr<const Servable> servable = table_.Find(ref); servable != nullptr) {
    return done(std::move(servable));
  }
  Aftermath after;
  absl::Status full;
  bool waits = false;
  {
    MutexLock lock(&mutex_);
    const auto found = entries_.find(ref.name);
    const bool stopping = stopping_.load(std::memory_order_relaxed);
    if (found != entries_.end() && found->second.versions.configured() && found->second.versions.on_demand() &&
        !found->second.versions.unloaded() && !stopping) {
      Entry& entry = found->second;
      WaitingRequests::Request request{ref, context, std::move(done)};
      full = waiting_.Add(std::move(request));
      waits = full.ok();
      if (waits) {
        Demand(ref.name, entry);
        FinishWaiting(ref.name, entry, &after);
        StartSweep();
      } else {
        done = std::move(request.done);
      }
    }
  }
  if (waits) return Finish(std::move(after));
  if (!full.ok()) return done(std::move(full));
  absl::StatusOr<std::shared_ptr<const Servable>> servable = ResolveSlowly(ref);
  if (!servable.ok()) {
    // Without the name: clients may make up as many as they like.
    dependencies_.metrics
        .NewCounter("portico_requests_unresolved_total",
                    "Requests for a model, version or label that is not served; names of models are not told apart.",
                    {{"model", "(unknown)"}, {"code", absl::StatusCodeToString(servable.status().code())}})
        .Increment();
  }
  done(std::move(servable));
}

void Servables::Impl::Demand(const std::string& name, Entry& entry) {
  if (entry.versions.demanded() || entry.queued) return;
  entry.queued = true;
  entry.estimate.reset();
  demands_.push_back(name);
  // Until it is listed there is nothing to measure.
  if (entry.versions.listed()) loaders_.Schedule([this, name] { Measure(name); });
}

void Servables::Impl::Measure(const std::string& name) {
  std::vector<VersionFolder> folders;
  {
    MutexLock lock(&mutex_);
    const auto entry = entries_.find(name);
    if (entry == entries_.end()) return;
    folders = entry->second.versions.ToLoad();
  }
  uint64_t bytes = 0;
  for (const VersionFolder& folder : folders) bytes += LookAtFolder(folder.folder).bytes;
  Aftermath after;
  {
    MutexLock lock(&mutex_);
    const auto entry = entries_.find(name);
    if (entry == entries_.end() || !entry->second.queued) return;
    entry->second.estimate = bytes;
    ServeDemands(&after);
  }
  Finish(std::move(after));
}

void Servables::Impl::ServeDemands(Aftermath* after) {
  size_t at = 0;
  while (at < demands_.size() && !stopping_.load(std::memory_order_relaxed)) {
    const std::string name = demands_[at];
    const auto found = entries_.find(name);
    const bool wanted = found != entries_.end() && (waiting_.Has(name) || found->second.asked_for);
    if (wanted && !found->second.estimate.has_value()) {
      ++at;  // Its folder is being looked at, which may take; others go on.
      continue;
    }
    BudgetDecision decision;
    if (wanted) decision = DecideLoad(options_.memory_budget_bytes, name, *found->second.estimate, Resident());
    for (const std::string& other : decision.unload) {
      Entry& idle = entries_.find(other)->second;
      idle.versions.SetDemanded(false);
      Advance(other, idle, after);
    }
    if (wanted && decision.possible.ok() && !decision.fits) return;  // Until others have gone: OnGone(), OnSweep().
    demands_.erase(demands_.begin() + static_cast<ptrdiff_t>(at));
    if (found == entries_.end()) continue;
    Entry& entry = found->second;
    entry.queued = false;
    entry.asked_for = false;
    if (!wanted) continue;
    if (!decision.possible.ok()) {
      FailWaiting(name, decision.possible, after);
      continue;
    }
    entry.versions.SetDemanded(true);
    Advance(name, entry, after);
  }
}

std::vector<ResidentModel> Servables::Impl::Resident() const {
  std::vector<ResidentModel> resident;
  for (const auto& [name, entry] : entries_) {
    const bool loading = entry.versions.demanded() && !entry.versions.Settled().has_value();
    if (entry.bytes.empty() && !loading) continue;
    ResidentModel model;
    model.name = name;
    model.fixed = !entry.versions.on_demand() && entry.versions.configured();
    // The entry's own reference and the table's.
    model.idle = entry.versions.on_demand() && !loading && !waiting_.Has(name) &&
                 std::all_of(entry.available.begin(), entry.available.end(),
                             [](const auto& version) { return version.second.use_count() <= 2; });
    for (const auto& [version, bytes] : entry.bytes) {
      (entry.available.contains(version) ? model.bytes : model.leaving_bytes) += bytes;
    }
    if (loading) model.bytes = std::max(model.bytes, entry.estimate.value_or(0));
    if (entry.published != nullptr) model.last_used = entry.published->last_used.load(std::memory_order_relaxed);
    resident.push_back(std::move(model));
  }
  return resident;
}

void Servables::Impl::FinishWaiting(const std::string& name, const Entry& entry, Aftermath* after) {
  if (!waiting_.Has(name)) return;
  const ModelVersions& versions = entry.versions;
  const std::optional<absl::Status> settled = versions.Settled();
  auto finished = waiting_.Take(name, [&](const ServableRef& ref) -> std::optional<WaitingRequests::Result> {
    if (std::shared_ptr<const Servable> servable = table_.Find(ref); servable != nullptr) return servable;
    if (!versions.configured() || !settled.has_value()) {
      if (versions.configured()) return std::nullopt;
      return NotServed(ref, ref.version);
    }
    if (!ref.label.empty() && !versions.config().labels.contains(ref.label)) return NoSuchLabel(ref.label);
    // Nothing is loaded for a version that there is not.
    if (ref.version >= 0 && !versions.folders().contains(ref.version)) return NotServed(ref, ref.version);
    if (!settled->ok()) {
      return absl::UnavailableError(absl::StrCat("could not be loaded on demand: ", settled->message()));
    }
    if (!versions.demanded()) return std::nullopt;
    return NotServed(ref, ref.version);
  });
  for (WaitingRequests::Finished& one : finished) after->acquired.push_back(std::move(one));
}

void Servables::Impl::FailWaiting(const std::string& name, const absl::Status& status, Aftermath* after) {
  auto failed = waiting_.Take(name, [&](const ServableRef&) -> std::optional<WaitingRequests::Result> {
    return WaitingRequests::Result(status);
  });
  for (WaitingRequests::Finished& one : failed) after->acquired.push_back(std::move(one));
}

void Servables::Impl::StartSweep() {
  if (sweeping_ || waiting_.size() == 0) return;
  sweeping_ = true;
  timer_.At(dependencies_.clock.Now() + kSweepPeriod, [this] { OnSweep(); });
}

void Servables::Impl::OnSweep() {
  Aftermath after;
  {
    MutexLock lock(&mutex_);
    sweeping_ = false;
    after.acquired = waiting_.TakeDead(dependencies_.clock);
    ServeDemands(&after);
    StartSweep();
  }
  Finish(std::move(after));
}

ServablesMemory Servables::Impl::Memory() const {
  ServablesMemory memory;
  memory.weight_bytes = weights_.bytes();
  memory.budget_bytes = options_.memory_budget_bytes;
  MutexLock lock(&mutex_);
  memory.waiting_requests = waiting_.size();
  for (const ResidentModel& model : Resident()) {
    const Entry& entry = entries_.find(model.name)->second;
    uint64_t available = 0;
    for (const auto& [version, bytes] : entry.bytes) {
      const bool serves = entry.available.contains(version);
      memory.versions.push_back(
          {model.name, version, serves ? VersionState::kAvailable : VersionState::kUnloading, bytes});
      (serves ? available : memory.pinned_bytes) += bytes;
    }
    memory.loading_bytes += model.bytes - available;
  }
  return memory;
}

std::vector<ModelIndex> Servables::Impl::Index() const {
  MutexLock lock(&mutex_);
  std::vector<ModelIndex> index;
  for (const auto& [name, entry] : entries_) {
    const ModelVersions& versions = entry.versions;
    if (!versions.configured()) continue;
    index.push_back({name, versions.Statuses(), versions.listing(), versions.unloaded(), versions.on_demand()});
  }
  return index;
}

absl::StatusOr<std::shared_ptr<const Servable>> Servables::Impl::Resolve(const ServableRef& ref) const {
  std::shared_ptr<const Servable> servable = table_.Find(ref);
  if (servable != nullptr) return servable;
  return ResolveSlowly(ref);
}

absl::StatusOr<std::shared_ptr<const Servable>> Servables::Impl::ResolveSlowly(const ServableRef& ref) const {
  MutexLock lock(&mutex_);
  const auto found = entries_.find(ref.name);
  const bool known = found != entries_.end() && found->second.versions.configured();
  int64_t version = ref.version;
  if (!ref.label.empty()) {
    if (!known) return NoSuchLabel(ref.label);
    const auto& labels = found->second.versions.config().labels;
    const auto label = labels.find(ref.label);
    if (label == labels.end()) return NoSuchLabel(ref.label);
    version = label->second;
  }
  if (!known) return NotServed(ref, version);
  const Entry& entry = found->second;
  if (ref.digest.empty() || entry.available.empty()) return NotServed(ref, version);
  // Callers may name a version that has just been withdrawn: they have not heard of it yet.
  for (const auto& [withdrawn, held] : entry.unloading) {
    std::shared_ptr<const Servable> servable = held.lock();
    if (servable != nullptr && servable->digest() == ref.digest) return servable;
  }
  return absl::FailedPreconditionError(
      absl::StrCat("servable '", ref.name, "': got digest ", entry.available.rbegin()->second->digest().Short(),
                   ", want ", ref.digest.Short(), "; serve the version that the caller was split from"));
}

bool Servables::Impl::Has(absl::string_view name) const {
  MutexLock lock(&mutex_);
  const auto entry = entries_.find(name);
  return entry != entries_.end() && entry->second.versions.configured();
}

absl::StatusOr<std::vector<VersionStatus>> Servables::Impl::Status(const ServableRef& ref) const {
  MutexLock lock(&mutex_);
  const auto entry = entries_.find(ref.name);
  int64_t wanted = ref.version;
  if (!ref.label.empty()) {
    if (entry == entries_.end()) return NoSuchLabel(ref.label);
    const ModelVersions& versions = entry->second.versions;
    const auto label = versions.labels().find(ref.label);
    const auto configured = versions.config().labels.find(ref.label);
    if (label == versions.labels().end() && configured == versions.config().labels.end()) return NoSuchLabel(ref.label);
    wanted = label != versions.labels().end() ? label->second : configured->second;
  }
  std::vector<VersionStatus> statuses;
  if (entry != entries_.end()) statuses = entry->second.versions.Statuses();
  if (statuses.empty()) {
    return absl::NotFoundError(absl::StrCat("Could not find any versions of model ", ref.name));
  }
  if (wanted < 0) return statuses;
  const auto found = std::find_if(statuses.begin(), statuses.end(),
                                  [&](const VersionStatus& status) { return status.version == wanted; });
  if (found != statuses.end()) return std::vector<VersionStatus>{*found};
  // As ServingModel::Find() has it.
  if (wanted == 0 && ref.label.empty()) return statuses;
  return absl::NotFoundError(absl::StrCat("Could not find version ", wanted, " of model ", ref.name));
}

std::vector<std::shared_ptr<const Servable>> Servables::Impl::Available() const {
  MutexLock lock(&mutex_);
  std::vector<std::shared_ptr<const Servable>> all;
  for (const auto& [name, entry] : entries_) {
    for (const auto& [version, servable] : entry.available) all.push_back(servable);
  }
  return all;
}

std::vector<std::string> Servables::Impl::Names() const {
  MutexLock lock(&mutex_);
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) {
    if (entry.versions.configured()) names.push_back(name);
  }
  return names;
}

absl::Status Servables::Impl::Ready() const {
  MutexLock lock(&mutex_);
  std::vector<std::string> missing;
  for (const auto& [name, entry] : entries_) {
    const absl::Status status = entry.versions.Ready();
    if (!status.ok()) missing.emplace_back(status.message());
  }
  return missing.empty() ? absl::OkStatus() : absl::UnavailableError(absl::StrJoin(missing, "; "));
}

void Servables::Impl::Stop() {
  stopping_.store(true, std::memory_order_relaxed);
  watcher_.Stop();
  loaders_.Stop();
  {
    MutexLock lock(&change_mutex_);
    silent_ = true;
  }
  Aftermath after;
  {
    MutexLock lock(&mutex_);
    CheckSettled(&after);
    FailWaiters(&after);
    for (const auto& [name, entry] : entries_) {
      FailWaiting(name, absl::UnavailableError(absl::StrCat("model '", name, "': the node is shutting down")), &after);
    }
  }
  Finish(std::move(after));
}

Servables::Servables(Options options, Servable::Dependencies dependencies)
    : impl_(std::make_unique<Impl>(std::move(options), dependencies)) {}
Servables::~Servables() = default;

absl::Status Servables::Configure(std::vector<ModelConfig> models) { return impl_->Configure(std::move(models)); }
void Servables::WhenSettled(Deadline deadline, SettledDone done) {
  impl_->WhenSettled(std::nullopt, deadline, std::move(done));
}
void Servables::WhenSettled(const std::string& model, Deadline deadline, SettledDone done) {
  impl_->WhenSettled(model, deadline, std::move(done));
}
absl::Status Servables::Load(const std::string& name) { return impl_->SetUnloaded(name, false); }
absl::Status Servables::Unload(const std::string& name) { return impl_->SetUnloaded(name, true); }
std::vector<ModelIndex> Servables::Index() const { return impl_->Index(); }
absl::StatusOr<std::shared_ptr<const Servable>> Servables::Resolve(const ServableRef& ref) const {
  return impl_->Resolve(ref);
}
void Servables::Acquire(const ServableRef& ref, const Ref<const RequestContext>& context, AcquireDone done) {
  impl_->Acquire(ref, context, std::move(done));
}
ServablesMemory Servables::Memory() const { return impl_->Memory(); }
bool Servables::Has(absl::string_view name) const { return impl_->Has(name); }
absl::StatusOr<std::vector<VersionStatus>> Servables::Status(const ServableRef& ref) const {
  return impl_->Status(ref);
}
std::vector<std::shared_ptr<const Servable>> Servables::Available() const { return impl_->Available(); }
std::vector<std::string> Servables::Names() const { return impl_->Names(); }
absl::Status Servables::Ready() const { return impl_->Ready(); }
void Servables::Stop() { impl_->Stop(); }

}  // namespace portico
