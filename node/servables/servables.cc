#include "node/servables/servables.h"

#include <algorithm>
#include <atomic>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/event_thread.h"
#include "base/executor.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "node/servables/folder_watcher.h"
#include "node/servables/reaper.h"
#include "node/servables/served_models.h"
#include "node/servables/serving_table.h"
#include "node/servables/version_loader.h"
#include "router/live_revisions.h"

namespace portico {
namespace {

/// How often requests that wait for a load are looked at: has the caller gone, is there room now?
constexpr absl::Duration kSweepPeriod = absl::Milliseconds(20);

ServedModels::Options ModelOptions(const Servables::Options& options) {
  ServedModels::Options models;
  models.versions.load_retries = options.load_retries;
  models.versions.load_retry_delay = options.load_retry_delay;
  models.versions.unload_on_empty = options.unload_on_empty;
  models.labels_may_wait = options.labels_may_wait;
  models.memory_budget_bytes = options.memory_budget_bytes;
  models.max_waiting_requests = options.max_waiting_requests;
  return models;
}

}  // namespace

/// The lock around ServedModels, and the threads that act for it: watchers list folders, loaders read versions, a timer
/// tries again, the reaper destroys. Each tells the models what happened, under the lock, and Finish()es what that left
/// to be done.
class Servables::Impl {
 public:
  Impl(Options options, Servable::Dependencies dependencies)
      : options_(std::move(options)),
        dependencies_(dependencies),
        table_(dependencies.clock),
        loader_({.batching = options_.batching,
                 .warmup = options_.warmup,
                 .memory_budget_bytes = options_.memory_budget_bytes},
                dependencies, [this] { return stopping_.load(std::memory_order_relaxed); }),
        models_(ModelOptions(options_), table_, dependencies.clock),
        reaper_([this](const std::string& name, int64_t version) { OnGone(name, version); }),
        load_threads_({.threads = std::max(1, options_.load_threads), .name = "loader", .nice = 10}),
        timer_("versions", dependencies.clock),
        watcher_({.period = options_.poll_period},
                 [this](const std::string& name, uint64_t number, const FolderWatcher::Listing& listing) {
                   OnListed(name, number, listing);
                 }) {}
  ~Impl() {
    Stop();
    // Whoever tells the models something finishes that with the threads below.
    reaper_.Stop();
    Aftermath after;
    MutexLock lock(&mutex_);
    models_.WithdrawAll(&after);
  }

  absl::Status Configure(std::vector<ModelConfig> models);
  void WhenSettled(std::optional<std::string> model, Deadline deadline, SettledDone done);
  absl::Status SetUnloaded(const std::string& name, bool unloaded);
  absl::StatusOr<std::shared_ptr<const Servable>> Resolve(const ServableRef& ref) const;
  void Acquire(const ServableRef& ref, const Ref<const RequestContext>& context, AcquireDone done);
  /// By no revision any more.
  void AcquireExactly(const ServableRef& ref, const Ref<const RequestContext>& context, AcquireDone done);
  ServablesMemory Memory() const;
  void Stop();

  /// What `question` answers about the models. Not for a request that finds its version in the table.
  template <typename Question>
  auto Ask(Question question) const {
    MutexLock lock(&mutex_);
    return question(models_.entries());
  }

 private:
  void OnListed(const std::string& name, uint64_t number, const FolderWatcher::Listing& listing);
  void OnGone(const std::string& name, int64_t version);
  void Load(const std::string& name, const VersionFolder& folder);
  void Measure(const std::string& name);
  void StartSweep() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  /// Tells the models what happened, and does what that leaves to be done. REQUIRES: not under the lock.
  template <typename Happened>
  void Tell(Happened happened) {
    Aftermath after;
    {
      MutexLock lock(&mutex_);
      happened(models_, &after);
    }
    Finish(std::move(after));
  }
  void Finish(Aftermath after);

