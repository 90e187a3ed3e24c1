#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "node/servables/demand_queue.h"
#include "node/servables/folder_watcher.h"
#include "node/servables/model_entries.h"
#include "node/servables/model_versions.h"
#include "node/servables/settled_waiters.h"
#include "node/servables/version_loader.h"
#include "node/servables/waiting_requests.h"

namespace portico {

/// What a change of ServedModels leaves to be done once the lock is open: what may take long, calls others, or is for a
/// thread. It is declared before the lock is taken.
struct Aftermath {
  /// Perhaps the last references.
  std::vector<std::shared_ptr<const Servable>> dropped;
  std::vector<SettledWaiters::Finished> settled;
  std::vector<WaitingRequests::Finished> acquired;
  /// Versions to load, models to measure, when to try which again: by name.
  std::vector<std::pair<std::string, VersionFolder>> loads;
  std::vector<std::string> measures;
  std::vector<std::pair<absl::Time, std::string>> retries;
  /// What is available, or loaded when it is asked for, has changed.
  bool changed = false;
};

/// What a node serves, and how that changes. It starts no thread and calls nobody: its owner (Servables) tells it what
/// happened, and does what the Aftermath says. Everything that happens ends in Advance() of the model that it happened
/// to: the model's state machine says what is to be done. Requests look into the serving table that this fills, and
/// come here where they find nothing there.
///
/// Not thread-safe: guarded, as a whole, by its owner's lock.
class ServedModels {
 public:
  struct Options {
    ModelVersions::Options versions;
    bool labels_may_wait = true;
    uint64_t memory_budget_bytes = 0;
    size_t max_waiting_requests = 0;
  };

  /// `table` and `clock` are not owned and must outlive it.
  ServedModels(const Options& options, ServingTable& table, const Clock& clock);

  // The configuration.
  /// FAILED_PRECONDITION where a label of a model that serves would move to a version that is not available.
  absl::Status CheckLabels(const ModelConfig& model) const;
  /// Removes all models but `names`; returns which have gone.
  std::vector<std::string> RemoveOthers(const std::set<std::string, std::less<>>& names, Aftermath* after);
  /// Returns the number by which listings of this configuration are told from others.
  uint64_t Configure(const ModelConfig& model, Aftermath* after);
  /// After all models have been configured.
  void EndConfigure(Aftermath* after);
  absl::Status SetUnloaded(const std::string& name, bool unloaded, Aftermath* after);

  // Folders and loads.
  /// Versions that failed, whose folders may have changed; none where `number` is not the configuration's any more.
  std::optional<std::vector<VersionFolder>> Failed(const std::string& name, uint64_t number) const;
  /// `failed`: what the folders of Failed() look like now.
  void Listed(const std::string& name, uint64_t number, const FolderWatcher::Listing& listing,
              const std::map<int64_t, FolderState>& failed, Aftermath* after);
  /// Version folders of the last listing that are served.
  std::vector<VersionFolder> Served(const std::string& name) const;
  /// `models`: LookAtModel() of Served(). Says once of each that was written to since it was loaded.
  void LookedAt(const std::string& name, const std::map<int64_t, Digest>& models);
  void RetryDue(const std::string& name, Aftermath* after);
  /// The configuration to load a version of Aftermath::loads by; none where it is not wanted any more.
  std::optional<ModelConfig> BeginLoad(const std::string& name, int64_t version, Aftermath* after);
  void Loaded(const std::string& name, int64_t version, VersionLoader::Loaded loaded, Aftermath* after);
  void Gone(const std::string& name, int64_t version, Aftermath* after);

  // Those who wait.
  /// False where the model is not one that is loaded when it is asked for; then, and with RESOURCE_EXHAUSTED, `request`
  /// is untouched.
  absl::StatusOr<bool> Wait(WaitingRequests::Request&& request, Aftermath* after);
  /// The folders to measure; none where that is of no use any more.
  std::vector<VersionFolder> ToMeasure(const std::string& name) const;
  void Measured(const std::string& name, uint64_t bytes, Aftermath* after);
  /// Requests that wait for a load; where there are some, Sweep() is to be called again and again.
  size_t waiting_requests() const { return waiting_.size(); }
  void Sweep(Aftermath* after);
  /// The waiter's name; none where it waits no more.
  std::optional<uint64_t> WaitSettled(SettledWaiters::Model model, SettledWaiters::Done done, Aftermath* after);
  void DeadlinePassed(uint64_t waiter, Aftermath* after);

  // The end.
  /// Nothing is begun any more.
  void BeginStop() { stopping_ = true; }
  /// Nobody waits any more.
  void EndStop(Aftermath* after);
  /// Nothing serves any more.
  void WithdrawAll(Aftermath* after);

  const ModelEntries& entries() const { return entries_; }
  void AddMemory(ServablesMemory* memory) const;

 private:
  void Advance(const std::string& name, ModelEntry& entry, Aftermath* after);
  void Demand(const std::string& name, ModelEntry& entry, Aftermath* after);
  void ServeDemands(Aftermath* after);
  void FinishWaiting(const std::string& name, const ModelEntry& entry, Aftermath* after);
  void FailWaiting(const std::string& name, const absl::Status& status, Aftermath* after);
  void CheckSettled(Aftermath* after);

  const Options options_;
  ServingTable& table_;
  const Clock& clock_;
  ModelEntries entries_;
  uint64_t configurations_ = 0;
  bool stopping_ = false;
  SettledWaiters settled_waiters_;
  WaitingRequests waiting_;
  DemandQueue demands_;
};

}  // namespace portico
