#include "node/servables/served_models.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace portico {
namespace {

/// Models that are configured no more, as status goes on to tell them.
constexpr size_t kMaxRemoved = 256;

template <typename T>
void Append(std::vector<T> more, std::vector<T>* to) {
  for (T& one : more) to->push_back(std::move(one));
}

}  // namespace

ServedModels::ServedModels(const Options& options, ServingTable& table, const Clock& clock)
    : options_(options),
      table_(table),
      clock_(clock),
      waiting_(options.max_waiting_requests),
      demands_(options.memory_budget_bytes) {}

// --- The configuration ---

absl::Status ServedModels::CheckLabels(const ModelConfig& model) const {
  const ModelEntry* entry = entries_.Find(model.name);
  if (options_.labels_may_wait || entry == nullptr || !entry->serves()) return absl::OkStatus();
  for (const auto& [label, version] : model.labels) {
    if (entry->Serves(version)) continue;
    return absl::FailedPreconditionError(absl::StrCat("Request to assign label to version ", version, " of model ",
                                                      model.name, ", which is not currently available for inference"));
  }
  return absl::OkStatus();
}

std::vector<std::string> ServedModels::RemoveOthers(const std::set<std::string, std::less<>>& names, Aftermath* after) {
  std::vector<std::string> removed;
  for (auto& [name, entry] : entries_) {
    if (names.contains(name) || !entry.versions().configured()) continue;
    removed.push_back(name);
    after->changed |= entry.versions().on_demand();
    entry.versions().Remove();
    Advance(name, entry, after);
  }
  return removed;
}

uint64_t ServedModels::Configure(const ModelConfig& model, Aftermath* after) {
  ModelEntry& entry = entries_.Get(model.name);
  after->changed |= model.on_demand || entry.versions().on_demand();
  entry.versions().Configure(model, options_.versions);
  for (const auto& [version, servable] : entry.available()) servable->SetShares(model.shares);
  entries_.NoteSettled(entry);
  return entry.number = ++configurations_;
}

void ServedModels::EndConfigure(Aftermath* after) {
  entries_.ForgetRemoved(kMaxRemoved);
  CheckSettled(after);
}

absl::Status ServedModels::SetUnloaded(const std::string& name, bool unloaded, Aftermath* after) {
  ModelEntry* entry = entries_.Find(name);
  if (entry == nullptr || !entry->versions().configured()) {
    return absl::NotFoundError(absl::StrCat("model '", name, "': got a name that is not configured, want one that is"));
  }
  entry->versions().SetUnloaded(unloaded);
  after->changed |= entry->versions().on_demand();
  if (unloaded) entry->versions().SetDemanded(false);
  if (!unloaded && entry->versions().on_demand()) {
    Demand(name, *entry, after);
    demands_.Insist(name);
  }
  Advance(name, *entry, after);
  return absl::OkStatus();
}

// --- Folders and loads ---

std::optional<std::vector<VersionFolder>> ServedModels::Failed(const std::string& name, uint64_t number) const {
  const ModelEntry* entry = entries_.Find(name);
  if (entry == nullptr || entry->number != number) return std::nullopt;
  return entry->versions().Failed();
}

void ServedModels::Listed(const std::string& name, uint64_t number, const FolderWatcher::Listing& listing,
                          const std::map<int64_t, FolderState>& failed, Aftermath* after) {
  ModelEntry* entry = entries_.Find(name);
  if (entry == nullptr || entry->number != number) return;
  ModelVersions& versions = entry->versions();
  const absl::Status before = versions.listing();
  versions.Listed(listing);
  if (const absl::Status& status = versions.listing(); status != before) {
    if (!status.ok()) LogError(status.message());
    if (status.ok()) LogInfo(absl::StrCat("model '", name, "': its folder can be listed again"));
  }
  for (const auto& [version, state] : failed) {
    if (!(state == entry->failed_folders[version])) versions.Changed(version);
  }
  // Somebody asked for it before it was known what is there.
  if (demands_.Unmeasured(name)) after->measures.push_back(name);
  Advance(name, *entry, after);
}

std::vector<VersionFolder> ServedModels::Served(const std::string& name) const {
  const ModelEntry* entry = entries_.Find(name);
  std::vector<VersionFolder> served;
  if (entry == nullptr) return served;
  for (const auto& [version, servable] : entry->available()) {
    const auto folder = entry->versions().folders().find(version);
    if (folder != entry->versions().folders().end()) served.push_back({version, folder->second});
  }
  return served;
}

