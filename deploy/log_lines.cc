#include "deploy/log_lines.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"

namespace portico {
namespace {

/// Foreground colours that can be read on dark and light ground.
constexpr std::array<int, 6> kColours = {36, 33, 32, 35, 34, 31};

}  // namespace

void LineCutter::Add(absl::string_view bytes, absl::FunctionRef<void(absl::string_view line)> line) {
  while (!bytes.empty()) {
    const size_t newline = bytes.find('\n');
    const size_t room = kMaxLine - rest_.size();
    const size_t take = std::min({newline, bytes.size(), room});
    rest_.append(bytes.data(), take);
    bytes.remove_prefix(take);
    const bool complete = take == newline;
    if (complete) bytes.remove_prefix(1);
    if (complete || rest_.size() == kMaxLine) {
      line(rest_);
      rest_.clear();
    }
  }
}

void LineCutter::Finish(absl::FunctionRef<void(absl::string_view line)> line) {
  if (!rest_.empty()) line(rest_);
  rest_.clear();
}

void LogPrinter::Print(absl::string_view name, size_t index, absl::string_view line) {
  const std::string padding(width_ - std::min(width_, name.size()), ' ');
  std::string text;
  if (colour_) {
    text = absl::StrCat("\x1b[", kColours[index % kColours.size()], "m", name, padding, " |\x1b[0m ", line, "\n");
  } else {
    text = absl::StrCat(name, padding, " | ", line, "\n");
  }
  std::fwrite(text.data(), 1, text.size(), out_);
  std::fflush(out_);
}

void LogPrinter::Say(absl::string_view line) {
  const std::string text = absl::StrCat(line, "\n");
  std::fwrite(text.data(), 1, text.size(), out_);
  std::fflush(out_);
}

}  // namespace portico
