#include "router/traffic_document.h"

#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "router/yaml_node.h"
#include "yaml-cpp/yaml.h"

namespace portico {
namespace {

constexpr size_t kMaxSteps = 100;
constexpr size_t kMaxArms = 16;
constexpr double kMaxWeight = 1e6;
constexpr int64_t kMaxVersion = std::numeric_limits<int64_t>::max();

void EmitTarget(const TrafficSplit::Target& target, YAML::Emitter& out) {
  out << YAML::Key << "name" << YAML::Value << YAML::DoubleQuoted << target.name;
  out << YAML::Key << "model" << YAML::Value << target.model << YAML::Key << "version" << YAML::Value << target.version;
}

absl::Status ReadTarget(const YamlNode& from, const std::string& subject, TrafficSplit::Target* target) {
  const YamlNode *name = from.Find("name"), *model = from.Find("model"), *version = from.Find("version");
  if (name == nullptr || model == nullptr || version == nullptr) {
    return from.Error(absl::StrCat(subject, ": got no 'name', 'model' or 'version', want all three"));
  }
  ASSIGN_OR_RETURN(target->name, name->Text(subject));
  ASSIGN_OR_RETURN(target->model, model->Text(subject));
  ASSIGN_OR_RETURN(target->version, version->Integer(subject, 0, kMaxVersion));
  return absl::OkStatus();
}

absl::Status ReadNumberIfThere(const YamlNode& map, absl::string_view key, absl::string_view subject, double max,
                               double* value) {
  const YamlNode* node = map.Find(key);
  if (node == nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(*value, ReadNumber(*node, absl::StrCat(subject, ": ", key), 0, max));
  return absl::OkStatus();
}

absl::Status ReadCountIfThere(const YamlNode& map, absl::string_view key, absl::string_view subject, int64_t max,
                              int* value) {
  const YamlNode* node = map.Find(key);
  if (node == nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(const int64_t number, node->Integer(absl::StrCat(subject, ": ", key), 1, max));
  *value = static_cast<int>(number);
  return absl::OkStatus();
}

absl::Status ReadState(const YamlNode& from, const std::string& subject, TrafficSplit::Ramp* ramp) {
  if (const YamlNode* step = from.Find("step")) {
    ASSIGN_OR_RETURN(const int64_t number,
                     step->Integer(absl::StrCat(subject, ": step"), 0, static_cast<int64_t>(ramp->steps.size()) - 1));
    ramp->step = static_cast<size_t>(number);
  }
  if (const YamlNode* state = from.Find("state")) {
    ASSIGN_OR_RETURN(const std::string text, state->Text(absl::StrCat(subject, ": state")));
    bool known = false;
    for (const auto one : {TrafficSplit::Ramp::State::kRunning, TrafficSplit::Ramp::State::kDone,
                           TrafficSplit::Ramp::State::kRolledBack, TrafficSplit::Ramp::State::kStopped}) {
      if (RampStateName(one) != text) continue;
      ramp->state = one;
      known = true;
    }
    if (!known) return state->Error(absl::StrCat(subject, ": state: got '", text, "', want one of a ramp's states"));
  }
  if (const YamlNode* why = from.Find("why")) {
    ASSIGN_OR_RETURN(ramp->why, why->Text(absl::StrCat(subject, ": why")));
  }
  return absl::OkStatus();
}

void EmitShadow(const TrafficSplit::Shadow& shadow, YAML::Emitter& out) {
  out << YAML::Key << "shadow" << YAML::Value << YAML::Flow << YAML::BeginMap;
  EmitTarget(shadow.to, out);
  out << YAML::Key << "percent" << YAML::Value << shadow.percent;
  out << YAML::Key << "max_in_flight" << YAML::Value << shadow.max_in_flight;
  out << YAML::Key << "max_mib" << YAML::Value << shadow.max_mib;
  out << YAML::Key << "timeout" << YAML::Value << absl::FormatDuration(shadow.timeout);
  out << YAML::Key << "tolerance" << YAML::Value << shadow.tolerance << YAML::EndMap;
}

void EmitRamp(const TrafficSplit::Ramp& ramp, YAML::Emitter& out) {
  out << YAML::Key << "ramp" << YAML::Value << YAML::Flow << YAML::BeginMap;
  EmitTarget(ramp.to, out);
  out << YAML::Key << "steps" << YAML::Value << YAML::Flow << ramp.steps;
  out << YAML::Key << "every" << YAML::Value << absl::FormatDuration(ramp.every);
  out << YAML::Key << "min_requests" << YAML::Value << ramp.min_requests;
  out << YAML::Key << "rollback" << YAML::Value << YAML::Flow << YAML::BeginMap;
  out << YAML::Key << "error_percent" << YAML::Value << ramp.error_percent;
  out << YAML::Key << "p99_times" << YAML::Value << ramp.p99_times;
  out << YAML::Key << "disagreement_percent" << YAML::Value << ramp.disagreement_percent << YAML::EndMap;
  out << YAML::Key << "step" << YAML::Value << ramp.step;
  out << YAML::Key << "state" << YAML::Value << std::string(RampStateName(ramp.state));
  if (!ramp.why.empty()) out << YAML::Key << "why" << YAML::Value << YAML::DoubleQuoted << ramp.why;
  out << YAML::EndMap;
}

}  // namespace

absl::StatusOr<double> ReadNumber(const YamlNode& from, absl::string_view subject, double min, double max) {
  ASSIGN_OR_RETURN(const std::string text, from.Text(subject));
  double number = 0;
  if (!absl::SimpleAtod(text, &number) || !std::isfinite(number) || number < min || number > max) {
    return from.Error(absl::StrCat(subject, ": got '", text, "', want a number from ", min, " to ", max));
  }
  return number;
}

absl::Status ReadTrafficBy(const YamlNode& from, const std::string& subject, TrafficSplit* split) {
  const YamlNode* by = from.Find("by");
  if (by == nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string text, by->Text(absl::StrCat(subject, ": by")));
  for (const auto one : {TrafficSplit::By::kKey, TrafficSplit::By::kTenant, TrafficSplit::By::kRandom}) {
    if (TrafficByName(one) != text) continue;
    split->by = one;
    return absl::OkStatus();
  }
  return by->Error(absl::StrCat(subject, ": by: got '", text, "', want key, tenant or random"));
}

absl::Status ReadShadowLimits(const YamlNode& from, const std::string& subject, TrafficSplit::Shadow* shadow) {
  RETURN_IF_ERROR(ReadNumberIfThere(from, "percent", subject, 100, &shadow->percent));
  RETURN_IF_ERROR(ReadCountIfThere(from, "max_in_flight", subject, 65536, &shadow->max_in_flight));
  RETURN_IF_ERROR(ReadCountIfThere(from, "max_mib", subject, 1 << 20, &shadow->max_mib));
  RETURN_IF_ERROR(ReadNumberIfThere(from, "tolerance", subject, 1e30, &shadow->tolerance));
  if (const YamlNode* timeout = from.Find("timeout")) {
    ASSIGN_OR_RETURN(shadow->timeout, timeout->Duration(absl::StrCat(subject, ": timeout")));
    if (shadow->timeout <= absl::ZeroDuration()) {
      return timeout->Error(absl::StrCat(subject, ": timeout: got 0, want a time such as 1s"));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadRampPlan(const YamlNode& from, const std::string& subject, TrafficSplit::Ramp* ramp) {
  const YamlNode* steps = from.Find("steps");
  if (steps == nullptr) {
    return from.Error(absl::StrCat(subject, ": got no 'steps', want percents that rise, such as [1, 10, 50, 100]"));
  }
  RETURN_IF_ERROR(steps->CheckList(absl::StrCat(subject, ": steps")));
  for (const YamlNode& item : steps->items()) {
    ASSIGN_OR_RETURN(const double step, ReadNumber(item, absl::StrCat(subject, ": steps"), 0, 100));
    if (step <= (ramp->steps.empty() ? 0 : ramp->steps.back()) || ramp->steps.size() == kMaxSteps) {
      return item.Error(absl::StrCat(subject, ": steps: got ", step, ", want percents that rise, at most ", kMaxSteps));
    }
    ramp->steps.push_back(step);
  }
  if (ramp->steps.empty()) return steps->Error(absl::StrCat(subject, ": steps: got none, want at least one"));
  if (const YamlNode* every = from.Find("every")) {
    ASSIGN_OR_RETURN(ramp->every, every->Duration(absl::StrCat(subject, ": every")));
  }
  RETURN_IF_ERROR(ReadCountIfThere(from, "min_requests", subject, 1'000'000'000, &ramp->min_requests));
  const YamlNode* rollback = from.Find("rollback");
  if (rollback == nullptr) return absl::OkStatus();
  const std::string inner = absl::StrCat(subject, ": rollback");
  RETURN_IF_ERROR(rollback->CheckMap(inner, {"error_percent", "p99_times", "disagreement_percent"}));
  RETURN_IF_ERROR(ReadNumberIfThere(*rollback, "error_percent", inner, 100, &ramp->error_percent));
  RETURN_IF_ERROR(ReadNumberIfThere(*rollback, "p99_times", inner, 1e6, &ramp->p99_times));
  return ReadNumberIfThere(*rollback, "disagreement_percent", inner, 100, &ramp->disagreement_percent);
}

void EmitTraffic(const TrafficSplit& split, YAML::Emitter& out) {
  out << YAML::BeginMap << YAML::Key << "by" << YAML::Value << std::string(TrafficByName(split.by));
  out << YAML::Key << "arms" << YAML::Value << YAML::BeginSeq;
  for (const TrafficSplit::Arm& arm : split.arms) {
    out << YAML::Flow << YAML::BeginMap;
    EmitTarget(arm.target, out);
    out << YAML::Key << "weight" << YAML::Value << arm.weight << YAML::Key << "base" << YAML::Value << arm.base;
    out << YAML::EndMap;
  }
  out << YAML::EndSeq;
  if (split.shadow.has_value()) EmitShadow(*split.shadow, out);
  if (split.ramp.has_value()) EmitRamp(*split.ramp, out);
  out << YAML::EndMap;
}

absl::StatusOr<TrafficSplit> ReadTraffic(const YamlNode& from, const std::string& subject) {
  RETURN_IF_ERROR(from.CheckMap(subject, {"by", "arms", "shadow", "ramp"}));
  TrafficSplit split;
  RETURN_IF_ERROR(ReadTrafficBy(from, subject, &split));
  const YamlNode* arms = from.Find("arms");
  if (arms == nullptr) return from.Error(absl::StrCat(subject, ": got no 'arms', want some"));
  RETURN_IF_ERROR(arms->CheckList(absl::StrCat(subject, ": arms")));
  double sum = 0;
  for (const YamlNode& item : arms->items()) {
    RETURN_IF_ERROR(item.CheckMap(absl::StrCat(subject, ": arms"), {"name", "model", "version", "weight", "base"}));
    TrafficSplit::Arm& arm = split.arms.emplace_back();
    RETURN_IF_ERROR(ReadTarget(item, absl::StrCat(subject, ": arms"), &arm.target));
    RETURN_IF_ERROR(ReadNumberIfThere(item, "weight", subject, kMaxWeight, &arm.weight));
    RETURN_IF_ERROR(ReadNumberIfThere(item, "base", subject, kMaxWeight, &arm.base));
    sum += arm.weight;
  }
  if (sum <= 0 || split.arms.size() > kMaxArms) {
    return arms->Error(absl::StrCat(subject, ": arms: want one with a weight, and at most ", kMaxArms));
  }
  if (const YamlNode* shadow = from.Find("shadow")) {
    const std::string inner = absl::StrCat(subject, ": shadow");
    RETURN_IF_ERROR(shadow->CheckMap(
        inner, {"name", "model", "version", "percent", "max_in_flight", "max_mib", "timeout", "tolerance"}));
    RETURN_IF_ERROR(ReadTarget(*shadow, inner, &split.shadow.emplace().to));
    RETURN_IF_ERROR(ReadShadowLimits(*shadow, inner, &*split.shadow));
  }
  if (const YamlNode* ramp = from.Find("ramp")) {
    const std::string inner = absl::StrCat(subject, ": ramp");
    RETURN_IF_ERROR(ramp->CheckMap(
        inner, {"name", "model", "version", "steps", "every", "min_requests", "rollback", "step", "state", "why"}));
    RETURN_IF_ERROR(ReadTarget(*ramp, inner, &split.ramp.emplace().to));
    RETURN_IF_ERROR(ReadRampPlan(*ramp, inner, &*split.ramp));
    RETURN_IF_ERROR(ReadState(*ramp, inner, &*split.ramp));
  }
  return split;
}

}  // namespace portico
