#include "models/split/plan.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "yaml-cpp/yaml.h"

namespace portico {
namespace {

constexpr uint64_t kMaxPlanBytes = 1 << 20;
constexpr int kMaxDepth = 16;

/// Reads the YAML of one plan file; every error begins with file and line.
class PlanReader {
 public:
  explicit PlanReader(std::string file) : file_(std::move(file)) {}

  absl::StatusOr<SplitPlan> ReadPlan(const YAML::Node& root) const {
    RETURN_IF_ERROR(CheckKeys(root, "the plan", {"product", "parts"}));
    SplitPlan plan;
    if (root["product"]) {
      ASSIGN_OR_RETURN(plan.product, ReadName(root["product"], "product"));
    }
    if (!root["parts"]) return Error(root, "plan: got no 'parts', want a list of parts to cut out");
    ASSIGN_OR_RETURN(plan.parts, ReadParts(root["parts"], 1));
    return plan;
  }

  absl::Status Error(int line, absl::string_view message) const {
    return absl::InvalidArgumentError(absl::StrCat(file_, ":", line, ": ", message));
  }

 private:
  static int Line(const YAML::Node& node) { return std::max(node.Mark().line, 0) + 1; }
  absl::Status Error(const YAML::Node& node, absl::string_view message) const { return Error(Line(node), message); }

