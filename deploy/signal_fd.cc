#include "deploy/signal_fd.h"

#include <poll.h>
#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>

#include "base/check.h"

namespace portico {

SignalFd::SignalFd(std::initializer_list<int> signals) {
  sigset_t mask;
  sigemptyset(&mask);
  for (const int number : signals) sigaddset(&mask, number);
  PORTICO_CHECK(pthread_sigmask(SIG_BLOCK, &mask, &old_mask_) == 0);
  fd_ = signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
  PORTICO_CHECK(fd_ >= 0);
}

SignalFd::~SignalFd() {
  close(fd_);
  pthread_sigmask(SIG_SETMASK, &old_mask_, nullptr);
}

int SignalFd::Next() {
  signalfd_siginfo info;
  return read(fd_, &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
}

int SignalFd::Wait(absl::Duration timeout) {
  const bool forever = timeout == absl::InfiniteDuration();
  const int timeout_ms = forever ? -1 : static_cast<int>(absl::ToInt64Milliseconds(std::min(timeout, absl::Hours(1))));
  for (;;) {
    if (const int number = Next(); number != 0) return number;
    pollfd wanted{fd_, POLLIN, 0};
    if (poll(&wanted, 1, timeout_ms) == 0) return 0;
  }
}

bool SignalPending(std::initializer_list<int> signals) {
  sigset_t pending;
  if (sigpending(&pending) != 0) return false;
  for (const int signal : signals) {
    if (sigismember(&pending, signal) == 1) return true;
  }
  return false;
}

}  // namespace portico