  const Options options_;
  const Servable::Dependencies dependencies_;
  ServingTable table_;
  std::atomic<bool> stopping_{false};
  VersionLoader loader_;
  mutable Mutex mutex_;
  ServedModels models_ ABSL_GUARDED_BY(mutex_);
  bool sweeping_ ABSL_GUARDED_BY(mutex_) = false;
  /// Orders the calls of on_change.
  Mutex change_mutex_;
  bool silent_ ABSL_GUARDED_BY(change_mutex_) = false;
  // In this order: who acts goes before those that it hands to.
  Reaper reaper_;
  ThreadPool load_threads_;
  EventThread timer_;
  FolderWatcher watcher_;
};

absl::Status Servables::Impl::Configure(std::vector<ModelConfig> models) {
  RETURN_IF_ERROR(CheckModelConfigs(models));
  std::set<std::string, std::less<>> names;
  for (ModelConfig& model : models) {
    names.insert(model.name);
    model.on_demand |= options_.on_demand;
  }
  Aftermath after;
  {
    MutexLock lock(&mutex_);
    for (const ModelConfig& model : models) RETURN_IF_ERROR(models_.CheckLabels(model));
    for (const std::string& name : models_.RemoveOthers(names, &after)) watcher_.Forget(name);
    // Not loaded before it is listed, so that an old listing meets a new policy nowhere.
    for (const ModelConfig& model : models)
      watcher_.Watch(model.name, model.base_path, models_.Configure(model, &after));
    models_.EndConfigure(&after);
    // Under the lock, so that the last configuration is the last one told.
    if (options_.on_configure) options_.on_configure(models);
  }
  Finish(std::move(after));
  return absl::OkStatus();
}

absl::Status Servables::Impl::SetUnloaded(const std::string& name, bool unloaded) {
  absl::Status status;
  Tell([&](ServedModels& models, Aftermath* after) { status = models.SetUnloaded(name, unloaded, after); });
  return status;
}

void Servables::Impl::WhenSettled(std::optional<std::string> model, Deadline deadline, SettledDone done) {
  Tell([&](ServedModels& models, Aftermath* after) {
    const std::optional<uint64_t> waiter = models.WaitSettled(std::move(model), std::move(done), after);
    if (!waiter.has_value() || deadline.infinite()) return;
    timer_.At(deadline.at(), [this, waiter = *waiter] {
      Tell([&](ServedModels& late, Aftermath* rest) { late.DeadlinePassed(waiter, rest); });
    });
  });
}

// --- Requests ---

absl::StatusOr<std::shared_ptr<const Servable>> Servables::Impl::Resolve(const ServableRef& ref) const {
  absl::StatusOr<ServableRef> narrowed = ref;
  if (options_.revisions != nullptr) narrowed = options_.revisions->Narrow(ref, 0);
  RETURN_IF_ERROR(narrowed.status());
  if (std::shared_ptr<const Servable> servable = table_.Find(*narrowed); servable != nullptr) return servable;
  return Ask([&](const ModelEntries& entries) { return entries.Resolve(*narrowed); });
}

void Servables::Impl::Acquire(const ServableRef& ref, const Ref<const RequestContext>& context, AcquireDone done) {
  if (context->product.empty()) context->product = ref.name.substr(0, RequestContext::kMaxProduct);
  if (options_.revisions == nullptr) return AcquireExactly(ref, context, std::move(done));
  const absl::StatusOr<ServableRef> narrowed = options_.revisions->Route(ref, *context);
  if (!narrowed.ok()) return done(narrowed.status());
  AcquireExactly(*narrowed, context, std::move(done));
}

void Servables::Impl::AcquireExactly(const ServableRef& ref, const Ref<const RequestContext>& context,
                                     AcquireDone done) {
  if (std::shared_ptr<const Servable> servable = table_.Find(ref); servable != nullptr) {
    return done(std::move(servable));
  }
  WaitingRequests::Request request{ref, context, std::move(done)};
  absl::StatusOr<bool> waits = false;
  Aftermath after;
  {
    MutexLock lock(&mutex_);
    waits = models_.Wait(std::move(request), &after);
    StartSweep();
  }
  if (!waits.ok()) return request.done(std::move(waits).status());
  if (*waits) return Finish(std::move(after));
  absl::StatusOr<std::shared_ptr<const Servable>> servable =
      Ask([&](const ModelEntries& entries) { return entries.Resolve(ref); });
  if (!servable.ok()) {
    // Without the name: clients may make up as many as they like.
    dependencies_.metrics
        .NewCounter("portico_requests_unresolved_total",
                    "Requests for a model, version or label that is not served; names of models are not told apart.",
                    {{"model", "(unknown)"}, {"code", absl::StatusCodeToString(servable.status().code())}})
        .Increment();
  }
  request.done(std::move(servable));
}

void Servables::Impl::StartSweep() {
  if (sweeping_ || models_.waiting_requests() == 0) return;
  sweeping_ = true;
  timer_.At(dependencies_.clock.Now() + kSweepPeriod, [this] {
    Tell([this](ServedModels& models, Aftermath* after) {
      mutex_.AssertHeld();
      sweeping_ = false;
      models.Sweep(after);
      StartSweep();
    });
  });
}

// --- What happens ---

void Servables::Impl::OnListed(const std::string& name, uint64_t number, const FolderWatcher::Listing& listing) {
  std::optional<std::vector<VersionFolder>> failed;
  std::vector<VersionFolder> served;
  {
    MutexLock lock(&mutex_);
    failed = models_.Failed(name, number);
    served = models_.Served(name);
  }
  if (!failed.has_value()) return;
  std::map<int64_t, FolderState> folders;
  for (const VersionFolder& folder : *failed) folders[folder.version] = LookAtFolder(folder.folder);
  std::map<int64_t, Digest> models;
  for (const VersionFolder& folder : served) models[folder.version] = LookAtModel(folder.folder);
  Tell([&](ServedModels& served_models, Aftermath* after) {
    served_models.LookedAt(name, models);
    served_models.Listed(name, number, listing, folders, after);
  });
}

void Servables::Impl::Load(const std::string& name, const VersionFolder& folder) {
  std::optional<ModelConfig> config;
  Tell([&](ServedModels& models, Aftermath* after) { config = models.BeginLoad(name, folder.version, after); });
  if (!config.has_value()) return;
  VersionLoader::Loaded loaded = loader_.Load(*config, folder);
  const bool failed = !loaded.servable.ok();
  if (!failed) loaded.servable = reaper_.Adopt(*std::move(loaded.servable));
  Tell([&](ServedModels& models, Aftermath* after) { models.Loaded(name, folder.version, std::move(loaded), after); });
  // Its folder may have changed since.
  if (failed) watcher_.Look(name);
}

void Servables::Impl::Measure(const std::string& name) {
  std::vector<VersionFolder> folders;
  {
    MutexLock lock(&mutex_);
    folders = models_.ToMeasure(name);
  }
  uint64_t bytes = 0;
  for (const VersionFolder& folder : folders) bytes += LookAtFolder(folder.folder).bytes;
  Tell([&](ServedModels& models, Aftermath* after) { models.Measured(name, bytes, after); });
}

void Servables::Impl::OnGone(const std::string& name, int64_t version) {
  if (stopping_.load(std::memory_order_relaxed)) return;
  LogInfo(absl::StrCat("model '", name, "' version ", version, " is unloaded"));
  Tell([&](ServedModels& models, Aftermath* after) { models.Gone(name, version, after); });
}

void Servables::Impl::Finish(Aftermath after) {
  for (auto& [name, folder] : after.loads) {
    load_threads_.Schedule([this, name = std::move(name), folder = std::move(folder)] { Load(name, folder); });
  }
  for (std::string& name : after.measures) {
    load_threads_.Schedule([this, name = std::move(name)] { Measure(name); });
  }
  for (auto& [at, name] : after.retries) {
    timer_.At(at, [this, name = std::move(name)] {
      Tell([&](ServedModels& models, Aftermath* rest) { models.RetryDue(name, rest); });
    });
  }
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

ServablesMemory Servables::Impl::Memory() const {
  ServablesMemory memory;
  memory.weight_bytes = loader_.weight_bytes();
  memory.budget_bytes = options_.memory_budget_bytes;
  MutexLock lock(&mutex_);
  models_.AddMemory(&memory);
  return memory;
}

void Servables::Impl::Stop() {
  stopping_.store(true, std::memory_order_relaxed);
  {
    MutexLock lock(&mutex_);
    models_.BeginStop();
  }
  watcher_.Stop();
  load_threads_.Stop();
  {
    MutexLock lock(&change_mutex_);
    silent_ = true;
  }
  Tell([](ServedModels& models, Aftermath* after) { models.EndStop(after); });
}

// --- The interface ---

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
absl::StatusOr<std::shared_ptr<const Servable>> Servables::Resolve(const ServableRef& ref) const {
  return impl_->Resolve(ref);
}
void Servables::Acquire(const ServableRef& ref, const Ref<const RequestContext>& context, AcquireDone done) {
  impl_->Acquire(ref, context, std::move(done));
}
ServablesMemory Servables::Memory() const { return impl_->Memory(); }
std::vector<ModelIndex> Servables::Index() const {
  return impl_->Ask([](const ModelEntries& entries) { return entries.Index(); });
}
bool Servables::Has(absl::string_view name) const {
  return impl_->Ask([&](const ModelEntries& entries) { return entries.Has(name); });
}
absl::StatusOr<std::vector<VersionStatus>> Servables::Status(const ServableRef& ref) const {
  return impl_->Ask([&](const ModelEntries& entries) { return entries.Status(ref); });
}
std::vector<std::shared_ptr<const Servable>> Servables::Available() const {
  return impl_->Ask([](const ModelEntries& entries) { return entries.Available(); });
}
std::vector<std::string> Servables::Names() const {
  return impl_->Ask([](const ModelEntries& entries) { return entries.Names(); });
}
std::vector<std::string> Servables::OnDemand() const {
  return impl_->Ask([](const ModelEntries& entries) { return entries.OnDemand(); });
}
absl::Status Servables::Ready() const {
  return impl_->Ask([](const ModelEntries& entries) { return entries.Ready(); });
}
void Servables::Stop() { impl_->Stop(); }

}  // namespace portico
