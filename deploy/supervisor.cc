#include "deploy/supervisor.h"

#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "deploy/log_lines.h"
#include "deploy/mesh.h"
#include "deploy/run_folder.h"
#include "deploy/signal_fd.h"
#include "deploy/supervised_node.h"

namespace portico {
namespace {

/// A node drains for 30 s at most; then it is killed.
constexpr absl::Duration kStopTimeout = absl::Seconds(35);

/// Tells of files that are renamed into a folder. For one thread.
class FolderWatch {
 public:
  static absl::StatusOr<std::unique_ptr<FolderWatch>> Open(const std::string& folder) {
    std::unique_ptr<FolderWatch> watch(new FolderWatch(inotify_init1(IN_NONBLOCK | IN_CLOEXEC)));
    if (watch->fd_ < 0 || inotify_add_watch(watch->fd_, folder.c_str(), IN_MOVED_TO) < 0) {
      return ErrnoStatus(errno, "watch folder", folder);
    }
    return watch;
  }
  ~FolderWatch() { close(fd_); }

  int fd() const { return fd_; }
  /// Forgets what happened so far.
  void Clear() {
    alignas(inotify_event) char events[4096];
    while (read(fd_, events, sizeof events) > 0) {
    }
  }

 private:
  explicit FolderWatch(int fd) : fd_(fd) {}
  const int fd_;
};

absl::StatusOr<std::string> OwnBinary() {
  char path[4096];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof path);
  if (length < 0) return ErrnoStatus(errno, "read link", "/proc/self/exe");
  return std::string(path, static_cast<size_t>(length));
}

/// One thread that sleeps in poll() until a signal, a line of a node, a status file or a time that has come. First all
/// nodes become ready and their portals reach their targets (or the mesh fails), then it serves until a signal, then it
/// stops all.
class Supervisor {
 public:
  Supervisor(const SupervisorOptions& options, Revision revision, RunFolder& folder, FolderWatch& watch,
             SignalFd& signals)
      : options_(options),
        revision_(std::move(revision)),
        folder_(folder),
        watch_(watch),
        signals_(signals),
        log_(stdout, LongestId(revision_), isatty(STDOUT_FILENO) == 1) {}

  absl::Status Run(const std::string& binary) {
    started_ = Now();
    log_.Say(absl::StrCat("mesh '", revision_.mesh, "': starting ", revision_.nodes.size(), " nodes; run folder ",
                          folder_.path()));
    for (size_t i = 0; i < revision_.nodes.size(); ++i) nodes_.push_back(NewNode(binary, i));
    const absl::Status status = Supervise();
    Stop();
    return status;
  }

 private:
  static absl::Time Now() { return Clock::Real().Now(); }

  static size_t LongestId(const Revision& revision) {
    size_t longest = 0;
    for (const Revision::Node& node : revision.nodes) longest = std::max(longest, node.id().size());
    return longest;
  }

  std::unique_ptr<SupervisedNode> NewNode(const std::string& binary, size_t index) {
    SupervisedNode::Options options;
    options.node = revision_.nodes[index];
    options.index = index;
    options.status_file = folder_.StatusFile(options.node);
    options.command = {binary,          "serve",
                       "--revision",    folder_.current(),
                       "--node",        options.node.name,
                       "--replica",     absl::StrCat(options.node.replica),
                       "--status-file", options.status_file};
    return std::make_unique<SupervisedNode>(std::move(options), log_);
  }

