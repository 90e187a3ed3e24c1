#include "deploy/mesh_traffic.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "deploy/arm_signatures.h"
#include "router/traffic_document.h"

namespace portico {
namespace {

constexpr size_t kMaxArms = 16;
constexpr double kMaxWeight = 1e6;

bool Pins(const Revision::Model& model, int64_t version) {
  return absl::c_any_of(model.pins, [&](const Revision::Pin& pin) { return pin.version == version; });
}

/// Reads the split of one model.
class SplitReader {
 public:
  /// `model`: that is asked for.
  SplitReader(const Revision& revision, const Revision::Model& model, PackageReader& packages)
      : revision_(revision), model_(model), packages_(packages), subject_(absl::StrCat("traffic '", model.name, "'")) {}

  absl::StatusOr<TrafficSplit> Read(const YamlNode& from) {
    RETURN_IF_ERROR(from.CheckMap(subject_, {"split", "by", "shadow", "ramp"}));
    RETURN_IF_ERROR(ReadTrafficBy(from, subject_, &split_));
    if (const YamlNode* split = from.Find("split")) {
      RETURN_IF_ERROR(ReadArms(*split));
    } else {
      const int64_t version = model_.pins.back().version;
      split_.arms.push_back({{absl::StrCat(version), model_.name, version}, 100, 100});
    }
    if (const YamlNode* shadow = from.Find("shadow")) RETURN_IF_ERROR(ReadShadow(*shadow));
    if (const YamlNode* ramp = from.Find("ramp")) RETURN_IF_ERROR(ReadRamp(*ramp));
    RETURN_IF_ERROR(CheckSignatures(from));
    UseArmNames();
    ApplyRamp(&split_);
    return std::move(split_);
  }

 private:
  absl::Status ReadArms(const YamlNode& from) {
    const std::string subject = absl::StrCat(subject_, ": split");
    RETURN_IF_ERROR(from.CheckMap(subject, {}));
    double sum = 0;
    for (const YamlEntry& entry : from.entries()) {
      TrafficSplit::Arm arm;
      ASSIGN_OR_RETURN(arm.target, Resolve(entry.value, entry.key, subject));
      RETURN_IF_ERROR(CheckServedBeside(entry.value, arm.target, subject));
      ASSIGN_OR_RETURN(arm.base, ReadNumber(entry.value, absl::StrCat(subject, ": ", entry.key), 0, kMaxWeight));
      if (FindArm(arm.target) != nullptr) {
        return entry.value.Error(
            absl::StrCat(subject, ": got '", entry.key, "', which another arm means too, want it once"));
      }
      sum += arm.base;
      split_.arms.push_back(std::move(arm));
    }
    if (sum > 0 && split_.arms.size() <= kMaxArms) return absl::OkStatus();
    return from.Error(absl::StrCat(subject, ": want 1 to ", kMaxArms, " arms, one of them with a weight above 0"));
  }

  absl::Status ReadShadow(const YamlNode& from) {
    const std::string subject = absl::StrCat(subject_, ": shadow");
    RETURN_IF_ERROR(from.CheckMap(subject, {"to", "percent", "max_in_flight", "max_mib", "timeout", "tolerance"}));
    TrafficSplit::Shadow& shadow = split_.shadow.emplace();
    ASSIGN_OR_RETURN(shadow.to, ReadTo(from, subject));
    const bool served = absl::c_any_of(revision_.nodes, [&](const Revision::Node& node) {
      return absl::c_linear_search(node.serve, shadow.to.model);
    });
    if (!served) {
      return from.Error(absl::StrCat(subject, ": to: got '", shadow.to.name, "', which no node serves; add '",
                                     shadow.to.model, "' to the 'serve' of a node"));
    }
    return ReadShadowLimits(from, subject, &shadow);
  }

  absl::Status ReadRamp(const YamlNode& from) {
    const std::string subject = absl::StrCat(subject_, ": ramp");
    RETURN_IF_ERROR(from.CheckMap(subject, {"to", "steps", "every", "min_requests", "rollback"}));
    TrafficSplit::Ramp& ramp = split_.ramp.emplace();
    ASSIGN_OR_RETURN(ramp.to, ReadTo(from, subject));
    RETURN_IF_ERROR(CheckServedBeside(from, ramp.to, subject));
    RETURN_IF_ERROR(ReadRampPlan(from, subject, &ramp));
    if (ramp.disagreement_percent > 0 && (!split_.shadow.has_value() || !(split_.shadow->to == ramp.to))) {
      return from.Error(absl::StrCat(subject, ": rollback: disagreement_percent: got no shadow that goes to '",
                                     ramp.to.name, "', want one; add shadow: {to: ", ramp.to.name, "}"));
    }
    if (FindArm(ramp.to) == nullptr) split_.arms.push_back({ramp.to, 0, 0});
    double others = 0;
    for (const TrafficSplit::Arm& arm : split_.arms) others += arm.target == ramp.to ? 0 : arm.base;
    if (others > 0) return absl::OkStatus();
    return from.Error(absl::StrCat(subject, ": got no arm with a weight besides '", ramp.to.name,
                                   "', want what it takes over from; add split: {VERSION: 100}"));
  }

