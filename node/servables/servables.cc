#include "node/servables/servables.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace portico {

absl::string_view Servables::StateName(State state) {
  switch (state) {
    case State::kStart:
      return "START";
    case State::kLoading:
      return "LOADING";
    case State::kAvailable:
      return "AVAILABLE";
    case State::kUnloading:
      return "UNLOADING";
    case State::kEnd:
      return "END";
  }
  return "UNKNOWN";
}

absl::Status Servables::Add(const ModelConfig& model) {
  const std::string& name = model.name;
  const std::string& base = model.base_path;
  {
    MutexLock lock(&mutex_);
    if (!entries_.try_emplace(name).second) {
      return absl::AlreadyExistsError(absl::StrCat("model '", name, "': got a second base folder '", base,
                                                   "', want one per name; rename one of the two"));
    }
    entries_.find(name)->second.base = base;
  }
  absl::StatusOr<std::vector<VersionFolder>> versions = ListVersions(base);
  absl::Status status = versions.status();
  if (status.ok() && versions->empty()) {
    status = absl::NotFoundError(absl::StrCat(
        "folder '", base, "': got no version folder, want one named by a number, as ", base, "/1/model.onnx"));
  }
  if (!status.ok()) {
    status = WithContext(absl::StrCat("model '", name, "'"), status);
    MutexLock lock(&mutex_);
    entries_.find(name)->second.failure = status;
    return status;
  }
  return LoadVersion(name, versions->back());
}

absl::Status Servables::LoadVersion(const std::string& name, const VersionFolder& folder) {
  SetStatus(name, {folder.version, State::kLoading, absl::OkStatus()});
  absl::StatusOr<std::shared_ptr<const Servable>> servable = [&]() -> absl::StatusOr<std::shared_ptr<const Servable>> {
    ASSIGN_OR_RETURN(Package package, LoadPackage(name, folder.folder, weights_));
    return Servable::Load(std::move(package), dependencies_);
  }();
  if (!servable.ok()) {
    const absl::Status status =
        WithContext(absl::StrCat("model '", name, "' version ", folder.version), servable.status());
    SetStatus(name, {folder.version, State::kEnd, status});
    return status;
  }
  LogInfo(absl::StrCat("model '", name, "' version ", folder.version, " is available (", (*servable)->digest().Short(),
                       ", ", (*servable)->weight_bytes(), " bytes of weights)"));
  {
    MutexLock lock(&mutex_);
    entries_.find(name)->second.available[folder.version] = *std::move(servable);
  }
  SetStatus(name, {folder.version, State::kAvailable, absl::OkStatus()});
  return absl::OkStatus();
}

void Servables::SetStatus(const std::string& name, VersionStatus status) {
  MutexLock lock(&mutex_);
  auto& statuses = entries_.find(name)->second.statuses;
  statuses[status.version] = std::move(status);
}

absl::StatusOr<std::shared_ptr<const Servable>> Servables::Resolve(const ServableRef& ref) const {
  MutexLock lock(&mutex_);
  if (!ref.label.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("Unrecognized servable version label: ", ref.label));
  }
  const auto entry = entries_.find(ref.name);
  const auto missing = [&] {
    return absl::NotFoundError(
        ref.version < 0 ? absl::StrCat("Servable not found for request: Latest(", ref.name, ")")
                        : absl::StrCat("Servable not found for request: Specific(", ref.name, ", ", ref.version, ")"));
  };
  if (entry == entries_.end() || entry->second.available.empty()) return missing();
  const auto& available = entry->second.available;
  if (!ref.digest.empty()) {
    for (auto it = available.rbegin(); it != available.rend(); ++it) {
      if (it->second->digest() == ref.digest) return it->second;
    }
    return absl::FailedPreconditionError(
        absl::StrCat("servable '", ref.name, "': got digest ", available.rbegin()->second->digest().Short(), ", want ",
                     ref.digest.Short(), "; serve the version that the caller was split from"));
  }
  if (ref.version < 0) return available.rbegin()->second;
  const auto version = available.find(ref.version);
  if (version == available.end()) return missing();
  return version->second;
}

void Servables::Acquire(const ServableRef& ref, const Ref<const RequestContext>& context, AcquireDone done) {
  done(Resolve(ref));
}

bool Servables::Has(absl::string_view name) const {
  MutexLock lock(&mutex_);
  return entries_.contains(name);
}

absl::StatusOr<std::vector<Servables::VersionStatus>> Servables::Status(const ServableRef& ref) const {
  MutexLock lock(&mutex_);
  if (!ref.label.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("Unrecognized servable version label: ", ref.label));
  }
  const auto entry = entries_.find(ref.name);
  if (entry == entries_.end() || entry->second.statuses.empty()) {
    return absl::NotFoundError(absl::StrCat("Could not find any versions of model ", ref.name));
  }
  std::vector<VersionStatus> statuses;
  for (const auto& [version, status] : entry->second.statuses) {
    if (ref.version < 0 || ref.version == version) statuses.push_back(status);
  }
  if (statuses.empty()) {
    return absl::NotFoundError(absl::StrCat("Could not find version ", ref.version, " of model ", ref.name));
  }
  return statuses;
}

std::vector<std::shared_ptr<const Servable>> Servables::Available() const {
  MutexLock lock(&mutex_);
  std::vector<std::shared_ptr<const Servable>> all;
  for (const auto& [name, entry] : entries_) {
    for (const auto& [version, servable] : entry.available) all.push_back(servable);
  }
  return all;
}

std::vector<std::string> Servables::Names() const {
  MutexLock lock(&mutex_);
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

absl::Status Servables::Ready() const {
  MutexLock lock(&mutex_);
  std::vector<std::string> missing;
  for (const auto& [name, entry] : entries_) {
    if (!entry.available.empty()) continue;
    absl::Status why = entry.failure;
    for (const auto& [version, status] : entry.statuses) why.Update(status.status);
    missing.push_back(why.ok() ? absl::StrCat("model '", name, "': loading") : std::string(why.message()));
  }
  return missing.empty() ? absl::OkStatus() : absl::UnavailableError(absl::StrJoin(missing, "; "));
}

}  // namespace portico
