#include "cli/progress_line.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "cli/terminal.h"

namespace portico {

ProgressLine::ProgressLine(std::string what)
    : what_(std::move(what)), terminal_(Terminal::Of(STDERR_FILENO).is_terminal), start_(absl::Now()) {}

ProgressLine::~ProgressLine() {
  if (shown_) std::fputs("\r\x1b[K", stderr);
}

void ProgressLine::Show(uint64_t done, uint64_t all, const std::string& unit) {
  const absl::Time now = absl::Now();
  if (!first_.has_value()) first_ = done;
  if (!terminal_ || now - last_ < absl::Milliseconds(200)) return;
  last_ = now;
  shown_ = true;
  const double seconds = std::max(absl::ToDoubleSeconds(now - start_), 1e-3);
  const double share = all == 0 ? 1.0 : static_cast<double>(done) / static_cast<double>(all);
  absl::FPrintF(stderr, "\r\x1b[K%s: %d %%, %.2f M %s/s", what_, static_cast<int>(share * 100),
                static_cast<double>(done - std::min(done, *first_)) / seconds / 1e6, unit);
  std::fflush(stderr);
}

}  // namespace portico
