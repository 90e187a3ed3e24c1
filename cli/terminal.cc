#include "cli/terminal.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace portico {
namespace {

void Write(absl::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(STDOUT_FILENO, text.data(), text.size());
    // The terminal has gone: there is nobody to tell.
    if (written <= 0) return;
    text.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace

Terminal Terminal::Of(int fd) {
  Terminal terminal;
  terminal.is_terminal = isatty(fd) == 1;
  terminal.color = terminal.is_terminal && std::getenv("NO_COLOR") == nullptr;
  winsize size{};
  if (terminal.is_terminal && ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0) {
    terminal.columns = size.ws_col;
    terminal.rows = size.ws_row;
  }
  return terminal;
}

FullScreen::FullScreen()
    : signals_({SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP}), reads_keys_(tcgetattr(STDIN_FILENO, &before_) == 0) {
  if (reads_keys_) {
    termios raw = before_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
  }
  Write("\x1b[?1049h\x1b[?25l");
}

FullScreen::~FullScreen() {
  Write("\x1b[?25h\x1b[?1049l");
  if (reads_keys_) tcsetattr(STDIN_FILENO, TCSANOW, &before_);
}

void FullScreen::Draw(absl::string_view text) {
  // Line by line over the last picture, which doesn't flicker; what is left of that goes.
  Write(absl::StrCat("\x1b[H", absl::StrReplaceAll(text, {{"\n", "\x1b[K\n"}}), "\x1b[J"));
}

char FullScreen::WaitForKey(absl::Duration time) {
  pollfd wanted[2] = {{signals_.fd(), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
  const int64_t ms = std::clamp<int64_t>(absl::ToInt64Milliseconds(time), 0, 3'600'000);
  if (poll(wanted, reads_keys_ ? 2 : 1, static_cast<int>(ms)) <= 0) return 0;
  for (int signal = signals_.Next(); signal != 0; signal = signals_.Next()) {
    if (signal != SIGWINCH && signal != SIGTSTP) return 'q';
  }
  if (wanted[1].revents == 0) return 0;
  char key = 0;
  // Its other end has gone.
  return read(STDIN_FILENO, &key, 1) == 1 ? key : (wanted[1].revents & POLLHUP) != 0 ? 'q' : '\0';
}

}  // namespace portico
