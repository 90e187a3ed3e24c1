#include "base/log.h"

#include <atomic>
#include <memory>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/json_string.h"
#include "base/mutex.h"
#include "spdlog/sinks/stdout_sinks.h"
#include "spdlog/spdlog.h"

namespace portico {
namespace {

constexpr char kTextPattern[] = "%Y-%m-%dT%H:%M:%S.%f %L %v";

spdlog::logger& Logger() {
  static spdlog::logger& logger = *[] {
    auto* made = new spdlog::logger("portico", std::make_shared<spdlog::sinks::stderr_sink_mt>());
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