void ServedModels::LookedAt(const std::string& name, const std::map<int64_t, Digest>& models) {
  ModelEntry* entry = entries_.Find(name);
  if (entry == nullptr) return;
  for (const auto& [version, model] : models) {
    const auto loaded = entry->models.find(version);
    if (loaded == entry->models.end() || model.empty() || loaded->second == model) continue;
    loaded->second = model;
    LogWarning(absl::StrCat("model '", name, "' version ", version,
                            ": its model.onnx was written to after it was loaded, and is served as it was before; want "
                            "what is new in a new version folder"));
  }
}

void ServedModels::RetryDue(const std::string& name, Aftermath* after) {
  ModelEntry* entry = entries_.Find(name);
  if (entry == nullptr) return;
  entry->timer_at = absl::InfiniteFuture();
  Advance(name, *entry, after);
}

std::optional<ModelConfig> ServedModels::BeginLoad(const std::string& name, int64_t version, Aftermath* after) {
  ModelEntry& entry = *entries_.Find(name);
  if (!stopping_ && entry.versions().wanted(version)) return entry.versions().config();
  entry.versions().Gone(version);
  Advance(name, entry, after);
  return std::nullopt;
}

void ServedModels::Loaded(const std::string& name, int64_t version, VersionLoader::Loaded loaded, Aftermath* after) {
  ModelEntry& entry = *entries_.Find(name);
  const absl::Status& status = loaded.servable.status();
  entry.versions().Loaded(version, status, clock_.Now());
  if (status.ok()) {
    std::shared_ptr<const Servable>& servable = *loaded.servable;
    LogInfo(absl::StrCat("model '", name, "' version ", version, " is available (", servable->digest().Short(), ", ",
                         servable->weight_bytes(), " bytes of weights)"));
    const uint64_t bytes = std::max(loaded.folder.bytes, servable->weight_bytes()) + servable->max_result_cache_bytes();
    servable->SetShares(entry.versions().config().shares);
    entry.Add(version, std::move(servable), bytes);
    entry.models[version] = loaded.folder.model;
    after->changed = true;
  } else {
    const absl::Time next = entry.versions().NextRetry();
    LogError(absl::StrCat(status.message(), next == absl::InfiniteFuture()
                                                ? "; not tried again until its folder changes"
                                                : absl::StrCat("; next try at ", absl::FormatTime(next))));
    entry.failed_folders[version] = loaded.folder;
  }
  Advance(name, entry, after);
}

void ServedModels::Gone(const std::string& name, int64_t version, Aftermath* after) {
  ModelEntry* entry = entries_.Find(name);
  if (entry == nullptr) return;
  entry->Forget(version);
  Advance(name, *entry, after);
  ServeDemands(after);
}

void ServedModels::Advance(const std::string& name, ModelEntry& entry, Aftermath* after) {
  if (stopping_) return CheckSettled(after);
  const ModelVersions::Steps steps = entry.versions().Next(clock_.Now());
  for (const int64_t version : steps.revive) {
    if (!entry.Revive(version)) continue;  // Gone() comes.
    entry.available().at(version)->SetShares(entry.versions().config().shares);
    after->changed = true;
  }
  for (const int64_t version : steps.withdraw) {
    after->dropped.push_back(entry.Withdraw(version));
    after->changed = true;
    LogInfo(absl::StrCat("model '", name, "' version ", version, " is being unloaded"));
  }
  for (const VersionFolder& folder : steps.load) after->loads.emplace_back(name, folder);
  if (const auto published = entry.Publish(clock_.Now())) table_.Set(name, *published);
  FinishWaiting(name, entry, after);
  if (const absl::Time next = entry.versions().NextRetry(); next < entry.timer_at) {
    entry.timer_at = next;
    after->retries.emplace_back(next, name);
  }
  entries_.NoteSettled(entry);
  CheckSettled(after);
}

// --- Those who wait: a request waits, its model is measured, others make room, it is loaded, the request goes on ---

absl::StatusOr<bool> ServedModels::Wait(WaitingRequests::Request&& request, Aftermath* after) {
  const std::string name = request.ref.name;
  ModelEntry* entry = entries_.Find(name);
  if (entry == nullptr || stopping_ || !entry->versions().configured() || !entry->versions().on_demand() ||
      entry->versions().unloaded()) {
    return false;
  }
  RETURN_IF_ERROR(waiting_.Add(std::move(request)));
  Demand(name, *entry, after);
  FinishWaiting(name, *entry, after);
  return true;
}