  /// Clients know the model by the arm that most of them have met.
  absl::Status CheckSignatures(const YamlNode& from) {
    const auto lighter = [](const TrafficSplit::Arm& a, const TrafficSplit::Arm& b) { return a.base < b.base; };
    const TrafficTarget& usual = absl::c_max_element(split_.arms, lighter)->target;
    const YamlNode* const split = from.Find("split");
    for (const TrafficSplit::Arm& arm : split_.arms) {
      if (arm.target == usual) continue;
      const YamlNode* where = split == nullptr ? nullptr : split->Find(arm.target.name);
      if (where == nullptr) where = from.Find("ramp");
      const absl::StatusOr<std::string> difference = ArmDifference(revision_, usual, arm.target, packages_);
      const std::string wrong = difference.ok() ? *difference : std::string(difference.status().message());
      if (wrong.empty()) continue;
      return where->Error(absl::StrCat(subject_, ": arm '", arm.target.name, "': ", wrong, " as in arm '", usual.name,
                                       "'; requests for '", model_.name, "' have to suit every arm"));
    }
    return absl::OkStatus();
  }

  /// One version has one name, by which it is counted, whatever else it is called.
  void UseArmNames() {
    for (TrafficSplit::Target* target : {split_.shadow.has_value() ? &split_.shadow->to : nullptr,
                                         split_.ramp.has_value() ? &split_.ramp->to : nullptr}) {
      const TrafficSplit::Arm* const arm = target == nullptr ? nullptr : FindArm(*target);
      if (arm != nullptr) target->name = arm->target.name;
    }
  }

  absl::StatusOr<TrafficSplit::Target> ReadTo(const YamlNode& from, const std::string& subject) {
    const YamlNode* to = from.Find("to");
    if (to == nullptr) return from.Error(absl::StrCat(subject, ": got no 'to', want a version, a label or a model"));
    ASSIGN_OR_RETURN(const std::string text, to->Text(absl::StrCat(subject, ": to")));
    return Resolve(*to, text, absl::StrCat(subject, ": to"));
  }

  /// A version or label of the model itself, or another model in its highest version.
  absl::StatusOr<TrafficSplit::Target> Resolve(const YamlNode& where, const std::string& name,
                                               const std::string& subject) {
    int64_t version = 0;
    const bool is_version = absl::c_all_of(name, absl::ascii_isdigit) && absl::SimpleAtoi(name, &version);
    const auto label = model_.labels.find(name);
    const Revision::Model* const other = revision_.FindModel(name);
    // Names go into headers and metrics.
    const bool plain = name.size() <= 129 && absl::c_all_of(name, [](char c) {
                         return absl::ascii_isalnum(c) || c == '_' || c == '-' || c == '.' || c == '/';
                       });
    if (!plain || (label != model_.labels.end() && other != nullptr)) {
      return where.Error(absl::StrCat(subject, ": got '", name, plain ? "', which is a label and a model" : "'",
                                      ", want a name of letters, digits, _, -, . that means one of them"));
    }
    TrafficSplit::Target target{name, model_.name, version};
    if (label != model_.labels.end()) target.version = label->second;
    if (!is_version && label == model_.labels.end()) {
      if (other == nullptr) {
        return where.Error(absl::StrCat(subject, ": got '", name, "', want a version of '", model_.name,
                                        "' that is served (", Versions(), "), one of its labels, or a model"));
      }
      target.model = name;
      target.version = other->pins.back().version;
    }
    if (target.model == model_.name && !Pins(model_, target.version)) {
      return where.Error(absl::StrCat(subject, ": got '", name, "' for version ", target.version, " of '", model_.name,
                                      "', which is not served, want one of ", Versions(), "; add it to 'versions'"));
    }
    return target;
  }

  /// Whoever is asked for the model gives the arm's answer itself.
  absl::Status CheckServedBeside(const YamlNode& where, const TrafficSplit::Target& target,
                                 const std::string& subject) {
    for (const Revision::Node& node : revision_.nodes) {
      if (!absl::c_linear_search(node.serve, model_.name) || absl::c_linear_search(node.serve, target.model)) continue;
      return where.Error(absl::StrCat(subject, ": got '", target.name, "', which node '", node.name,
                                      "' does not serve, want it beside '", model_.name, "'; add '", target.model,
                                      "' to its 'serve'"));
    }
    return absl::OkStatus();
  }

  const TrafficSplit::Arm* FindArm(const TrafficSplit::Target& target) const {
    for (const TrafficSplit::Arm& arm : split_.arms) {
      if (arm.target == target) return &arm;
    }
    return nullptr;
  }

  std::string Versions() const {
    return absl::StrJoin(model_.pins, ", ",
                         [](std::string* out, const Revision::Pin& pin) { absl::StrAppend(out, pin.version); });
  }

  const Revision& revision_;
  const Revision::Model& model_;
  PackageReader& packages_;
  const std::string subject_;
  TrafficSplit split_;
};

}  // namespace

absl::Status ReadTrafficSplits(const YamlNode& traffic, PackageReader& packages, Revision* revision) {
  RETURN_IF_ERROR(traffic.CheckMap("traffic", {}));
  for (const YamlEntry& entry : traffic.entries()) {
    const Revision::Model* const model = revision->FindModel(entry.key);
    if (model == nullptr) {
      return entry.value.Error(
          absl::StrCat("traffic '", entry.key, "': got a name that is no model, want one of 'models'; mend the name"));
    }
    ASSIGN_OR_RETURN(revision->traffic[entry.key], SplitReader(*revision, *model, packages).Read(entry.value));
  }
  return absl::OkStatus();
}

void CarryRamps(const Revision& from, Revision* to) {
  for (auto& [model, split] : to->traffic) {
    const auto before = from.traffic.find(model);
    if (!split.ramp.has_value() || before == from.traffic.end() || !before->second.ramp.has_value()) continue;
    if (!split.ramp->SameAs(*before->second.ramp)) continue;
    split.ramp = before->second.ramp;
    ApplyRamp(&split);
  }
}

}  // namespace portico
