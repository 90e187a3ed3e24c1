#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "deploy/node_status.h"
#include "deploy/process.h"

namespace portico {

/// The built `portico` command, or another program of the build folder, run as a person would. Killed at the end of the
/// scope. For one thread.
class PorticoCommand {
 public:
  /// `prefix`: words of a command that runs it, {"nice"} say.
  explicit PorticoCommand(std::vector<std::string> arguments, const std::string& program = "portico",
                          std::vector<std::string> prefix = {});

  Process& process() { return *process_; }
  /// Blocks until `text` has been printed after what earlier calls have waited for. False at the end of output or after
  /// a minute.
  bool WaitForOutput(absl::string_view text);
  /// Blocks until it ended; "exit status 0", say. Its output is then complete. One that goes on without a word for five
  /// minutes is killed, which the answer says.
  std::string WaitForEnd();
  /// Standard output and error, so far.
  const std::string& output() const { return output_; }

 private:
  enum class More { kRead, kEnd, kSilence };
  /// Blocks until there is more, for a minute at most.
  More ReadMore();

  std::unique_ptr<Process> process_;
  std::string output_;
  size_t seen_ = 0;
};

/// Runs it to its end.
struct CommandResult {
  std::string end;
  std::string output;
};
CommandResult RunPortico(std::vector<std::string> arguments, const std::string& program = "portico");

/// Signals the process of a node whose status file was read; a test failure, and no signal, where it was not.
void SignalNode(const NodeStatus& node, int signal);

/// Where a `portico serve` listens, HOST:PORT each.
struct ServeAddresses {
  std::string grpc;
  std::string http;
};
/// Blocks until the process says where it serves: "serving on grpc HOST:PORT, http HOST:PORT". None where it ends, or
/// does not say so within a minute.
std::optional<ServeAddresses> WaitForServe(PorticoCommand* serve);

}  // namespace portico
