#pragma once

#include <cstdio>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"

namespace portico {

/// Cuts a stream of bytes into lines, however it comes in. A line longer than kMaxLine is cut there. For one thread.
class LineCutter {
 public:
  static constexpr size_t kMaxLine = 16 << 10;

  /// Calls `line` for each line that is complete, without its newline.
  void Add(absl::string_view bytes, absl::FunctionRef<void(absl::string_view line)> line);
  /// What is left without a newline, as a last line.
  void Finish(absl::FunctionRef<void(absl::string_view line)> line);

 private:
  std::string rest_;
};

/// Prints lines of several processes to one stream, each behind its process's name: "hub/0 | ...", in a colour of its
/// own on a terminal. For one thread.
class LogPrinter {
 public:
  /// `out` is not owned. `width`: of the longest name.
  LogPrinter(std::FILE* out, size_t width, bool colour) : out_(out), width_(width), colour_(colour) {}

  /// `index` chooses the colour.
  void Print(absl::string_view name, size_t index, absl::string_view line);
  /// A line of the supervisor itself.
  void Say(absl::string_view line);

 private:
  std::FILE* const out_;
  const size_t width_;
  const bool colour_;
};

}  // namespace portico
