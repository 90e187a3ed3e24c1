#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/graph/graph_plan.h"
#include "models/graph/op.h"

namespace portico {

/// Makes what runs portals other than Remote in this process, for comparisons: what they decide is written once, in a
/// folder above this one (remote_op/local_portals.h). For one thread.
class PortalOps {
 public:
  /// What a portal calls.
  struct Targets {
    /// One for each of PortalTargets(); takes and gives what a Remote to that target does.
    std::vector<std::unique_ptr<AsyncOp>> models;
    /// Of an EmbeddingBag: the folder of its group of tables.
    std::string tables;
  };

  virtual ~PortalOps() = default;
  /// The op answers before Run() returns, and fails where a target does: nothing stands in for an answer.
  virtual absl::StatusOr<std::unique_ptr<AsyncOp>> Make(const PortalSpec& spec, Targets targets) = 0;
};

}  // namespace portico
