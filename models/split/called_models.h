#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/digest.h"
#include "models/graph/graph_plan.h"
#include "models/package/model.h"
#include "models/package/signature.h"
#include "models/package/weight_store.h"

namespace portico {

/// What portals call, as it lies on disk: read when a model that has portals is run in this process, to be compared.
/// For one thread.
class CalledModels {
 public:
  struct Place {
    /// Of the servable. Empty: `path` is a folder of many, PATH/NAME/VERSION, as packages and stores of modules are.
    std::string name;
    /// A model file, a version folder, or a folder of those.
    std::string path;
  };
  struct Called {
    std::string name;
    /// The version folder, or the model file.
    std::string path;
    Digest digest;
    Model model;
    std::vector<Signature> signatures;
  };

  /// Places are looked at in this order, not before they are needed; those that are not there are passed over.
  explicit CalledModels(std::vector<Place> places) : places_(std::move(places)) {}
  CalledModels(const CalledModels&) = delete;
  CalledModels& operator=(const CalledModels&) = delete;

  /// What has the name and digest that `portal` (a Remote) calls; without a digest the highest version. Lives as long
  /// as this. FAILED_PRECONDITION with what was found instead, and how to say where it is.
  absl::StatusOr<const Called*> Find(const PortalSpec& portal);

  /// The folder of the group of tables that `portal` (an EmbeddingBag) looks up in. FAILED_PRECONDITION where no place
  /// has it whole, with how to say where it is.
  absl::StatusOr<std::string> FindTables(const PortalSpec& portal);

  /// What Find() gave, in the order in which it was first asked for.
  const std::vector<std::unique_ptr<Called>>& found() const { return found_; }
  /// What FindTables() gave, by group.
  const std::map<std::string, std::string>& tables() const { return tables_; }

 private:
  /// Paths of what may be the servable, the highest versions first.
  std::vector<std::string> Candidates(const std::string& name) const;

  const std::vector<Place> places_;
  WeightStore weights_;
  std::vector<std::unique_ptr<Called>> found_;
  std::map<std::string, std::string> tables_;
};

}  // namespace portico
