#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/digest.h"
#include "models/graph/graph_plan.h"
#include "models/package/package.h"
#include "node/servables/folder_state.h"

namespace portico {

/// What a mesh has to know of one version of a model, without its weights. Immutable.
struct PackageFacts {
  std::string folder;
  Digest digest;
  std::vector<Signature> signatures;
  /// Of all signatures.
  std::vector<PortalSpec> portals;
  /// servable.yaml says what counts rows.
  bool axes_declared = false;
};

/// Reads version folders, weights included, and remembers what was in them while they look the same from outside: a
/// mesh file that changes does not have all weights read again. For one thread at a time.
class PackageReader {
 public:
  absl::StatusOr<std::shared_ptr<const PackageFacts>> Read(const std::string& name, const VersionFolder& folder);

 private:
  /// By folder. What was read last of it stays, as long as the mesh does: a few names each.
  std::map<std::string, std::pair<FolderState, std::shared_ptr<const PackageFacts>>> read_;
};

}  // namespace portico
