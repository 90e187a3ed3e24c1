#include "router/revision_model.h"

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "router/revision_placement.h"
#include "router/yaml_node.h"
#include "yaml-cpp/yaml.h"

namespace portico {
namespace {

/// Of a call that asks for no digest.
constexpr char kAnyDigest[] = "any";
constexpr int64_t kMaxLatest = 1000;
constexpr int64_t kMaxShare = 1000;
constexpr size_t kMaxShares = 64;
constexpr int64_t kMaxVersion = std::numeric_limits<int64_t>::max();

absl::StatusOr<VersionPolicy> ReadPolicy(const YamlNode& from, const std::string& subject) {
  VersionPolicy policy;
  switch (from.kind()) {
    case YamlNode::Kind::kText: {
      ASSIGN_OR_RETURN(const std::string text, from.Text(subject));
      policy.kind = VersionPolicy::Kind::kAll;
      if (text == "all") return policy;
      break;
    }
    case YamlNode::Kind::kMap: {
      RETURN_IF_ERROR(from.CheckMap(subject, {"latest"}));
      const YamlNode* latest = from.Find("latest");
      if (latest == nullptr) break;
      ASSIGN_OR_RETURN(policy.num_versions, latest->Integer(absl::StrCat(subject, ": latest"), 1, kMaxLatest));
      return policy;
    }
    case YamlNode::Kind::kList: {
      policy.kind = VersionPolicy::Kind::kSpecific;
      for (const YamlNode& item : from.items()) {
        ASSIGN_OR_RETURN(const int64_t version, item.Integer(subject, 0, kMaxVersion));
        if (std::count(policy.versions.begin(), policy.versions.end(), version) != 0) {
          return item.Error(absl::StrCat(subject, ": got ", version, " twice, want it once; remove one"));
        }
        policy.versions.push_back(version);
      }
      if (!policy.versions.empty()) return policy;
      break;
    }
    case YamlNode::Kind::kNothing:
      break;
  }
  return from.Error(absl::StrCat(subject, ": want {latest: 2}, all, or a list of versions such as [1, 3]"));
}

absl::Status ReadFlag(const YamlNode& from, absl::string_view subject, absl::string_view key, bool* value) {
  const YamlNode* flag = from.Find(key);
  if (flag == nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string text, flag->Text(absl::StrCat(subject, ": ", key)));
  if (text != "true" && text != "false") {
    return flag->Error(absl::StrCat(subject, ": ", key, ": got '", text, "', want true or false"));
  }
  *value = text == "true";
  return absl::OkStatus();
}

absl::Status ReadShares(const YamlNode& from, const std::string& subject, std::map<std::string, int64_t>* shares) {
  RETURN_IF_ERROR(from.CheckMap(subject, {}));
  if (from.entries().size() > kMaxShares) {
    return from.Error(absl::StrCat(subject, ": got ", from.entries().size(), " products, want at most ", kMaxShares,
                                   "; leave out those whose share is 1"));
  }
  for (const YamlEntry& entry : from.entries()) {
    ASSIGN_OR_RETURN((*shares)[entry.key], entry.value.Integer(absl::StrCat(subject, ": ", entry.key), 1, kMaxShare));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadServedVersions(const YamlNode& from, absl::string_view subject, Revision::Model* model) {
  if (const YamlNode* versions = from.Find("versions")) {
    ASSIGN_OR_RETURN(model->versions, ReadPolicy(*versions, absl::StrCat(subject, ": versions")));
  }
  if (const YamlNode* labels = from.Find("labels")) {
    RETURN_IF_ERROR(labels->CheckMap(absl::StrCat(subject, ": labels"), {}));
    for (const YamlEntry& entry : labels->entries()) {
      ASSIGN_OR_RETURN(model->labels[entry.key],
                       entry.value.Integer(absl::StrCat(subject, ": labels: ", entry.key), 0, kMaxVersion));
    }
  }
  RETURN_IF_ERROR(ReadFlag(from, subject, "resource_preserving", &model->resource_preserving));
  RETURN_IF_ERROR(ReadFlag(from, subject, "on_demand", &model->on_demand));
  if (const YamlNode* mib = from.Find("result_cache_mib")) {
    ASSIGN_OR_RETURN(model->result_cache_mib,
                     mib->Integer(absl::StrCat(subject, ": result_cache_mib"), 0, Revision::Model::kMaxResultCacheMib));
  }
  if (const YamlNode* providers = from.Find("providers")) {
    ASSIGN_OR_RETURN(model->providers, ReadProviders(*providers, subject));
  }
  const YamlNode* shares = from.Find("shares");
  return shares == nullptr ? absl::OkStatus() : ReadShares(*shares, absl::StrCat(subject, ": shares"), &model->shares);
}

void EmitServedVersions(const Revision::Model& model, YAML::Emitter& out) {
  if (model.versions != VersionPolicy()) {
    out << YAML::Key << "versions" << YAML::Value;
    if (model.versions.kind == VersionPolicy::Kind::kAll) out << "all";
    if (model.versions.kind == VersionPolicy::Kind::kSpecific) out << YAML::Flow << model.versions.versions;
    if (model.versions.kind == VersionPolicy::Kind::kLatest) {
      out << YAML::Flow << YAML::BeginMap << YAML::Key << "latest" << YAML::Value << model.versions.num_versions;
      out << YAML::EndMap;
    }
  }
  if (!model.labels.empty()) out << YAML::Key << "labels" << YAML::Value << YAML::Flow << model.labels;
  if (model.resource_preserving) out << YAML::Key << "resource_preserving" << YAML::Value << true;
  if (model.on_demand) out << YAML::Key << "on_demand" << YAML::Value << true;
  if (model.result_cache_mib) out << YAML::Key << "result_cache_mib" << YAML::Value << *model.result_cache_mib;
  if (!model.shares.empty()) out << YAML::Key << "shares" << YAML::Value << YAML::Flow << model.shares;
  if (model.providers) {
    out << YAML::Key << "providers" << YAML::Value;
    EmitProviders(*model.providers, out);
  }
}

absl::Status ReadPins(const YamlNode& from, absl::string_view subject, Revision::Model* model) {
  RETURN_IF_ERROR(from.CheckMap(absl::StrCat(subject, ": pins"), {}));
  for (const YamlEntry& entry : from.entries()) {
    Revision::Pin pin;
    const std::string what = absl::StrCat(subject, ": pins: ", entry.key);
    if (!absl::SimpleAtoi(entry.key, &pin.version) || pin.version < 0) {
      return entry.value.Error(absl::StrCat(what, ": got a version that is none, want a number"));
    }
    ASSIGN_OR_RETURN(const std::string text, entry.value.Text(what));
    const absl::StatusOr<Digest> digest = Digest::FromHex(text);
    if (!digest.ok()) return entry.value.Error(absl::StrCat(what, ": ", digest.status().message()));
    pin.digest = *digest;
    model->pins.push_back(pin);
  }
  std::sort(model->pins.begin(), model->pins.end(),
            [](const Revision::Pin& a, const Revision::Pin& b) { return a.version < b.version; });
  return absl::OkStatus();
}

absl::Status ReadCalls(const YamlNode& from, absl::string_view subject, Revision::Model* model) {
  RETURN_IF_ERROR(from.CheckMap(absl::StrCat(subject, ": calls"), {}));
  for (const YamlEntry& version : from.entries()) {
    const std::string what = absl::StrCat(subject, ": calls: ", version.key);
    Revision::Call call;
    if (!absl::SimpleAtoi(version.key, &call.version) || call.version < 0) {
      return version.value.Error(absl::StrCat(what, ": got a version that is none, want a number"));
    }
    RETURN_IF_ERROR(version.value.CheckList(what));
    for (const YamlNode& item : version.value.items()) {
      ASSIGN_OR_RETURN(const std::string text, item.Text(what));
      const std::pair<std::string, std::string> parts = absl::StrSplit(text, absl::MaxSplits(' ', 1));
      if (parts.second.empty()) return item.Error(absl::StrCat(what, ": got '", text, "', want 'DIGEST TARGET'"));
      call.target = parts.second;
      call.digest = {};
      if (parts.first != kAnyDigest) {
        const absl::StatusOr<Digest> digest = Digest::FromHex(parts.first);
        if (!digest.ok()) return item.Error(absl::StrCat(what, ": ", digest.status().message()));
        call.digest = *digest;
      }
      model->calls.push_back(call);
    }
  }
  return absl::OkStatus();
}

void EmitCalls(const Revision::Model& model, YAML::Emitter& out) {
  if (model.calls.empty()) return;
  std::map<int64_t, std::vector<std::string>> calls;
  for (const Revision::Call& call : model.calls) {
    calls[call.version].push_back(
        absl::StrCat(call.digest.empty() ? std::string(kAnyDigest) : call.digest.Hex(), " ", call.target));
  }
  out << YAML::Key << "calls" << YAML::Value << YAML::BeginMap;
  for (const auto& [version, texts] : calls) out << YAML::Key << version << YAML::Value << YAML::Flow << texts;
  out << YAML::EndMap;
}

void EmitPins(const Revision::Model& model, YAML::Emitter& out) {
  if (model.pins.empty()) return;
  out << YAML::Key << "pins" << YAML::Value << YAML::Flow << YAML::BeginMap;
  for (const Revision::Pin& pin : model.pins) out << YAML::Key << pin.version << YAML::Value << pin.digest.Hex();
  out << YAML::EndMap;
}

}  // namespace portico
