#include "deploy/supervisor.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "deploy/folder_watch.h"
#include "deploy/hub_modules.h"
#include "deploy/log_lines.h"
#include "deploy/mesh.h"
#include "deploy/mesh_follower.h"
#include "deploy/mesh_processes.h"
#include "deploy/mesh_traffic.h"
#include "deploy/mesh_transition.h"
#include "deploy/ramps.h"
#include "deploy/rollout.h"
#include "deploy/run_folder.h"
#include "deploy/same_process.h"
#include "deploy/signal_fd.h"
#include "router/revision_pointers.h"

namespace portico {
namespace {

/// A node drains for 30 s at most; then it is killed.
constexpr absl::Duration kStopTimeout = absl::Seconds(35);
/// After a revision was refused, until ramps are looked at again.
constexpr absl::Duration kRampDelay = absl::Seconds(5);

absl::StatusOr<std::string> OwnBinary() {
  char path[4096];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof path);
  if (length < 0) return ErrnoStatus(errno, "read link", "/proc/self/exe");
  return std::string(path, static_cast<size_t>(length));
}

bool HasNode(const Revision& revision, const std::string& id) {
  return absl::c_any_of(revision.nodes, [&](const Revision::Node& node) { return node.id() == id; });
}

/// One thread that sleeps in poll() until a signal, a line of a node, a status file, news of the mesh file or a time
/// that has come. First all nodes become ready and their portals reach their targets (or the mesh fails), then it
/// serves, and rolls out what changes, until a signal, then it stops all.
class Supervisor {
 public:
  struct Parts {
    const RunFolder& folder;
    FolderWatch& status_files;
    FolderWatch& requests;
    SignalFd& signals;
    MeshFollower& mesh;
  };
  Supervisor(const SupervisorOptions& options, Revision revision, const Parts& parts, const std::string& binary)
      : options_(options),
        revision_(std::move(revision)),
        parts_(parts),
        log_(stdout, LongestId(revision_), isatty(STDOUT_FILENO) == 1),
        processes_(binary, parts.folder, log_) {}