  /// Until a signal asks to stop (OK) or the mesh can't come up.
  absl::Status Supervise() {
    bool ready = false;
    const absl::Time ready_by = started_ + options_.ready_timeout;
    for (;;) {
      const absl::Time now = Now();
      for (auto& node : nodes_) {
        if (!node->running() && node->start_at() <= now) RETURN_IF_ERROR(node->Start(now));
      }
      absl::Time wake = ready ? absl::InfiniteFuture() : ready_by;
      for (auto& node : nodes_) wake = std::min(wake, node->start_at());
      Poll(wake);

      bool child_ended = false;
      for (int number = signals_.Next(); number != 0; number = signals_.Next()) {
        if (number != SIGCHLD) return absl::OkStatus();
        child_ended = true;
      }
      watch_.Clear();
      for (auto& node : nodes_) {
        RETURN_IF_ERROR(node->OnStatusFile(Now()));
        if (child_ended) RETURN_IF_ERROR(node->OnChildEnded(Now()));
      }
      if (ready) continue;
      ready = NotUp().empty();
      if (ready) {
        log_.Say(absl::StrFormat("mesh '%s' is ready after %.1f s; Ctrl-C stops it", revision_.mesh,
                                 absl::ToDoubleSeconds(Now() - started_)));
      } else if (Now() >= ready_by) {
        return absl::DeadlineExceededError(absl::StrCat(
            "mesh '", revision_.mesh, "': got ", NotUp(), ", want all nodes ready within ",
            absl::FormatDuration(options_.ready_timeout), "; see the log above, or give a longer --ready-timeout"));
      }
    }
  }

  /// SIGTERM to all; SIGKILL to those that are left when the time is over or at a second Ctrl-C.
  void Stop() {
    log_.Say(absl::StrCat("mesh '", revision_.mesh, "': stopping"));
    for (auto& node : nodes_) node->Signal(SIGTERM);
    absl::Time kill_at = Now() + kStopTimeout;
    for (;;) {
      for (auto& node : nodes_) node->OnChildEndedStopping();
      if (absl::c_none_of(nodes_, [](const auto& node) { return node->running(); })) return;
      Poll(kill_at);
      for (int number = signals_.Next(); number != 0; number = signals_.Next()) {
        if (number != SIGCHLD) kill_at = absl::InfinitePast();
      }
      if (Now() >= kill_at) {
        for (auto& node : nodes_) node->Signal(SIGKILL);
        kill_at = absl::InfiniteFuture();
      }
    }
  }

  /// Waits until something happens, at most until `wake`; passes on what nodes print.
  void Poll(absl::Time wake) {
    std::vector<pollfd> wanted = {{signals_.fd(), POLLIN, 0}, {watch_.fd(), POLLIN, 0}};
    for (auto& node : nodes_) wanted.push_back({node->output(), POLLIN, 0});
    int timeout_ms = -1;
    if (wake != absl::InfiniteFuture()) {
      const absl::Duration left = std::clamp(wake - Now(), absl::ZeroDuration(), absl::Hours(1));
      timeout_ms = static_cast<int>(absl::ToInt64Milliseconds(absl::Ceil(left, absl::Milliseconds(1))));
    }
    if (poll(wanted.data(), wanted.size(), timeout_ms) <= 0) return;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (wanted[i + 2].revents != 0) nodes_[i]->OnOutput();
    }
  }

  std::string NotUp() const {
    std::vector<std::string> reasons;
    for (const auto& node : nodes_) {
      if (std::string reason = node->NotUp(); !reason.empty()) reasons.push_back(std::move(reason));
    }
    return absl::StrJoin(reasons, "; ");
  }

  const SupervisorOptions& options_;
  const Revision revision_;
  RunFolder& folder_;
  FolderWatch& watch_;
  SignalFd& signals_;
  LogPrinter log_;
  absl::Time started_;
  std::vector<std::unique_ptr<SupervisedNode>> nodes_;
};

}  // namespace

absl::Status RunSupervisor(const SupervisorOptions& options) {
  ASSIGN_OR_RETURN(MeshFile mesh, ReadMeshFile(options.mesh_file));
  std::string binary = options.binary;
  if (binary.empty()) {
    ASSIGN_OR_RETURN(binary, OwnBinary());
  }
  SignalFd signals({SIGINT, SIGTERM, SIGHUP, SIGCHLD});
  ASSIGN_OR_RETURN(const std::unique_ptr<RunFolder> folder, RunFolder::Open(options.run_folder));
  RETURN_IF_ERROR(folder->AssignPeers(&mesh.revision));
  RETURN_IF_ERROR(folder->Publish(&mesh.revision));
  ASSIGN_OR_RETURN(const std::unique_ptr<FolderWatch> watch, FolderWatch::Open(folder->status_folder()));
  return Supervisor(options, std::move(mesh.revision), *folder, *watch, signals).Run(binary);
}

}  // namespace portico
