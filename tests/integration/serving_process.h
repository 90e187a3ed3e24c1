#pragma once

#include <signal.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "tests/integration/portico_command.h"

namespace portico {

/// `portico serve` in a process of its own, from when it serves until the end of the scope.
class ServingProcess {
 public:
  /// `prefix` is PorticoCommand's.
  explicit ServingProcess(std::vector<std::string> arguments, std::vector<std::string> prefix = {})
      : command_(Arguments(std::move(arguments)), "portico", std::move(prefix)) {
    EXPECT_TRUE(command_.WaitForOutput("serving on ")) << command_.output();
    EXPECT_TRUE(command_.WaitForOutput("\n")) << command_.output();
  }

  /// Where it listens for "grpc", "http" or "peer", as it says itself.
  std::string Address(const std::string& kind) const {
    const std::string& output = command_.output();
    size_t from = output.find(kind + " ", output.find("serving on "));
    if (from == std::string::npos) return "";
    from += kind.size() + 1;
    return output.substr(from, output.find_first_of(",\n", from) - from);
  }
  /// PorticoCommand's, from where it said that it serves.
  bool WaitForOutput(absl::string_view text) { return command_.WaitForOutput(text); }
  /// Sends SIGKILL.
  void Kill() { command_.process().Signal(SIGKILL); }
  /// "exit status 0", say.
  std::string WaitForEnd() { return command_.WaitForEnd(); }
  pid_t pid() { return command_.process().pid(); }
  const std::string& output() const { return command_.output(); }

 private:
  static std::vector<std::string> Arguments(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "serve");
    return arguments;
  }

  PorticoCommand command_;
};

}  // namespace portico