void ServedModels::Demand(const std::string& name, ModelEntry& entry, Aftermath* after) {
  if (entry.versions().demanded() || demands_.Has(name)) return;
  demands_.Add(name);
  // Until it is listed there is nothing to measure.
  if (entry.versions().listed()) after->measures.push_back(name);
}

std::vector<VersionFolder> ServedModels::ToMeasure(const std::string& name) const {
  const ModelEntry* entry = entries_.Find(name);
  return entry == nullptr ? std::vector<VersionFolder>() : entry->versions().ToLoad();
}

void ServedModels::Measured(const std::string& name, uint64_t bytes, Aftermath* after) {
  const ModelEntry* entry = entries_.Find(name);
  if (entry == nullptr || !demands_.Has(name)) return;
  const auto cache = static_cast<uint64_t>(entry->versions().config().result_cache_mib.value_or(0)) << 20;
  demands_.Measured(name, bytes + entry->versions().ToLoad().size() * cache);
  ServeDemands(after);
}

void ServedModels::ServeDemands(Aftermath* after) {
  const auto waited = [this](const std::string& name) { return waiting_.Has(name); };
  while (!stopping_) {
    const DemandQueue::Step step =
        demands_.Next([&](const std::string& name,
                          bool insisted) { return entries_.Find(name) != nullptr && (insisted || waited(name)); },
                      [&] { return entries_.Resident(waited); });
    for (const std::string& other : step.unload) {
      ModelEntry& idle = *entries_.Find(other);
      idle.versions().SetDemanded(false);
      Advance(other, idle, after);
    }
    if (step.model.empty()) return;  // Until others have gone: Gone(), Sweep().
    if (!step.possible.ok()) {
      FailWaiting(step.model, step.possible, after);
      continue;
    }
    ModelEntry& entry = *entries_.Find(step.model);
    entry.estimate = step.bytes;
    entry.versions().SetDemanded(true);
    Advance(step.model, entry, after);
  }
}

void ServedModels::FinishWaiting(const std::string& name, const ModelEntry& entry, Aftermath* after) {
  if (!waiting_.Has(name)) return;
  Append(waiting_.Take(name,
                       [&](const ServableRef& ref) -> std::optional<WaitingRequests::Result> {
                         if (std::shared_ptr<const Servable> servable = table_.Find(ref)) return servable;
                         return entry.Answer(ref);
                       }),
         &after->acquired);
}

void ServedModels::FailWaiting(const std::string& name, const absl::Status& status, Aftermath* after) {
  Append(waiting_.Take(name, [&](const ServableRef&) { return std::optional<WaitingRequests::Result>(status); }),
         &after->acquired);
}

void ServedModels::Sweep(Aftermath* after) {
  Append(waiting_.TakeDead(clock_), &after->acquired);
  ServeDemands(after);
}

std::optional<uint64_t> ServedModels::WaitSettled(SettledWaiters::Model model, SettledWaiters::Done done,
                                                  Aftermath* after) {
  const uint64_t id = settled_waiters_.Add(std::move(model), std::move(done));
  CheckSettled(after);
  return settled_waiters_.Has(id) ? std::optional<uint64_t>(id) : std::nullopt;
}

void ServedModels::CheckSettled(Aftermath* after) {
  if (settled_waiters_.empty()) return;
  Append(settled_waiters_.Take([&](const SettledWaiters::Model& model) -> std::optional<absl::Status> {
    if (stopping_) return absl::UnavailableError("servables: stopping");
    return entries_.Settled(model);
  }),
         &after->settled);
}

void ServedModels::DeadlinePassed(uint64_t waiter, Aftermath* after) {
  auto late = settled_waiters_.TakeOne(waiter, [&](const SettledWaiters::Model& model) {
    return absl::DeadlineExceededError(
        absl::StrCat("models still loading: ", absl::StrJoin(entries_.Unsettled(model), ", ")));
  });
  if (late.has_value()) after->settled.push_back(*std::move(late));
}

// --- The end ---

void ServedModels::EndStop(Aftermath* after) {
  CheckSettled(after);
  for (const auto& [name, entry] : entries_) {
    FailWaiting(name, absl::UnavailableError(absl::StrCat("model '", name, "': the node is shutting down")), after);
  }
}

void ServedModels::WithdrawAll(Aftermath* after) {
  for (auto& [name, entry] : entries_) {
    table_.Set(name, nullptr);
    Append(entry.WithdrawAll(), &after->dropped);
  }
}

void ServedModels::AddMemory(ServablesMemory* memory) const {
  memory->waiting_requests = waiting_.size();
  entries_.AddMemory([this](const std::string& name) { return waiting_.Has(name); }, memory);
}

}  // namespace portico
