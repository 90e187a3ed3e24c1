#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "node/servables/model_entry.h"

namespace portico {

/// The models of a node by name, those among them that were configured once and are to be told of still, and what can
/// be asked of all of them. Operators' questions end here, and requests for what is not served. Not thread-safe:
/// guarded with all of ServedModels.
class ModelEntries {
 public:
  using Map = std::map<std::string, ModelEntry, std::less<>>;

  /// Null where there is none.
  ModelEntry* Find(absl::string_view name);
  const ModelEntry* Find(absl::string_view name) const;
  /// Of that name, made where there is none.
  ModelEntry& Get(const std::string& name) { return map_[name]; }
  Map::iterator begin() { return map_.begin(); }
  Map::iterator end() { return map_.end(); }
  /// To be called whenever the entry's model may have settled, or has not any more.
  void NoteSettled(ModelEntry& entry);
  /// Keeps the status of so many that are configured no more.
  void ForgetRemoved(size_t kept);

  bool Has(absl::string_view name) const;
  /// As ModelEntry has it.
  absl::StatusOr<std::shared_ptr<const Servable>> Resolve(const ServableRef& ref) const;
  absl::StatusOr<std::vector<VersionStatus>> Status(const ServableRef& ref) const;
  std::vector<ModelIndex> Index() const;
  std::vector<std::string> Names() const;
  /// Names of those that are loaded when they are asked for, loaded or not, but for those that an operator unloaded.
  std::vector<std::string> OnDemand() const;
  std::vector<std::shared_ptr<const Servable>> Available() const;
  absl::Status Ready() const;
  /// None while the model (none: any model) is on its way; then OK, or the errors.
  std::optional<absl::Status> Settled(const std::optional<std::string>& model) const;
  /// Names of those on their way.
  std::vector<std::string> Unsettled(const std::optional<std::string>& model) const;
  /// What takes of the budget. `waited`: whether requests wait for a model.
  std::vector<ResidentModel> Resident(absl::FunctionRef<bool(const std::string& name)> waited) const;
  void AddMemory(absl::FunctionRef<bool(const std::string& name)> waited, ServablesMemory* memory) const;

 private:
  Map map_;
  /// Configured models that are not settled: asking each would cost a start with many models its square.
  int64_t unsettled_ = 0;
};

}  // namespace portico
