#include "base/log.h"

#include <memory>

#include "spdlog/sinks/stdout_sinks.h"
#include "spdlog/spdlog.h"

namespace portico {
namespace {

spdlog::logger& Logger() {
  static spdlog::logger& logger = *[] {
    auto* made = new spdlog::logger("portico", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%f %L %v");
    made->flush_on(spdlog::level::trace);
    return made;
  }();
  return logger;
}

spdlog::string_view_t View(absl::string_view text) { return {text.data(), text.size()}; }

}  // namespace

void LogInfo(absl::string_view message) { Logger().log(spdlog::level::info, View(message)); }
void LogWarning(absl::string_view message) { Logger().log(spdlog::level::warn, View(message)); }
void LogError(absl::string_view message) { Logger().log(spdlog::level::err, View(message)); }

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
