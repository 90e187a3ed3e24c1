#include "node/servables/model_entry.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace portico {

absl::Status NotServed(const ServableRef& ref, int64_t version) {
  return absl::NotFoundError(
      version < 0 ? absl::StrCat("Servable not found for request: Latest(", ref.name, ")")
                  : absl::StrCat("Servable not found for request: Specific(", ref.name, ", ", version, ")"));
}

absl::Status NoSuchLabel(const std::string& label) {
  return absl::InvalidArgumentError(absl::StrCat("Unrecognized servable version label: ", label));
}

void ModelEntry::Add(int64_t version, std::shared_ptr<const Servable> servable, uint64_t bytes) {
  bytes_[version] = bytes;
  available_[version] = std::move(servable);
  failed_folders.erase(version);
}

std::shared_ptr<const Servable> ModelEntry::Withdraw(int64_t version) {
  const auto found = available_.find(version);
  std::shared_ptr<const Servable> servable = std::move(found->second);
  unloading_[version] = servable;
  available_.erase(found);
  return servable;
}

bool ModelEntry::Revive(int64_t version) {
  const auto held = unloading_.find(version);
  std::shared_ptr<const Servable> servable = held == unloading_.end() ? nullptr : held->second.lock();
  if (servable == nullptr) return false;
  unloading_.erase(held);
  available_[version] = std::move(servable);
  versions_.Revived(version);
  return true;
}

void ModelEntry::Forget(int64_t version) {
  unloading_.erase(version);
  bytes_.erase(version);
  models.erase(version);
  versions_.Gone(version);
}

std::vector<std::shared_ptr<const Servable>> ModelEntry::WithdrawAll() {
  std::vector<std::shared_ptr<const Servable>> all;
  for (auto& [version, servable] : available_) all.push_back(std::move(servable));
  available_.clear();
  return all;
}

std::optional<std::shared_ptr<const ServingModel>> ModelEntry::Publish(absl::Time now) {
  std::shared_ptr<ServingModel> model;
  if (!available_.empty()) {
    model = std::make_shared<ServingModel>();
    model->versions.assign(available_.begin(), available_.end());
    model->labels = versions_.labels();
    model->on_demand = versions_.on_demand();
    model->last_used = absl::ToUnixNanos(now);
  }
  const ServingModel* const old = published_.get();
  const bool same = model == nullptr ? old == nullptr
                                     : old != nullptr && old->versions == model->versions &&
                                           old->labels == model->labels && old->on_demand == model->on_demand;
  if (same) return std::nullopt;
  published_ = std::move(model);
  return published_;
}

absl::StatusOr<std::shared_ptr<const Servable>> ModelEntry::Resolve(const ServableRef& ref) const {
  if (!versions_.configured()) return ref.label.empty() ? NotServed(ref, ref.version) : NoSuchLabel(ref.label);
  int64_t version = ref.version;
  if (!ref.label.empty()) {
    const auto& labels = versions_.config().labels;
    const auto label = labels.find(ref.label);
    if (label == labels.end()) return NoSuchLabel(ref.label);
    version = label->second;
  }
  if (ref.digest.empty() || available_.empty()) return NotServed(ref, version);
  // It may have come since the look without the lock.
  for (const auto& [number, servable] : available_) {
    if (servable->digest() == ref.digest) return servable;
  }
  // Callers may name a version that has just been withdrawn: they have not heard of it yet.
  for (const auto& [withdrawn, held] : unloading_) {
    std::shared_ptr<const Servable> servable = held.lock();
    if (servable != nullptr && servable->digest() == ref.digest) return servable;
  }
  return absl::FailedPreconditionError(
      absl::StrCat("servable '", ref.name, "': got digest ", available_.rbegin()->second->digest().Short(), ", want ",
                   ref.digest.Short(), "; serve the version that the caller was split from"));
}

std::optional<absl::StatusOr<std::shared_ptr<const Servable>>> ModelEntry::Answer(const ServableRef& ref) const {
  if (!versions_.configured()) return NotServed(ref, ref.version);
  const std::optional<absl::Status> settled = versions_.Settled();
  if (!settled.has_value()) return std::nullopt;
  if (!ref.label.empty() && !versions_.config().labels.contains(ref.label)) return NoSuchLabel(ref.label);
  // Nothing is loaded for a version that there is not.
  if (ref.version >= 0 && !versions_.folders().contains(ref.version)) return NotServed(ref, ref.version);
  if (!settled->ok()) {
    return absl::UnavailableError(absl::StrCat("could not be loaded on demand: ", settled->message()));
  }
  if (!versions_.demanded()) return std::nullopt;
  // What is held has another digest.
  if (!ref.digest.empty()) return Resolve(ref);
  return NotServed(ref, ref.version);
}

absl::StatusOr<std::vector<VersionStatus>> ModelEntry::Status(const ServableRef& ref) const {
  int64_t wanted = ref.version;
  if (!ref.label.empty()) {
    const auto label = versions_.labels().find(ref.label);
    const auto configured = versions_.config().labels.find(ref.label);
    if (label == versions_.labels().end() && configured == versions_.config().labels.end()) {
      return NoSuchLabel(ref.label);
    }
    wanted = label != versions_.labels().end() ? label->second : configured->second;
  }
  std::vector<VersionStatus> statuses = versions_.Statuses();
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

std::optional<ResidentModel> ModelEntry::Resident(const std::string& name, bool waited) const {
  const bool loading = versions_.demanded() && !versions_.Settled().has_value();
  if (bytes_.empty() && !loading) return std::nullopt;
  ResidentModel model;
  model.name = name;
  model.fixed = !versions_.on_demand() && versions_.configured();
  // The entry's own reference and the table's.
  model.idle =
      versions_.on_demand() && !loading && !waited &&
      std::all_of(available_.begin(), available_.end(), [](const auto& one) { return one.second.use_count() <= 2; });
  for (const auto& [version, bytes] : bytes_) {
    (available_.contains(version) ? model.bytes : model.leaving_bytes) += bytes;
  }
  if (loading) model.bytes = std::max(model.bytes, estimate);
  if (published_ != nullptr) model.last_used = published_->last_used.load(std::memory_order_relaxed);
  return model;
}

void ModelEntry::AddMemory(const std::string& name, const ResidentModel& resident, ServablesMemory* memory) const {
  uint64_t available = 0;
  for (const auto& [version, bytes] : bytes_) {
    const bool serves = available_.contains(version);
    memory->versions.push_back({name, version, serves ? VersionState::kAvailable : VersionState::kUnloading, bytes});
    (serves ? available : memory->pinned_bytes) += bytes;
  }
  memory->loading_bytes += resident.bytes - available;
}

}  // namespace portico
