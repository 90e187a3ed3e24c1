#include "router/on_error_policy.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "router/yaml_node.h"
#include "yaml-cpp/yaml.h"

namespace portico {
namespace {

constexpr int64_t kMaxMib = int64_t{1} << 20;

absl::Status ReadDefaults(const YamlNode& from, const std::string& subject, OnErrorPolicy* on_error) {
  RETURN_IF_ERROR(from.CheckMap(subject, {}));
  if (from.entries().empty()) {
    return from.Error(absl::StrCat(subject, ": got no output, want a value for each output of the portal"));
  }
  for (const YamlEntry& entry : from.entries()) {
    ASSIGN_OR_RETURN(on_error->defaults[entry.key], entry.value.Text(absl::StrCat(subject, ": ", entry.key)));
  }
  return absl::OkStatus();
}

absl::Status ReadLastKnown(const YamlNode& from, const std::string& subject, OnErrorPolicy* on_error) {
  RETURN_IF_ERROR(from.CheckMap(subject, {"max_mib", "max_age"}));
  if (const YamlNode* max_mib = from.Find("max_mib")) {
    ASSIGN_OR_RETURN(const int64_t mib, max_mib->Integer(absl::StrCat(subject, ": max_mib"), 1, kMaxMib));
    on_error->max_bytes = static_cast<uint64_t>(mib) << 20;
  }
  if (const YamlNode* max_age = from.Find("max_age")) {
    ASSIGN_OR_RETURN(on_error->max_age, max_age->Duration(absl::StrCat(subject, ": max_age")));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadOnErrorPolicy(const YamlNode& from, absl::string_view subject, OnErrorPolicy* on_error) {
  const YamlNode* value = from.Find("on_error");
  if (value == nullptr) return absl::OkStatus();
  const std::string own = absl::StrCat(subject, ": on_error");
  OnErrorPolicy read;
  if (value->kind() == YamlNode::Kind::kMap) {
    RETURN_IF_ERROR(value->CheckMap(own, {"defaults", "last_known"}));
    if (value->entries().empty()) {
      return value->Error(absl::StrCat(own, ": got no key, want defaults, last_known, or of tables both"));
    }
    read.kind = OnErrorPolicy::Kind::kDefaults;
    if (const YamlNode* defaults = value->Find("defaults")) {
      RETURN_IF_ERROR(ReadDefaults(*defaults, absl::StrCat(own, ": defaults"), &read));
    }
    if (const YamlNode* last_known = value->Find("last_known")) {
      read.kind = OnErrorPolicy::Kind::kLastKnown;
      RETURN_IF_ERROR(ReadLastKnown(*last_known, absl::StrCat(own, ": last_known"), &read));
    }
  } else {
    ASSIGN_OR_RETURN(const std::string text, value->Text(own));
    if (text == "last_known") {
      read.kind = OnErrorPolicy::Kind::kLastKnown;
    } else if (text != "fail") {
      return value->Error(
          absl::StrCat(own, ": got '", text, "', want fail, last_known, or {defaults: {OUTPUT: VALUE}}"));
    }
  }
  *on_error = read;
  return absl::OkStatus();
}

void Emit(const OnErrorPolicy& on_error, YAML::Emitter& out) {
  out << YAML::Key << "on_error" << YAML::Value;
  if (on_error.kind == OnErrorPolicy::Kind::kFail) {
    out << "fail";
    return;
  }
  out << YAML::BeginMap;
  if (on_error.kind == OnErrorPolicy::Kind::kLastKnown) {
    out << YAML::Key << "last_known" << YAML::Value << YAML::BeginMap;
    out << YAML::Key << "max_mib" << YAML::Value << (on_error.max_bytes >> 20);
    out << YAML::Key << "max_age" << YAML::Value << absl::FormatDuration(on_error.max_age);
    out << YAML::EndMap;
  }
  if (!on_error.defaults.empty()) {
    out << YAML::Key << "defaults" << YAML::Value << YAML::BeginMap;
    for (const auto& [output, value] : on_error.defaults) {
      out << YAML::Key << output << YAML::Value << YAML::DoubleQuoted << value;
    }
    out << YAML::EndMap;
  }
  out << YAML::EndMap;
}

}  // namespace portico
