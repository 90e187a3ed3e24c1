#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "router/etcd/client.h"
#include "router/revision.h"

namespace portico {

/// `portico apply`: makes what a mesh file says, or what an earlier revision said, the next revision of a mesh whose
/// nodes follow etcd, on whichever hosts they run: writes it, waits until every node of it has prepared it, flips, and
/// lets go of what was when no request has it any more (Rollout). One at a time: a lock in etcd, which every change is
/// bound to. Ended at any moment it leaves a mesh that serves: the next one clears up.
///
/// Nodes are started and stopped by others.
struct EtcdControllerOptions {
  EtcdOptions etcd;
  std::string prefix;
  /// A mesh file; empty: `rollback`.
  std::string mesh_file;
  /// The number of the revision to go back to.
  uint64_t rollback = 0;
  /// A revision that the nodes have not prepared within this is not rolled out.
  absl::Duration prepare_timeout = absl::Minutes(2);
  absl::Duration drain_timeout = absl::Minutes(1);
  absl::Duration lock_ttl = absl::Seconds(10);
  /// Told what happens, a line at a time; may be empty.
  std::function<void(absl::string_view line)> say;
};

/// Blocks until the revision is current and what was before it is let go of. The number that is current then.
/// FAILED_PRECONDITION where a node can't prepare it or somebody else holds the lock, DEADLINE_EXCEEDED… and the mesh
/// goes on as it was.
absl::StatusOr<uint64_t> ApplyRevision(const EtcdControllerOptions& options);

/// One line per revision there is: number, what it is ("current", …), models with versions, reason.
absl::StatusOr<std::string> ListRevisions(const EtcdControllerOptions& options);

}  // namespace portico
