#include "node/servables/model_versions.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "base/version_policy.h"

namespace portico {
namespace {

/// Versions that have ended and are not wanted, as status goes on to tell them.
constexpr size_t kMaxEnded = 16;

}  // namespace

void ModelVersions::Configure(const ModelConfig& config, const Options& options) {
  if (config.base_path != config_.base_path) {
    folders_.clear();
    listing_ = absl::OkStatus();
  }
  options_ = options;
  config_ = config;
  configured_ = true;
  unloaded_ = false;
  listed_ = false;
  listed_empty_ = false;
}

void ModelVersions::Remove() {
  configured_ = false;
  labels_.clear();
}

void ModelVersions::SetUnloaded(bool unloaded) {
  unloaded_ = unloaded;
  if (unloaded) return;
  for (auto& [version, state] : versions_) {
    if (state.failed()) Changed(version);
  }
}

void ModelVersions::Listed(const absl::StatusOr<std::vector<VersionFolder>>& folders) {
  listed_ = true;
  listed_empty_ = folders.ok() && folders->empty();
  if (listed_empty_) {
    listing_ = absl::NotFoundError(absl::StrCat("folder '", config_.base_path,
                                                "': got no version folder, want one named by a number, as ",
                                                config_.base_path, "/1/model.onnx"));
  } else {
    listing_ = folders.status();
  }
  if (!listing_.ok()) {
    listing_ = WithContext(absl::StrCat("model '", config_.name, "'"), listing_);
    if (listed_empty_ && options_.unload_on_empty) folders_.clear();
    return;
  }
  folders_.clear();
  for (const VersionFolder& folder : *folders) folders_.emplace(folder.version, folder.folder);
}

void ModelVersions::Changed(int64_t version) {
  const auto found = versions_.find(version);
  if (found == versions_.end() || !found->second.failed()) return;
  found->second.failures = 0;
  found->second.retry_at = absl::InfinitePast();
}

void ModelVersions::Loaded(int64_t version, const absl::Status& status, absl::Time now) {
  Version& state = versions_[version];
  state.status = status;
  if (status.ok()) {
    state.state = VersionState::kAvailable;
    state.failures = 0;
  } else {
    state.state = VersionState::kEnd;
    ++state.failures;
    state.retry_at = state.failures <= options_.load_retries ? now + options_.load_retry_delay : absl::InfiniteFuture();
  }
  UpdateLabels();
}

void ModelVersions::Revived(int64_t version) {
  versions_[version].state = VersionState::kAvailable;
  UpdateLabels();
}

void ModelVersions::Gone(int64_t version) {
  const auto found = versions_.find(version);
  if (found != versions_.end()) found->second.state = VersionState::kEnd;
}

bool ModelVersions::IsAvailable(int64_t version) const {
  const auto found = versions_.find(version);
  return found != versions_.end() && found->second.state == VersionState::kAvailable;
}

bool ModelVersions::IsFailed(int64_t version) const {
  const auto found = versions_.find(version);
  return found != versions_.end() && found->second.failed();
}

std::set<int64_t> ModelVersions::Chosen() const {
  std::vector<int64_t> listed;
  for (const auto& [version, folder] : folders_) listed.push_back(version);
  std::set<int64_t> wanted = ChooseVersions(config_.versions, listed);
  const std::set<int64_t> chosen = wanted;
  // What is named by number stays, even where its folder has gone.
  const auto name = [&](int64_t version) {
    if (folders_.contains(version) || IsAvailable(version)) wanted.insert(version);
  };
  if (config_.versions.kind == VersionPolicy::Kind::kSpecific) {
    for (const int64_t version : config_.versions.versions) name(version);
  }
  for (const auto& [label, version] : config_.labels) name(version);
  if (config_.versions.kind == VersionPolicy::Kind::kLatest &&
      std::all_of(chosen.begin(), chosen.end(), [&](int64_t version) { return IsFailed(version); })) {
    for (auto it = listed.rbegin(); it != listed.rend(); ++it) {
      if (chosen.contains(*it) || IsFailed(*it)) continue;
      wanted.insert(*it);
      break;
    }
  }
  return wanted;
}

ModelVersions::Steps ModelVersions::Next(absl::Time now) {
  Steps steps;
  const std::set<int64_t> wanted = Wanted();
  const bool drop_all = dropped() || (listed_empty_ && options_.unload_on_empty);
  bool serves = false;
  bool on_its_way = false;
  bool unloading = false;
  std::vector<int64_t> unwanted;
  for (const auto& [version, state] : versions_) {
    if (!wanted.contains(version) && state.state == VersionState::kAvailable) unwanted.push_back(version);
    unloading |= state.state == VersionState::kUnloading && !wanted.contains(version);
  }
  for (const int64_t version : wanted) {
    const auto found = versions_.find(version);
    serves |= IsAvailable(version);
    on_its_way |= found == versions_.end() || (!IsAvailable(version) && !found->second.failed());
  }
  if (drop_all || (config_.resource_preserving && !wanted.empty()) || (serves && !on_its_way)) {
    for (const int64_t version : unwanted) Withdraw(version, &steps);
    unloading |= !unwanted.empty();
  }
  if (!drop_all && !(config_.resource_preserving && unloading)) StartLoads(wanted, now, &steps);
  UpdateLabels();
  ForgetEnded(wanted);
  return steps;
}

void ModelVersions::StartLoads(const std::set<int64_t>& wanted, absl::Time now, Steps* steps) {
  for (const int64_t version : wanted) {
    Version& state = versions_[version];
    if (state.state == VersionState::kUnloading) steps->revive.push_back(version);
    const bool due = state.state == VersionState::kStart ||
                     (state.state == VersionState::kEnd && (state.status.ok() || state.retry_at <= now));
    const auto folder = folders_.find(version);
    if (!due || folder == folders_.end()) continue;
    state.folder = folder->second;
    state.state = VersionState::kLoading;
    state.status = absl::OkStatus();
    steps->load.push_back({version, state.folder});
  }
}

void ModelVersions::Withdraw(int64_t version, Steps* steps) {
  versions_[version].state = VersionState::kUnloading;
  steps->withdraw.push_back(version);
}

absl::Time ModelVersions::NextRetry() const {
  absl::Time next = absl::InfiniteFuture();
  for (const int64_t version : Wanted()) {
    if (IsFailed(version)) next = std::min(next, versions_.at(version).retry_at);
  }
  return next;
}

void ModelVersions::UpdateLabels() {
  for (auto it = labels_.begin(); it != labels_.end();) {
    const bool stays = configured_ && config_.labels.contains(it->first) && IsAvailable(it->second);
    it = stays ? std::next(it) : labels_.erase(it);
  }
  if (!configured_) return;
  for (const auto& [label, version] : config_.labels) {
    if (IsAvailable(version)) labels_[label] = version;
  }
}

void ModelVersions::ForgetEnded(const std::set<int64_t>& wanted) {
  size_t ended = 0;
  for (auto it = versions_.end(); it != versions_.begin();) {
    --it;
    if (it->second.state != VersionState::kEnd || wanted.contains(it->first)) continue;
    if (++ended > kMaxEnded) it = versions_.erase(it);
  }
}

std::optional<absl::Status> ModelVersions::Settled() const {
  if (!configured_ || unloaded_) return absl::OkStatus();
  if (!listed_) return std::nullopt;
  if (config_.on_demand && !demanded_) return listing_;
  const std::set<int64_t> wanted = Wanted();
  absl::Status status;
  for (const int64_t version : wanted) {
    if (IsAvailable(version)) continue;
    if (!IsFailed(version)) return std::nullopt;
    status.Update(versions_.at(version).status);
  }
  if (Available().empty()) status.Update(listing_);
  if (config_.versions.kind == VersionPolicy::Kind::kSpecific && listing_.ok()) {
    for (const int64_t version : config_.versions.versions) {
      if (wanted.contains(version)) continue;
      status.Update(absl::NotFoundError(absl::StrCat("model '", config_.name, "': got no folder for version ", version,
                                                     " in '", config_.base_path, "', want one")));
    }
  }
  return status;
}

absl::Status ModelVersions::Ready() const {
  if (!configured_ || unloaded_ || !Available().empty()) return absl::OkStatus();
  if (config_.on_demand && !demanded_) return listing_;
  std::optional<absl::Status> settled = Settled();
  if (settled.has_value()) return *std::move(settled);
  return absl::UnavailableError(absl::StrCat("model '", config_.name, "': loading"));
}

std::vector<VersionStatus> ModelVersions::Statuses() const {
  std::vector<VersionStatus> statuses;
  for (const auto& [version, state] : versions_) statuses.push_back({version, state.state, state.status});
  if (statuses.empty() && configured_ && config_.on_demand) {
    // Not asked for yet.
    for (const VersionFolder& folder : ToLoad()) statuses.push_back({folder.version, VersionState::kStart, {}});
  }
  return statuses;
}

std::vector<int64_t> ModelVersions::Available() const {
  std::vector<int64_t> available;
  for (const auto& [version, state] : versions_) {
    if (state.state == VersionState::kAvailable) available.push_back(version);
  }
  return available;
}

std::vector<VersionFolder> ModelVersions::ToLoad() const {
  std::vector<VersionFolder> folders;
  for (const int64_t version : Chosen()) {
    const auto folder = folders_.find(version);
    if (folder != folders_.end()) folders.push_back({version, folder->second});
  }
  return folders;
}

std::vector<VersionFolder> ModelVersions::Failed() const {
  std::vector<VersionFolder> failed;
  for (const int64_t version : Wanted()) {
    if (IsFailed(version)) failed.push_back({version, versions_.at(version).folder});
  }
  return failed;
}

bool ModelVersions::idle() const {
  return std::all_of(versions_.begin(), versions_.end(), [](const auto& entry) {
    return entry.second.state == VersionState::kStart || entry.second.state == VersionState::kEnd;
  });
}

}  // namespace portico
