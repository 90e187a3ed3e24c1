#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "deploy/log_lines.h"
#include "deploy/node_status.h"
#include "deploy/process.h"
#include "deploy/restart_delay.h"
#include "router/revision.h"

namespace portico {

/// One node of a mesh under supervision: its process, when to start it again, and its last words. The supervisor's loop
/// tells it what happened; it never waits. For one thread.
class SupervisedNode {
 public:
  /// Crashes before it was ever ready after which starting it is given up.
  static constexpr int kMaxFailedStarts = 5;
  static constexpr size_t kLastLines = 20;

  struct Options {
    Revision::Node node;
    /// Its colour in the log.
    size_t index = 0;
    std::vector<std::string> command;
    std::string status_file;
  };

  /// `log` is not owned and must outlive it.
  SupervisedNode(Options options, LogPrinter& log) : options_(std::move(options)), log_(log) {}

  const std::string& id() const { return id_; }
  const Revision::Node& node() const { return options_.node; }
  /// As its status file said last; nothing since it was started.
  const NodeStatus& status() const { return status_; }
  bool running() const { return process_ != nullptr; }
  bool was_ready() const { return was_ready_; }
  /// Why it does not count as up: not ready yet, or which portal has not reached its target. Empty: it is, or once was.
  std::string NotUp() const;
  /// −1 when there is nothing to read.
  int output() const { return running() ? process_->output() : -1; }
  /// When it wants to be started; InfiniteFuture while it runs.
  absl::Time start_at() const { return start_at_; }

  /// Starts its process. An error means that the binary can't be run at all.
  absl::Status Start(absl::Time now);
  /// output() is readable.
  void OnOutput();
  /// Its status file may have changed. An error: it will never be ready, and why.
  absl::Status OnStatusFile(absl::Time now);
  /// Some child has ended: if it was this one, says so and asks to be started again. An error: given up, with its last
  /// lines.
  absl::Status OnChildEnded(absl::Time now);
  void Signal(int number);
  /// It ends, and is not started again.
  void Leave();
  bool leaving() const { return leaving_; }
  /// Like OnChildEnded() while the mesh stops: it stays down.
  void OnChildEndedStopping();

 private:
  void PrintOutput(bool to_the_end);
  std::string LastLines() const;

  const Options options_;
  LogPrinter& log_;
  const std::string id_ = options_.node.id();
  LineCutter lines_;
  std::deque<std::string> last_lines_;
  std::unique_ptr<Process> process_;
  RestartDelay delay_;
  absl::Time started_;
  absl::Time ready_since_ = absl::InfiniteFuture();
  absl::Time start_at_ = absl::InfinitePast();
  int failed_starts_ = 0;
  bool leaving_ = false;
  bool was_ready_ = false;
  bool was_up_ = false;
  NodeStatus status_;
};

}  // namespace portico
