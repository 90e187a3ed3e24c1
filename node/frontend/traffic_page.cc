#include "node/frontend/traffic_page.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "codec/json_text.h"

namespace portico {
namespace {

void AppendExample(const Shadows::Example& example, std::string* json) {
  absl::StrAppend(json, "{\"time\":\"", absl::FormatTime(example.time, absl::UTCTimeZone()), "\",\"trace\":\"",
                  example.trace, "\",\"difference\":");
  // JSON knows no infinity.
  if (std::isfinite(example.difference)) {
    AppendJsonDouble(example.difference, json);
  } else {
    json->append("null");
  }
  json->append(",\"where\":");
  AppendJsonString(example.where, json);
  json->push_back('}');
}

}  // namespace

std::string TrafficJson(const TrafficArms& arms, const Shadows& shadows) {
  const auto examples = shadows.Examples();
  std::string json = "{\"arms\":[";
  bool first = true;
  for (const ArmCounts& counts : arms.Read()) {
    if (!std::exchange(first, false)) json.push_back(',');
    json.append("{\"model\":");
    AppendJsonString(counts.model, &json);
    json.append(",\"arm\":");
    AppendJsonString(counts.arm, &json);
    absl::StrAppend(&json, ",\"requests\":", counts.requests, ",\"errors\":", counts.errors,
                    ",\"p99_ms\":", absl::ToDoubleMilliseconds(QuantileOf(counts.latencies, 0.99)),
                    ",\"compared\":", counts.compared, ",\"disagreed\":", counts.disagreed, ",\"worst\":[");
    if (const auto found = examples.find({counts.model, counts.arm}); found != examples.end()) {
      for (size_t i = 0; i < found->second.size(); ++i) {
        if (i != 0) json.push_back(',');
        AppendExample(found->second[i], &json);
      }
    }
    json.append("]}");
  }
  json.append("]}\n");
  return json;
}

}  // namespace portico
