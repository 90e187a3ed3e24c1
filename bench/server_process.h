#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

namespace portico::bench {

/// Servers in a process of their own, a fork of this one; told to end, and waited for, when destroyed. REQUIRES: this
/// process has no thread yet that the servers would miss.
class ServerProcess {
 public:
  /// `serve` runs in the child and does not return: it writes two endpoints to `out`, a line each, and serves until
  /// `stop` is at its end.
  explicit ServerProcess(const std::function<void(int stop, int out)>& serve);
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  pid_t pid() const { return pid_; }
  const std::string& first() const { return first_; }
  const std::string& second() const { return second_; }

  /// The child's last words: blocks until `stop` is at its end, then ends the process.
  [[noreturn]] static void EndWith(int stop);

 private:
  pid_t pid_;
  int end_;
  std::string first_, second_;
};

}  // namespace portico::bench