  absl::Status Run() {
    started_ = Now();
    log_.Say(absl::StrCat("mesh '", revision_.mesh, "': starting ", revision_.nodes.size(), " nodes; run folder ",
                          parts_.folder.path()));
    for (const Revision::Node& node : revision_.nodes) processes_.Add(node);
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

  /// Until a signal asks to stop (OK) or the mesh can't come up.
  absl::Status Supervise() {
    const absl::Time ready_by = started_ + options_.ready_timeout;
    for (;;) {
      RETURN_IF_ERROR(processes_.StartDue(Now()));
      absl::Time wake = std::min(ready_ ? absl::InfiniteFuture() : ready_by, processes_.NextStart());
      if (rollout_.has_value()) wake = std::min({wake, rollout_->wake(), kill_at_});
      if (ready_) wake = std::min(wake, Ramps::Wake(revision_, Now()));
      Poll(wake);

      bool child_ended = false;
      for (int number = parts_.signals.Next(); number != 0; number = parts_.signals.Next()) {
        if (number != SIGCHLD) return absl::OkStatus();
        child_ended = true;
      }
      parts_.status_files.Clear();
      for (const MeshProcesses::Failure& failure : processes_.Look(child_ended, Now())) {
        RETURN_IF_ERROR(OnFailure(failure));
      }
      if (ready_) {
        LookForNews();
        LookAtRamps();
        RETURN_IF_ERROR(Advance());
        continue;
      }
      ready_ = processes_.NotUp().empty();
      if (ready_) {
        log_.Say(absl::StrFormat("mesh '%s' is ready after %.1f s; Ctrl-C stops it", revision_.mesh,
                                 absl::ToDoubleSeconds(Now() - started_)));
      } else if (Now() >= ready_by) {
        return absl::DeadlineExceededError(absl::StrCat(
            "mesh '", revision_.mesh, "': got ", processes_.NotUp(), ", want all nodes ready within ",
            absl::FormatDuration(options_.ready_timeout), "; see the log above, or give a longer --ready-timeout"));
      }
    }
  }

  /// While the mesh comes up it fails with it; later that is the end of a rollout at most.
  absl::Status OnFailure(const MeshProcesses::Failure& failure) {
    if (!ready_) return failure.status;
    if (rollout_.has_value() && !flipped_ && !HasNode(revision_, failure.id)) {
      Refuse(failure.status.message());
    } else {
      log_.Say(absl::StrCat(failure.status.message(), "; it is not started again before the mesh file changes"));
    }
    return absl::OkStatus();
  }

  /// What the mesh should be now, by its file or by request; begins to roll it out where nothing is under way.
  void LookForNews() {
    if (auto news = parts_.mesh.Take(); news.has_value()) {
      if (!news->revision.ok()) {
        log_.Say(absl::StrCat("mesh '", revision_.mesh, "': revision ", revision_.number, " goes on, since ",
                              news->revision.status().message()));
      } else if (news->file_changed || !went_back_) {
        went_back_ = false;
        wanted_ = *std::move(news->revision);
        wanted_->reason = news->file_changed ? "the mesh file has changed" : "a model's folder has changed";
        // Ramps go on where they are.
        CarryRamps(rollout_.has_value() ? next_ : revision_, &*wanted_);
      } else {
        log_.Say(absl::StrCat("mesh '", revision_.mesh,
                              "': a model's folder has changed; that is not rolled out before the mesh file changes, "
                              "since somebody went back"));
      }
    }
    parts_.requests.Clear();
    if (const uint64_t number = parts_.folder.TakeWanted(); number != 0) WantOld(number);
    if (!wanted_.has_value() || rollout_.has_value()) return;
    BeginWanted();
  }

  /// Where arms of split traffic have done well or badly: the next revision.
  void LookAtRamps() {
    if (rollout_.has_value() || wanted_.has_value() || Now() < ramps_at_) return;
    std::optional<Revision> next = ramps_.Next(revision_, processes_.Counts(), Now());
    for (const std::string& news : ramps_.TakeNews()) log_.Say(absl::StrCat("mesh '", revision_.mesh, "': ", news));
    if (!next.has_value()) return;
    wanted_ = std::move(next);
    BeginWanted();
  }

  void BeginWanted() {
    Revision next = *std::exchange(wanted_, std::nullopt);
    next.number = revision_.number;
    absl::Status status = parts_.folder.AssignPeers(&next);
    if (status.ok() && next.SaysTheSameAs(revision_)) return;
    if (status.ok()) status = CheckTransition(revision_, next);
    if (status.ok()) status = Begin(std::move(next));
    if (!status.ok()) {
      log_.Say(absl::StrCat("mesh '", revision_.mesh, "': revision ", revision_.number, " goes on, since ",
                            status.message()));
    }
  }

  void WantOld(uint64_t number) {
    absl::StatusOr<Revision> old = ReadRevision(RevisionDocument(parts_.folder.path(), number));
    if (!old.ok()) {
      log_.Say(
          absl::StrCat("mesh '", revision_.mesh, "': no way back to revision ", number, ": ", old.status().message()));
      return;
    }
    wanted_ = *std::move(old);
    wanted_->reason = absl::StrCat("back to revision ", number);
    StopRamps(wanted_->reason, &*wanted_);
    went_back_ = true;
  }

  absl::Status Begin(Revision next) {
    RETURN_IF_ERROR(parts_.folder.Write(&next));
    Rollout::Options options;
    options.number = next.number;
    options.prepare_by = Now() + options_.prepare_timeout;
    for (const Revision::Node& node : next.nodes) {
      options.nodes.insert(node.id());
      const SupervisedNode* have = processes_.Find(node.id());
      if (have == nullptr) processes_.Add(node);
      if (have != nullptr && !have->running()) options.down.insert(node.id());
      if (have != nullptr && !SameProcess(revision_, have->node(), next, node)) options.leaving.insert(node.id());
    }
    for (const auto& node : processes_.nodes()) {
      if (!options.nodes.contains(node->id())) options.leaving.insert(node->id());
    }
    log_.Say(absl::StrCat("mesh '", revision_.mesh, "': preparing revision ", next.number, ": ", next.reason));
    flipped_ = false;
    leaving_ = options.leaving;
    next_ = std::move(next);
    rollout_.emplace(std::move(options));
    rollout_began_ = Now();
    return parts_.folder.Point("next", next_.number);
  }

  /// Does what the rollout asks for.
  absl::Status Advance() {
    while (rollout_.has_value()) {
      if (Now() >= kill_at_) {
        for (const auto& node : processes_.nodes()) {
          if (node->leaving()) node->Signal(SIGKILL);
        }
        kill_at_ = absl::InfiniteFuture();
      }
      switch (rollout_->Next(processes_.Reports(), Now())) {
        case Rollout::Step::kWait:
          return absl::OkStatus();
        case Rollout::Step::kFlip:
          RETURN_IF_ERROR(parts_.folder.Point("current", next_.number));
          parts_.folder.Unpoint("next");
          flipped_ = true;
          revision_ = next_;
          log_.Say(absl::StrFormat("mesh '%s': revision %d is current, prepared in %.2f s", revision_.mesh,
                                   revision_.number, absl::ToDoubleSeconds(Now() - rollout_began_)));
          break;
        case Rollout::Step::kRefuse:
          Refuse(rollout_->why());
          break;
        case Rollout::Step::kStopLeaving:
          if (!rollout_->why().empty()) {
            log_.Say(absl::StrCat("mesh '", revision_.mesh, "': requests of earlier revisions are left in ",
                                  rollout_->why(), "; what they need of those may go"));
          }
          for (const std::string& id : leaving_) processes_.Leave(id);
          kill_at_ = leaving_.empty() ? absl::InfiniteFuture() : Now() + kStopTimeout;
          break;
        case Rollout::Step::kRetire:
          RETURN_IF_ERROR(parts_.folder.Point("oldest", revision_.number));
          EndRollout();
          break;
      }
    }
    // News that came meanwhile.
    if (wanted_.has_value()) LookForNews();
    return absl::OkStatus();
  }

  /// The revision that was being prepared is not rolled out.
  void Refuse(absl::string_view why) {
    parts_.folder.Unpoint("next");
    ramps_at_ = Now() + kRampDelay;
    const absl::Status kept = parts_.folder.Refuse(next_, why);
    log_.Say(absl::StrCat("mesh '", revision_.mesh, "': revision ", next_.number, " cannot be prepared, revision ",
                          revision_.number, " goes on: ", why,
                          kept.ok() ? "" : absl::StrCat(" (", kept.message(), ")")));
    for (const Revision::Node& node : next_.nodes) {
      if (revision_.FindNode(node.name, node.replica) == nullptr) processes_.Leave(node.id());
    }
    EndRollout();
  }

  void EndRollout() {
    rollout_.reset();
    kill_at_ = absl::InfiniteFuture();
    leaving_.clear();
    processes_.ForgetLeft();
    // Those that could not change while they ran start anew.
    for (const Revision::Node& node : revision_.nodes) {
      if (processes_.Find(node.id()) == nullptr) processes_.Add(node);
    }
  }

  /// SIGTERM to all; SIGKILL to those that are left when the time is over or at a second Ctrl-C.
  void Stop() {
    log_.Say(absl::StrCat("mesh '", revision_.mesh, "': stopping"));
    processes_.Signal(SIGTERM);
    absl::Time kill_at = Now() + kStopTimeout;
    for (;;) {
      processes_.LookStopping();
      if (!processes_.AnyRunning()) return;
      Poll(kill_at);
      parts_.status_files.Clear();
      parts_.requests.Clear();
      parts_.mesh.Take();
      for (int number = parts_.signals.Next(); number != 0; number = parts_.signals.Next()) {
        if (number != SIGCHLD) kill_at = absl::InfinitePast();
      }
      if (Now() >= kill_at) {
        processes_.Signal(SIGKILL);
        kill_at = absl::InfiniteFuture();
      }
    }
  }

  /// Waits until something happens, at most until `wake`; passes on what nodes print.
  void Poll(absl::Time wake) {
    std::vector<pollfd> wanted = {{parts_.signals.fd(), POLLIN, 0}, {parts_.status_files.fd(), POLLIN, 0}};
    // While the mesh comes up, news wait.
    for (const int fd : {parts_.requests.fd(), parts_.mesh.fd()}) wanted.push_back({ready_ ? fd : -1, POLLIN, 0});
    const size_t first = wanted.size();
    for (const auto& node : processes_.nodes()) wanted.push_back({node->output(), POLLIN, 0});
    int timeout_ms = -1;
    if (wake != absl::InfiniteFuture()) {
      const absl::Duration left = std::clamp(wake - Now(), absl::ZeroDuration(), absl::Hours(1));
      timeout_ms = static_cast<int>(absl::ToInt64Milliseconds(absl::Ceil(left, absl::Milliseconds(1))));
    }
    if (poll(wanted.data(), wanted.size(), timeout_ms) <= 0) return;
    for (size_t i = first; i < wanted.size(); ++i) {
      if (wanted[i].revents != 0) processes_.nodes()[i - first]->OnOutput();
    }
  }

  const SupervisorOptions& options_;
  /// The current one.
  Revision revision_;
  const Parts parts_;
  LogPrinter log_;
  absl::Time started_;
  MeshProcesses processes_;
  /// The mesh has been up.
  bool ready_ = false;
  /// To be rolled out when what is under way is over.
  std::optional<Revision> wanted_;
  /// By request: what is in folders does not undo that.
  bool went_back_ = false;
  Ramps ramps_;
  /// Not before; later where a revision was refused, so that it is not tried over and over.
  absl::Time ramps_at_ = absl::InfinitePast();
  std::optional<Rollout> rollout_;
  absl::Time rollout_began_;
  Revision next_;
  bool flipped_ = false;
  /// Nodes that end, or start anew, with the rollout, and when they are killed.
  std::set<std::string> leaving_;
  absl::Time kill_at_ = absl::InfiniteFuture();
};

}  // namespace

absl::Status RunSupervisor(const SupervisorOptions& options) {
  // First: reading the mesh may ask ONNX Runtime, which starts a thread, and no thread may take these signals.
  SignalFd signals({SIGINT, SIGTERM, SIGHUP, SIGCHLD});
  PackageReader packages;
  ASSIGN_OR_RETURN(const std::unique_ptr<RunFolder> folder, RunFolder::Open(options.run_folder));
  const auto say = [](absl::string_view line) {
    absl::PrintF("%s\n", line);
    std::fflush(stdout);
  };
  const auto asked_to_stop = [] { return SignalPending({SIGINT, SIGTERM}); };
  const auto stopped = std::make_shared<std::atomic<bool>>(false);
  const FindModule find_module = PullModules(say, [=] { return *stopped || asked_to_stop(); });
  const absl::StatusOr<MeshFile> read =
      ReadMeshFile(options.mesh_file, &packages, folder->composed_folder(), find_module, PulledModule);
  if (!read.ok() && asked_to_stop()) {
    // Taken, or it would end the process once it is let through again.
    while (signals.Next() != 0) {
    }
    say("interrupted; what has been pulled stays, and the next start goes on from there");
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(read.status());
  const MeshFile& mesh = *read;
  std::string binary = options.binary;
  if (binary.empty()) {
    ASSIGN_OR_RETURN(binary, OwnBinary());
  }
  Revision revision = mesh.revision;
  revision.reason = "the mesh has started";
  // What ramps had come to when the mesh was stopped.
  if (const auto last = ReadRevision(folder->current()); last.ok()) CarryRamps(*last, &revision);
  RETURN_IF_ERROR(folder->AssignPeers(&revision));
  RETURN_IF_ERROR(folder->Publish(&revision));
  ASSIGN_OR_RETURN(const std::unique_ptr<FolderWatch> status_files, FolderWatch::Open(folder->status_folder()));
  ASSIGN_OR_RETURN(const std::unique_ptr<FolderWatch> requests, FolderWatch::Open(folder->path()));
  // Its thread begins when signals are blocked.
  MeshFollower::Options follow;
  follow.mesh_file = options.mesh_file;
  follow.composed_folder = folder->composed_folder();
  follow.find_module = find_module;
  MeshFollower follower(follow, mesh, packages);
  // It may be pulling.
  const absl::Cleanup stop = [stopped] { *stopped = true; };
  return Supervisor(options, std::move(revision), {*folder, *status_files, *requests, signals, follower}, binary).Run();
}

}  // namespace portico
