#include "deploy/package_reader.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace portico {

absl::StatusOr<std::shared_ptr<const PackageFacts>> PackageReader::Read(const std::string& name,
                                                                        const VersionFolder& folder) {
  const FolderState state = LookAtFolder(folder.folder);
  const auto known = read_.find(folder.folder);
  if (known != read_.end() && known->second.first == state) return known->second.second;
  WeightStore store;
  ASSIGN_OR_RETURN(const Package package, LoadPackage(name, folder.folder, store));
  auto facts = std::make_shared<PackageFacts>();
  facts->folder = package.folder;
  facts->digest = package.digest;
  facts->signatures = package.signatures;
  for (const Signature& signature : facts->signatures) {
    ASSIGN_OR_RETURN(GraphPlan plan, Partition(package.model, signature));
    for (PlanStep& step : plan.steps) {
      if (step.portal != nullptr) facts->portals.push_back(std::move(*step.portal));
    }
  }
  facts->axes_declared = package.axes_declared;
  if (!(LookAtFolder(folder.folder) == state)) {
    return absl::UnavailableError(
        absl::StrCat("folder '", folder.folder, "': got changes while it was being read, want it whole"));
  }
  read_[folder.folder] = {state, facts};
  return facts;
}

}  // namespace portico
