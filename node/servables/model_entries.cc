#include "node/servables/model_entries.h"

#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace portico {

ModelEntry* ModelEntries::Find(absl::string_view name) {
  const auto found = map_.find(name);
  return found == map_.end() ? nullptr : &found->second;
}

const ModelEntry* ModelEntries::Find(absl::string_view name) const {
  const auto found = map_.find(name);
  return found == map_.end() ? nullptr : &found->second;
}

void ModelEntries::NoteSettled(ModelEntry& entry) {
  // Entries start settled as far as the count goes: those that are not configured are.
  const bool settled = entry.versions().Settled().has_value();
  if (settled != entry.counted_settled) unsettled_ += settled ? -1 : 1;
  entry.counted_settled = settled;
}

void ModelEntries::ForgetRemoved(size_t kept) {
  size_t removed = 0;
  for (auto it = map_.begin(); it != map_.end();) {
    const ModelVersions& versions = it->second.versions();
    const bool goes = !versions.configured() && versions.idle() && ++removed > kept;
    it = goes ? map_.erase(it) : std::next(it);
  }
}

bool ModelEntries::Has(absl::string_view name) const {
  const ModelEntry* entry = Find(name);
  return entry != nullptr && entry->versions().configured();
}

absl::StatusOr<std::shared_ptr<const Servable>> ModelEntries::Resolve(const ServableRef& ref) const {
  if (const ModelEntry* entry = Find(ref.name); entry != nullptr) return entry->Resolve(ref);
  return ref.label.empty() ? NotServed(ref, ref.version) : NoSuchLabel(ref.label);
}

absl::StatusOr<std::vector<VersionStatus>> ModelEntries::Status(const ServableRef& ref) const {
  if (const ModelEntry* entry = Find(ref.name); entry != nullptr) return entry->Status(ref);
  if (!ref.label.empty()) return NoSuchLabel(ref.label);
  return absl::NotFoundError(absl::StrCat("Could not find any versions of model ", ref.name));
}

std::vector<ModelIndex> ModelEntries::Index() const {
  std::vector<ModelIndex> index;
  for (const auto& [name, entry] : map_) {
    const ModelVersions& versions = entry.versions();
    if (!versions.configured()) continue;
    index.push_back({name, versions.Statuses(), versions.listing(), versions.unloaded(), versions.on_demand()});
  }
  return index;
}

std::vector<std::string> ModelEntries::Names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : map_) {
    if (entry.versions().configured()) names.push_back(name);
  }
  return names;
}

std::vector<std::string> ModelEntries::OnDemand() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : map_) {
    const ModelVersions& versions = entry.versions();
    if (versions.configured() && versions.on_demand() && !versions.unloaded()) names.push_back(name);
  }
  return names;
}

std::vector<std::shared_ptr<const Servable>> ModelEntries::Available() const {
  std::vector<std::shared_ptr<const Servable>> all;
  for (const auto& [name, entry] : map_) {
    for (const auto& [version, servable] : entry.available()) all.push_back(servable);
  }
  return all;
}

absl::Status ModelEntries::Ready() const {
  std::vector<std::string> missing;
  for (const auto& [name, entry] : map_) {
    const absl::Status status = entry.versions().Ready();
    if (!status.ok()) missing.emplace_back(status.message());
  }
  return missing.empty() ? absl::OkStatus() : absl::UnavailableError(absl::StrJoin(missing, "; "));
}

std::optional<absl::Status> ModelEntries::Settled(const std::optional<std::string>& model) const {
  if (!model.has_value() && unsettled_ > 0) return std::nullopt;
  std::vector<std::string> errors;
  absl::StatusCode code = absl::StatusCode::kOk;
  const auto add = [&](const ModelEntry& entry) {
    const std::optional<absl::Status> status = entry.versions().Settled();
    if (!status.has_value()) return false;
    if (status->ok()) return true;
    if (errors.empty()) code = status->code();
    errors.emplace_back(status->message());
    return true;
  };
  if (model.has_value()) {
    const ModelEntry* entry = Find(*model);
    if (entry != nullptr && !add(*entry)) return std::nullopt;
  } else {
    for (const auto& [name, entry] : map_) {
      if (!add(entry)) return std::nullopt;
    }
  }
  return absl::Status(code, absl::StrJoin(errors, "; "));
}

std::vector<std::string> ModelEntries::Unsettled(const std::optional<std::string>& model) const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : map_) {
    if (model.has_value() && name != *model) continue;
    if (!entry.versions().Settled().has_value()) names.push_back(name);
  }
  return names;
}

std::vector<ResidentModel> ModelEntries::Resident(absl::FunctionRef<bool(const std::string& name)> waited) const {
  std::vector<ResidentModel> resident;
  for (const auto& [name, entry] : map_) {
    if (std::optional<ResidentModel> model = entry.Resident(name, waited(name))) resident.push_back(*std::move(model));
  }
  return resident;
}

void ModelEntries::AddMemory(absl::FunctionRef<bool(const std::string& name)> waited, ServablesMemory* memory) const {
  for (const auto& [name, entry] : map_) {
    if (const auto resident = entry.Resident(name, waited(name))) entry.AddMemory(name, *resident, memory);
  }
}

}  // namespace portico
