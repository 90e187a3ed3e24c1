#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "deploy/log_lines.h"
#include "deploy/node_status.h"
#include "deploy/process.h"
#include "deploy/signal_fd.h"

namespace portico::examples {

/// Runs `command` to its end and prints what it prints. INTERNAL when it fails.
absl::Status RunToEnd(const std::vector<std::string>& command);

/// `portico up` as a child: a mesh as a person would start it. Prints what it prints. For one thread.
class MeshChild {
 public:
  /// Returns when the mesh is ready. `signals` is not owned; CANCELLED when one comes first.
  static absl::StatusOr<std::unique_ptr<MeshChild>> Start(const std::string& portico, const std::string& mesh_file,
                                                          const std::string& run_folder, SignalFd& signals);

  /// What node NAME, replica 0, says of itself.
  absl::StatusOr<NodeStatus> Status(const std::string& node) const;
  /// What all nodes have used since they started, in seconds of CPU.
  absl::StatusOr<double> CpuSeconds() const;
  /// Until a signal comes, or an error when the mesh ends by itself.
  absl::Status ServeUntilSignal();
  /// SIGTERM, and waits. INTERNAL when it did not end cleanly.
  absl::Status Stop();

 private:
  MeshChild(std::unique_ptr<Process> process, std::string run_folder, SignalFd& signals)
      : process_(std::move(process)), run_folder_(std::move(run_folder)), signals_(signals) {}
  /// Waits for output or a signal and passes output on. OK while it goes on; `ready` becomes true with its line.
  absl::Status Step(bool* ready, bool* signalled);

  const std::unique_ptr<Process> process_;
  const std::string run_folder_;
  SignalFd& signals_;
  LineCutter lines_;
};

}  // namespace portico::examples
