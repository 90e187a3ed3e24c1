#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "router/traffic_arms.h"

namespace portico {

/// What a node process says of itself in its status file: written whole by `portico serve`, read by `portico up` and by
/// people's scripts.
struct NodeStatus {
  struct Model {
    std::string name;
    /// 0 where no version could be found.
    int64_t version = 0;
    /// "AVAILABLE", "END", ...
    std::string state;
    /// Why it does not serve; empty where it does.
    std::string error;
  };

  std::string node;
  int replica = 0;
  int64_t pid = 0;
  bool ready = false;
  /// As bound; empty where there is no such listener.
  std::string grpc;
  std::string http;
  std::string peer;
  std::vector<Model> models;
  /// Where it stands with the mesh's revisions (RevisionState of node/revision_follower.h); all 0: it is of no mesh.
  struct Revisions {
    uint64_t current = 0;
    uint64_t prepared = 0;
    uint64_t oldest = 0;
    uint64_t refused = 0;
    std::string why;
  };
  Revisions revisions;
  /// Portals whose target cannot be reached now, "MODEL: target: reason" each.
  std::vector<std::string> degraded;
  /// What the arms of split traffic have done in this process.
  std::vector<ArmCounts> traffic;
};

/// One JSON object, with a newline.
std::string FormatNodeStatus(const NodeStatus& status);
/// NOT_FOUND when there is no such file (yet); INVALID_ARGUMENT for what FormatNodeStatus() would not have written.
absl::StatusOr<NodeStatus> ReadNodeStatus(const std::string& path);

}  // namespace portico
