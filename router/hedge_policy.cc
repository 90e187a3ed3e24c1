#include "router/hedge_policy.h"

#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "router/yaml_node.h"
#include "yaml-cpp/yaml.h"

namespace portico {
namespace {

constexpr int kMinPercentile = 50;
constexpr int kMaxPercentile = 99;

absl::Status ReadAfter(const YamlNode& value, absl::string_view subject, HedgePolicy* hedge) {
  ASSIGN_OR_RETURN(const std::string text, value.Text(subject));
  absl::Duration after;
  int percentile = 0;
  if (text == "off") {
    after = absl::InfiniteDuration();
  } else if (text[0] == 'p' && absl::SimpleAtoi(text.substr(1), &percentile)) {
    if (percentile < kMinPercentile || percentile > kMaxPercentile) {
      return value.Error(absl::StrCat(subject, ": got '", text, "', want p", kMinPercentile, " to p", kMaxPercentile,
                                      ", such as p95"));
    }
    after = absl::InfiniteDuration();
  } else if (!absl::ParseDuration(text, &after) || after <= absl::ZeroDuration() || after == absl::InfiniteDuration()) {
    return value.Error(
        absl::StrCat(subject, ": got '", text, "', want a time such as 20ms, a percentile such as p95, or off"));
  }
  hedge->after = after;
  hedge->percentile = percentile;
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadHedgePolicy(const YamlNode& from, absl::string_view subject, HedgePolicy* hedge) {
  if (const YamlNode* after = from.Find("hedge_after")) {
    RETURN_IF_ERROR(ReadAfter(*after, absl::StrCat(subject, ": hedge_after"), hedge));
  }
  if (const YamlNode* percent = from.Find("hedge_percent")) {
    ASSIGN_OR_RETURN(const int64_t number, percent->Integer(absl::StrCat(subject, ": hedge_percent"), 0, 100));
    hedge->percent = static_cast<int>(number);
  }
  return absl::OkStatus();
}

void Emit(const HedgePolicy& hedge, YAML::Emitter& out) {
  std::string after = "off";
  if (hedge.after < absl::InfiniteDuration()) after = absl::FormatDuration(hedge.after);
  if (hedge.percentile > 0) after = absl::StrCat("p", hedge.percentile);
  out << YAML::Key << "hedge_after" << YAML::Value << after;
  out << YAML::Key << "hedge_percent" << YAML::Value << hedge.percent;
}

}  // namespace portico
