#include "base/log.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/json_string.h"
#include "base/mutex.h"
#include "spdlog/sinks/base_sink.h"
#include "spdlog/spdlog.h"

namespace portico {
namespace {

constexpr char kTextPattern[] = "%Y-%m-%dT%H:%M:%S.%f %L %v";

/// Standard error, which holds nobody up: where its reader has stopped (a pipe to a supervisor that hangs, a terminal
/// that is paused), lines are dropped and counted, and the next one that gets through is preceded by their number.
class StderrSink final : public spdlog::sinks::base_sink<std::mutex> {
 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    if (dropped_ > 0 && Write(absl::StrCat("(", dropped_, " log lines were dropped: standard error took none)\n"))) {
      dropped_ = 0;
    }
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    if (dropped_ > 0 || !Write({line.data(), line.size()})) ++dropped_;
  }
  void flush_() override {}

 private:
  /// A pipe that poll() calls writable takes so many bytes at once.
  static constexpr size_t kAtOnce = 4096;

  /// False where nothing was taken. What is taken in part loses its end.
  static bool Write(absl::string_view text) {
    bool begun = false;
    while (!text.empty()) {
      pollfd state{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
      if (poll(&state, 1, 0) <= 0 || (state.revents & POLLOUT) == 0) break;
      const ssize_t written = write(STDERR_FILENO, text.data(), std::min(text.size(), kAtOnce));
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) break;
      begun = true;
      text.remove_prefix(static_cast<size_t>(written));
    }
    return begun;
  }

  uint64_t dropped_ = 0;
};

spdlog::logger& Logger() {
  static spdlog::logger& logger = *[] {
    auto* made = new spdlog::logger("portico", std::make_shared<StderrSink>());
    made->set_pattern(kTextPattern);
    made->flush_on(spdlog::level::trace);
    return made;
  }();
  return logger;
}

/// The node that JSON lines name; null: lines are text.
std::atomic<const std::string*> json_node{nullptr};

/// A copy of `name` that is never freed: a thread may be reading it.
const std::string* Keep(absl::string_view name) {
  static Mutex& mutex = *new Mutex;
  static std::set<std::string>& names = *new std::set<std::string>;
  MutexLock lock(&mutex);
  return &*names.emplace(name).first;
}

spdlog::string_view_t View(absl::string_view text) { return {text.data(), text.size()}; }

/// As the repository names it, whatever the compiler was told.
absl::string_view SourceName(absl::string_view file) {
  static const absl::string_view root = absl::StripSuffix(__FILE__, "base/log.cc");
  return absl::StripPrefix(file, root);
}

std::string JsonLine(absl::string_view severity, absl::string_view node, absl::string_view message, const char* file,
                     int line) {
  std::string out =
      absl::StrCat("{\"time\":\"", absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", absl::Now(), absl::UTCTimeZone()),
                   "\",\"severity\":\"", severity, "\"");
  if (!node.empty()) {
    out.append(",\"node\":");
    AppendJsonString(node, &out);
  }
  out.append(",\"file\":");
  AppendJsonString(absl::StrCat(SourceName(file), ":", line), &out);
  out.append(",\"message\":");
  AppendJsonString(message, &out);
  out.push_back('}');
  return out;
}

void Log(spdlog::level::level_enum level, absl::string_view severity, absl::string_view message, const char* file,
         int line) {
  spdlog::logger& logger = Logger();
  if (!logger.should_log(level)) return;
  if (const std::string* node = json_node.load(std::memory_order_acquire)) {
    logger.log(level, View(JsonLine(severity, *node, message, file, line)));
  } else {
    logger.log(level, View(message));
  }
}

}  // namespace

void LogInfo(absl::string_view message, const char* file, int line) {
  Log(spdlog::level::info, "INFO", message, file, line);
}
void LogWarning(absl::string_view message, const char* file, int line) {
  Log(spdlog::level::warn, "WARNING", message, file, line);
}
void LogError(absl::string_view message, const char* file, int line) {
  Log(spdlog::level::err, "ERROR", message, file, line);
}

bool SetLogFormat(absl::string_view format, absl::string_view node) {
  if (format != "json" && format != "text") return false;
  const bool json = format == "json";
  Logger().set_pattern(json ? "%v" : kTextPattern);
  json_node.store(json ? Keep(node) : nullptr, std::memory_order_release);
  return true;
}

bool SetLogLevel(absl::string_view level) {
  if (level == "debug")
    Logger().set_level(spdlog::level::debug);
  else if (level == "info")
    Logger().set_level(spdlog::level::info);
  else if (level == "warning")
    Logger().set_level(spdlog::level::warn);
  else if (level == "error")
    Logger().set_level(spdlog::level::err);
  else if (level == "off")
    Logger().set_level(spdlog::level::off);
  else
    return false;
  return true;
}

}  // namespace portico