  absl::Status CheckKeys(const YAML::Node& node, absl::string_view what,
                         const std::vector<absl::string_view>& keys) const {
    if (!node.IsMap()) {
      return Error(node, absl::StrCat(what, ": got no mapping, want the keys ", absl::StrJoin(keys, ", ")));
    }
    absl::flat_hash_set<std::string> seen;
    for (const auto& entry : node) {
      const std::string& key = entry.first.Scalar();
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
        return Error(entry.first,
                     absl::StrCat(what, ": got unknown key '", key, "', want one of ", absl::StrJoin(keys, ", ")));
      }
      if (!seen.insert(key).second) {
        return Error(entry.first, absl::StrCat(what, ": got key '", key, "' twice; remove one"));
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> ReadName(const YAML::Node& node, absl::string_view key) const {
    if (!node.IsScalar() || node.Scalar().empty()) return Error(node, absl::StrCat(key, ": got no text, want a name"));
    const absl::Status status = CheckServableName(node.Scalar());
    if (!status.ok()) return Error(node, absl::StrCat(key, ": ", status.message()));
    return node.Scalar();
  }

  /// A list of names of tensors, or a single one.
  absl::StatusOr<std::vector<std::string>> ReadTensors(const YAML::Node& node, absl::string_view what) const {
    std::vector<std::string> tensors;
    if (node.IsScalar()) {
      tensors.push_back(node.Scalar());
    } else if (node.IsSequence()) {
      for (const YAML::Node& item : node) {
        if (!item.IsScalar()) return Error(item, absl::StrCat(what, ": got no text, want the name of a tensor"));
        tensors.push_back(item.Scalar());
      }
    } else {
      return Error(node, absl::StrCat(what, ": got no list, want the names of tensors"));
    }
    return tensors;
  }

  absl::StatusOr<std::vector<PartPlan>> ReadParts(const YAML::Node& node, int depth) const {
    if (depth > kMaxDepth) return Error(node, absl::StrCat("parts: nested deeper than ", kMaxDepth, " levels"));
    if (!node.IsSequence() || node.size() == 0) return Error(node, "parts: got no list, want at least one part");
    std::vector<PartPlan> parts;
    for (const YAML::Node& item : node) {
      ASSIGN_OR_RETURN(PartPlan part, ReadPart(item, depth));
      parts.push_back(std::move(part));
    }
    return parts;
  }

  absl::StatusOr<PartPlan> ReadPart(const YAML::Node& node, int depth) const {
    RETURN_IF_ERROR(CheckKeys(node, "part", {"name", "outputs", "inputs", "parts"}));
    PartPlan part;
    part.line = Line(node);
    if (!node["name"]) return Error(node, "part: got no 'name', want the servable name of the part");
    ASSIGN_OR_RETURN(part.name, ReadName(node["name"], "part"));
    const std::string what = absl::StrCat("part '", part.name, "'");
    if (!node["outputs"]) {
      return Error(node, absl::StrCat(what, ": got no 'outputs', want the tensors at which the part ends"));
    }
    ASSIGN_OR_RETURN(part.outputs, ReadTensors(node["outputs"], absl::StrCat(what, ": outputs")));
    if (node["inputs"]) {
      ASSIGN_OR_RETURN(part.inputs, ReadTensors(node["inputs"], absl::StrCat(what, ": inputs")));
    }
    if (node["parts"]) {
      ASSIGN_OR_RETURN(part.parts, ReadParts(node["parts"], depth + 1));
    }
    return part;
  }

  const std::string file_;
};

/// The first thing wrong with `part` or a part inside it, at its line.
struct Fault {
  int line = 0;
  std::string message;
};

bool FindFault(const PartPlan& part, absl::flat_hash_set<std::string>& names, Fault* fault) {
  fault->line = part.line;
  const absl::Status name = CheckServableName(part.name);
  if (!name.ok()) {
    fault->message = absl::StrCat("part '", part.name, "': ", name.message());
    return true;
  }
  if (!names.insert(part.name).second) {
    fault->message = absl::StrCat("part '", part.name, "': got this name twice, want a name of its own for each model");
    return true;
  }
  if (part.outputs.empty()) {
    fault->message = absl::StrCat("part '", part.name, "': got no outputs, want the tensors at which the part ends");
    return true;
  }
  for (const auto& [what, tensors] : {std::pair("inputs", &part.inputs), std::pair("outputs", &part.outputs)}) {
    absl::flat_hash_set<absl::string_view> seen;
    for (const std::string& tensor : *tensors) {
      if (tensor.empty() || !seen.insert(tensor).second) {
        fault->message = absl::StrCat("part '", part.name, "': ", what, ": got '", tensor, "' ",
                                      tensor.empty() ? "" : "twice", ", want each tensor once, by its name");
        return true;
      }
    }
  }
  for (const PartPlan& inner : part.parts) {
    if (FindFault(inner, names, fault)) return true;
  }
  return false;
}

bool FindFault(const SplitPlan& plan, Fault* fault) {
  absl::flat_hash_set<std::string> names;
  if (!plan.product.empty()) names.insert(plan.product);
  for (const PartPlan& part : plan.parts) {
    if (FindFault(part, names, fault)) return true;
  }
  return false;
}

}  // namespace

absl::Status CheckServableName(absl::string_view name) {
  const auto error = [&](absl::string_view got) {
    return absl::InvalidArgumentError(absl::StrCat(
        "name '", name, "': got ", got, ", want segments of letters, digits, '.', '_' and '-' between slashes"));
  };
  bool first = true;
  for (absl::string_view segment : absl::StrSplit(name, '/')) {
    if (segment.empty()) return error("an empty segment");
    if (segment == "." || segment == "..") return error(absl::StrCat("the segment '", segment, "'"));
    for (const char c : segment) {
      if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '_' && c != '-') {
        return error(absl::StrCat("the character '", absl::string_view(&c, 1), "'"));
      }
    }
    if (!first && std::all_of(segment.begin(), segment.end(), [](unsigned char c) { return absl::ascii_isdigit(c); })) {
      return error(absl::StrCat("the segment '", segment, "', which looks like a version"));
    }
    first = false;
  }
  return absl::OkStatus();
}

absl::Status CheckSplitPlan(const SplitPlan& plan) {
  const absl::Status name = CheckServableName(plan.product);
  if (!name.ok()) return WithContext("product", name);
  if (plan.parts.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("plan of '", plan.product, "': got no parts, want at least one part to cut out"));
  }
  if (Fault fault; FindFault(plan, &fault)) return absl::InvalidArgumentError(fault.message);
  return absl::OkStatus();
}

absl::StatusOr<SplitPlan> ReadSplitPlan(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxPlanBytes));
  const PlanReader reader(path);
  try {
    ASSIGN_OR_RETURN(SplitPlan plan, reader.ReadPlan(YAML::Load(text)));
    if (Fault fault; FindFault(plan, &fault)) return reader.Error(fault.line, fault.message);
    return plan;
  } catch (const YAML::Exception& error) {
    return reader.Error(std::max(error.mark.line, 0) + 1, absl::StrCat("got no YAML: ", error.msg));
  }
}

}  // namespace portico
