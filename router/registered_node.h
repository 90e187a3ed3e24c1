#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace portico {

/// What a node says of itself in etcd, under PREFIX/nodes/NAME/REPLICA, for its peers and for the controller. A value.
struct RegisteredNode {
  /// "hub/0".
  std::string id;
  /// How its peers reach it, best first; empty: they do not.
  std::vector<std::string> endpoints;
  std::string host;
  /// Empty: not known.
  std::string zone;
  /// Which process it is (node/process_name.h), and how long after its end this may still stand in etcd. Empty and 0:
  /// an older release does not say.
  std::string process;
  int64_t ttl_s = 0;
  struct Model {
    std::string name;
    int64_t version = 0;
    /// In hexadecimal digits; empty: it is loaded when it is asked for.
    std::string digest;
  };
  /// What it serves now.
  std::vector<Model> models;
  /// Where it stands with its mesh's revisions (RevisionState of node/revision_follower.h); all 0: it is of no mesh.
  struct Revisions {
    uint64_t current = 0;
    uint64_t prepared = 0;
    uint64_t oldest = 0;
    uint64_t refused = 0;
    std::string why;
  };
  Revisions revisions;
};

/// One JSON object, for people to read with etcdctl, too.
std::string FormatRegisteredNode(const RegisteredNode& node);
/// INVALID_ARGUMENT for what FormatRegisteredNode() would not have written. Keys it does not know are left out: nodes
/// of two releases know each other.
absl::StatusOr<RegisteredNode> ParseRegisteredNode(absl::string_view text);

}  // namespace portico
