#pragma once

#include <csignal>
#include <initializer_list>

#include "absl/time/time.h"

namespace portico {

/// Signals as a file descriptor. Blocks `signals` in the calling thread and in threads it starts later, so make it
/// before any other thread; the destructor restores the mask. For one thread.
class SignalFd {
 public:
  explicit SignalFd(std::initializer_list<int> signals);
  ~SignalFd();
  SignalFd(const SignalFd&) = delete;
  SignalFd& operator=(const SignalFd&) = delete;

  /// Readable while a signal is pending.
  int fd() const { return fd_; }
  /// A pending signal, or 0 when there is none. Never blocks.
  int Next();
  /// Blocks until there is a signal. 0 when `timeout` passed first.
  int Wait(absl::Duration timeout = absl::InfiniteDuration());

 private:
  int fd_;
  sigset_t old_mask_;
};

/// Whether one of `signals`, which are blocked, has come and nobody has taken it yet. From any thread.
bool SignalPending(std::initializer_list<int> signals);

}  // namespace portico
