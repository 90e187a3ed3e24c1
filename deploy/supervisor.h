#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace portico {

/// `portico up`: starts every node of a mesh file as a process of its own, shows progress until all are ready, prefixes
/// their logs, starts a crashed one again with back-off, and stops all on SIGINT or SIGTERM. Writes the revision
/// document and the pointers into the run folder; what changes in the mesh file or the models' folders is rolled out
/// while it serves (Rollout).
struct SupervisorOptions {
  std::string mesh_file;
  /// Sockets, status files, revision documents. Empty: a new folder below $XDG_RUNTIME_DIR or /tmp, removed at the end.
  std::string run_folder;
  /// The portico binary to start; empty: this one.
  std::string binary;
  /// Readiness must come within this.
  absl::Duration ready_timeout = absl::Minutes(2);
  /// A revision that the nodes have not prepared within this is not rolled out.
  absl::Duration prepare_timeout = absl::Minutes(2);
};

/// Blocks until stopped. OK after a clean stop.
absl::Status RunSupervisor(const SupervisorOptions& options);

}  // namespace portico
