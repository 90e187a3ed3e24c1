#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/servable_ref.h"
#include "node/servables/folder_state.h"
#include "node/servables/memory_budget.h"
#include "node/servables/model_versions.h"
#include "node/servables/servable.h"
#include "node/servables/servables_memory.h"
#include "node/servables/serving_table.h"

namespace portico {

/// NOT_FOUND "Servable not found for request: Latest(foo)" / "Specific(foo, 5)"; a `version` below 0: the latest.
absl::Status NotServed(const ServableRef& ref, int64_t version);
/// INVALID_ARGUMENT "Unrecognized servable version label: x".
absl::Status NoSuchLabel(const std::string& label);

/// One model of a node: its state machine, and the versions that are in memory. No request meets it, unless it finds
/// nothing in the serving table that this fills. Not thread-safe: guarded with all of ServedModels.
class ModelEntry {
 public:
  ModelVersions& versions() { return versions_; }
  const ModelVersions& versions() const { return versions_; }

  // Versions come and go.
  /// A version was loaded; `bytes` is what it takes.
  void Add(int64_t version, std::shared_ptr<const Servable> servable, uint64_t bytes);
  /// Takes the version out; what is returned may be the last reference.
  std::shared_ptr<const Servable> Withdraw(int64_t version);
  /// A version that was withdrawn serves again, where somebody still holds it.
  bool Revive(int64_t version);
  /// A version that was withdrawn has given its memory back.
  void Forget(int64_t version);
  std::vector<std::shared_ptr<const Servable>> WithdrawAll();
  /// What the serving table is to hold from now on (null: nothing), where that has changed.
  std::optional<std::shared_ptr<const ServingModel>> Publish(absl::Time now);

  bool serves() const { return !available_.empty(); }
  bool Serves(int64_t version) const { return available_.contains(version); }
  /// Rising.
  const std::map<int64_t, std::shared_ptr<const Servable>>& available() const { return available_; }

  // What is asked of it.
  /// Why a reference that the table does not know is not served; or a version that has been withdrawn, but is still
  /// held, where `ref` names its digest.
  absl::StatusOr<std::shared_ptr<const Servable>> Resolve(const ServableRef& ref) const;
  /// The same for a request that waits for a load; none while it is to wait on.
  std::optional<absl::StatusOr<std::shared_ptr<const Servable>>> Answer(const ServableRef& ref) const;
  absl::StatusOr<std::vector<VersionStatus>> Status(const ServableRef& ref) const;
  /// What it takes of the budget; none where that is nothing. `waited`: requests wait for it.
  std::optional<ResidentModel> Resident(const std::string& name, bool waited) const;
  void AddMemory(const std::string& name, const ResidentModel& resident, ServablesMemory* memory) const;

  /// Tells listings of one configuration from those of another.
  uint64_t number = 0;
  /// Whether ModelEntries counts it as settled.
  bool counted_settled = true;
  /// What a load on demand will take, as far as it was measured.
  uint64_t estimate = 0;
  /// What the folder of a version that failed looked like.
  std::map<int64_t, FolderState> failed_folders;
  /// What model.onnx of a version that was loaded looked like when it was last looked at.
  std::map<int64_t, Digest> models;
  /// A timer for the next try is set for then.
  absl::Time timer_at = absl::InfiniteFuture();

 private:
  ModelVersions versions_;
  std::map<int64_t, std::shared_ptr<const Servable>> available_;
  /// Withdrawn, and perhaps still held by requests.
  std::map<int64_t, std::weak_ptr<const Servable>> unloading_;
  /// Of those in `available_` and `unloading_`: what they take.
  std::map<int64_t, uint64_t> bytes_;
  /// As the table has it; null where it has none.
  std::shared_ptr<const ServingModel> published_;
};

}  // namespace portico
