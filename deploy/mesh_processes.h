#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "deploy/log_lines.h"
#include "deploy/ramps.h"
#include "deploy/rollout.h"
#include "deploy/run_folder.h"
#include "deploy/supervised_node.h"
#include "router/revision.h"

namespace portico {

/// The processes of a mesh: those of its current revision, those of the next one that have been started already, and
/// those that are leaving. The supervisor's loop tells them what happened. For one thread.
class MeshProcesses {
 public:
  /// `folder` and `log` are not owned and must outlive it.
  MeshProcesses(std::string binary, const RunFolder& folder, LogPrinter& log)
      : binary_(std::move(binary)), folder_(folder), log_(log) {}

  /// One more; StartDue() starts it.
  void Add(const Revision::Node& node);
  /// The node ends, and stays down.
  void Leave(const std::string& id);
  /// Those that have left are no part of the mesh any more.
  void ForgetLeft();

  const std::vector<std::unique_ptr<SupervisedNode>>& nodes() const { return nodes_; }
  const SupervisedNode* Find(const std::string& id) const;
  /// What a rollout has to know.
  std::vector<Rollout::Node> Reports() const;
  /// What ramps have to know.
  std::vector<NodeCounts> Counts() const;
  /// Why the mesh does not count as up, "; " between; empty: it does.
  std::string NotUp() const;
  /// The soonest that one wants to be started.
  absl::Time NextStart() const;

  /// Starts those whose time has come. An error means that the binary can't be run at all.
  absl::Status StartDue(absl::Time now);
  /// What went wrong for good with a node, by its id.
  struct Failure {
    std::string id;
    absl::Status status;
  };
  /// Status files may have changed; `child_ended`: some child has ended.
  std::vector<Failure> Look(bool child_ended, absl::Time now);
  /// All are stopping.
  void LookStopping();
  void Signal(int number);
  bool AnyRunning() const;

 private:
  const std::string binary_;
  const RunFolder& folder_;
  LogPrinter& log_;
  /// Of all that were ever added: gives each its colour.
  size_t added_ = 0;
  std::vector<std::unique_ptr<SupervisedNode>> nodes_;
};

}  // namespace portico
