#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "models/package/package.h"
#include "node/servables/model_config.h"
#include "node/servables/version_state.h"

namespace portico {

/// The state machine of one model: which versions are wanted, what state each is in, what is to be done next, and what
/// "latest" and labels mean now. It knows no files, threads or sessions: its owner (Servables) reports what happened
/// and does what Next() says. Not thread-safe.
///
/// What it sees to:
///   - wanted is what the version policy chooses among the folders that were listed, and what labels name;
///   - a version that fails is tried again after a delay, so often, and at once when its folder has changed;
///   - while every version that the policy chose has failed and none serves, the next lower one is wanted too;
///   - what is not wanted any more is unloaded only once a wanted version serves and none is on its way
///     (resource_preserving: first);
///   - a listing that fails or is empty changes nothing that serves.
class ModelVersions {
 public:
  struct Options {
    /// How often a failed load is tried again.
    int load_retries = 5;
    /// How long after the failure.
    absl::Duration load_retry_delay = absl::Seconds(60);
    /// An empty folder unloads the versions that serve. False: they serve on.
    bool unload_on_empty = false;
  };

  /// To be done now. Versions in `load` are kLoading from then on, those in `withdraw` kUnloading.
  struct Steps {
    std::vector<VersionFolder> load;
    /// Wanted again while they are being unloaded: make them available, where they are still whole, and say Revived().
    std::vector<int64_t> revive;
    std::vector<int64_t> withdraw;
  };

  ModelVersions() = default;

  // What happened.
  /// Replaces the configuration; what serves serves on until Next() says otherwise.
  void Configure(const ModelConfig& config, const Options& options);
  /// The model is configured no more: everything goes.
  void Remove();
  /// By an operator: the model stays configured, its versions go; false brings them back and forgets failures.
  void SetUnloaded(bool unloaded);
  /// Of a model that is loaded on demand: whether somebody wants it now.
  void SetDemanded(bool demanded) { demanded_ = demanded; }
  void Listed(const absl::StatusOr<std::vector<VersionFolder>>& folders);
  /// The folder of a version that failed has changed: it is tried at once, and as often as at first.
  void Changed(int64_t version);
  /// A load ended.
  void Loaded(int64_t version, const absl::Status& status, absl::Time now);
  void Revived(int64_t version);
  /// A version that was withdrawn has given its memory back.
  void Gone(int64_t version);

  /// What is to be done now. Call it after each of the above, and at NextRetry().
  Steps Next(absl::Time now);
  /// When a failed load is to be tried again; the infinite future where none is.
  absl::Time NextRetry() const;

  // What is so.
  bool configured() const { return configured_; }
  bool unloaded() const { return unloaded_; }
  bool on_demand() const { return config_.on_demand; }
  bool demanded() const { return demanded_; }
  const ModelConfig& config() const { return config_; }
  /// Why the folder could not be listed or holds no version.
  const absl::Status& listing() const { return listing_; }
  /// Folders of the last good listing, by version.
  const std::map<int64_t, std::string>& folders() const { return folders_; }
  /// None while a listing or a wanted version is on its way; then OK, or why the model does not serve as configured.
  std::optional<absl::Status> Settled() const;
  /// Whether it serves, or is not meant to; else why not.
  absl::Status Ready() const;
  /// Rising; those that ended long ago are forgotten.
  std::vector<VersionStatus> Statuses() const;
  std::vector<int64_t> Available() const;
  /// What a demand would load.
  std::vector<VersionFolder> ToLoad() const;
  /// Whether its folder has been listed since it was configured.
  bool listed() const { return listed_; }
  /// Wanted versions that failed.
  std::vector<VersionFolder> Failed() const;
  /// Label → version that is available now. A label that was moved stays where it was until its new version is
  /// available.
  const std::map<std::string, int64_t>& labels() const { return labels_; }
  /// Whether the policy or a label asks for the version now.
  bool wanted(int64_t version) const { return Wanted().contains(version); }
  /// Whether nothing of it is in memory or on its way there.
  bool idle() const;

 private:
  struct Version {
    VersionState state = VersionState::kStart;
    absl::Status status;
    std::string folder;
    /// Failed loads since the folder last changed.
    int failures = 0;
    absl::Time retry_at = absl::InfiniteFuture();
    bool failed() const { return state == VersionState::kEnd && !status.ok(); }
  };

  bool dropped() const { return !configured_ || unloaded_ || (config_.on_demand && !demanded_); }
  /// What policy and labels ask for.
  std::set<int64_t> Chosen() const;
  std::set<int64_t> Wanted() const { return dropped() ? std::set<int64_t>() : Chosen(); }
  bool IsAvailable(int64_t version) const;
  bool IsFailed(int64_t version) const;
  void UpdateLabels();
  void ForgetEnded(const std::set<int64_t>& wanted);
  void StartLoads(const std::set<int64_t>& wanted, absl::Time now, Steps* steps);
  void Withdraw(int64_t version, Steps* steps);

  Options options_;
  ModelConfig config_;
  bool configured_ = false;
  bool unloaded_ = false;
  bool demanded_ = false;
  /// Since Configure().
  bool listed_ = false;
  bool listed_empty_ = false;
  absl::Status listing_;
  std::map<int64_t, std::string> folders_;
  std::map<int64_t, Version> versions_;
  std::map<std::string, int64_t> labels_;
};

}  // namespace portico
