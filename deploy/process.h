#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace portico {

/// A child process in a process group of its own (so that Ctrl-C reaches only its parent), with one pipe for all that
/// it prints. Dies with the thread that started it, whatever way that goes. For one thread.
class Process {
 public:
  /// Starts `command` (a path, then arguments), standard input closed. An error says why it can't be run.
  static absl::StatusOr<std::unique_ptr<Process>> Start(const std::vector<std::string>& command);
  /// Kills it if it still runs, and waits.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  /// Standard output and error, joined. Not blocking; −1 after its end.
  int output() const { return output_; }
  /// Appends to `out` what there is to read. False at the end: output() is closed. Never blocks.
  bool ReadOutput(std::string* out);
  /// SIGKILL reaches its children too. Nothing happens when it has ended.
  void Signal(int number);
  /// How it ended, "exit status 1" or "signal 9 (Killed)"; nothing while it runs. Never blocks.
  std::optional<std::string> Ended();
  /// Whether it ended by exit status 0. REQUIRES: Ended() has said something.
  bool succeeded() const { return wait_status_ == 0; }
  /// Blocks until it ended.
  std::string Wait();

 private:
  Process(pid_t pid, int output) : pid_(pid), output_(output) {}

  const pid_t pid_;
  int output_;
  bool ended_ = false;
  int wait_status_ = 0;
};

}  // namespace portico
