#pragma once

#include <termios.h>

#include <cstddef>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "deploy/signal_fd.h"

namespace portico {

/// What is at a file descriptor.
struct Terminal {
  bool is_terminal = false;
  /// Whether to colour what is written: it is a terminal, and NO_COLOR is not set.
  bool color = false;
  size_t columns = 80;
  size_t rows = 24;

  static Terminal Of(int fd);
};

/// Takes the terminal of standard output for a picture that changes: the alternative screen without a cursor, keys read
/// as they come. Gives it back at its end; signals to end are keys meanwhile, so that there is one. Make it before any
/// thread. For one thread.
class FullScreen {
 public:
  FullScreen();
  ~FullScreen();
  FullScreen(const FullScreen&) = delete;
  FullScreen& operator=(const FullScreen&) = delete;

  /// The whole picture. REQUIRES: no more lines than the terminal has rows, none longer than its columns.
  static void Draw(absl::string_view text);
  /// Waits for a key for so long. 0: the time is over, or the terminal has another size. 'q': also for a signal to end.
  char WaitForKey(absl::Duration time);

 private:
  SignalFd signals_;
  termios before_{};
  /// Standard input is a terminal; what it was like is in `before_`, which is there first.
  const bool reads_keys_;
};

}  // namespace portico
