#include "router/revision_placement.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/cpu_list.h"
#include "base/status_macros.h"
#include "router/yaml_node.h"
#include "yaml-cpp/yaml.h"

namespace portico {
namespace {

absl::StatusOr<ExecutionProvider> ReadProvider(const YamlNode& from, absl::string_view subject) {
  ExecutionProvider provider;
  if (from.kind() != YamlNode::Kind::kMap) {
    ASSIGN_OR_RETURN(provider.name, from.Text(subject));
    return provider;
  }
  if (from.entries().size() != 1) {
    return from.Error(absl::StrCat(subject, ": got ", from.entries().size(),
                                   " keys, want one provider with its options, such as {cuda: {device_id: 1}}"));
  }
  const YamlEntry& entry = from.entries()[0];
  provider.name = entry.key;
  const std::string what = absl::StrCat(subject, ": ", entry.key);
  RETURN_IF_ERROR(entry.value.CheckMap(what, {}));
  for (const YamlEntry& option : entry.value.entries()) {
    ASSIGN_OR_RETURN(provider.options[option.key], option.value.Text(absl::StrCat(what, ": ", option.key)));
  }
  return provider;
}

}  // namespace

absl::StatusOr<std::vector<ExecutionProvider>> ReadProviders(const YamlNode& from, absl::string_view subject) {
  const std::string what = absl::StrCat(subject, ": providers");
  RETURN_IF_ERROR(from.CheckList(what));
  if (from.items().empty()) {
    return from.Error(absl::StrCat(what, ": got none, want at least one, such as [cuda, cpu]; leave it out for [cpu]"));
  }
  std::vector<ExecutionProvider> providers;
  for (const YamlNode& item : from.items()) {
    ASSIGN_OR_RETURN(ExecutionProvider provider, ReadProvider(item, what));
    providers.push_back(std::move(provider));
    if (absl::Status status = CheckProviderList(providers); !status.ok()) {
      return item.Error(absl::StrCat(subject, ": ", status.message()));
    }
  }
  return providers;
}

void EmitProviders(const std::vector<ExecutionProvider>& providers, YAML::Emitter& out) {
  out << YAML::Flow << YAML::BeginSeq;
  for (const auto& [name, options] : providers) {
    if (options.empty()) {
      out << name;
      continue;
    }
    out << YAML::BeginMap << YAML::Key << name << YAML::Value << YAML::BeginMap;
    for (const auto& [key, value] : options) {
      out << YAML::Key << key << YAML::Value << YAML::DoubleQuoted << value;
    }
    out << YAML::EndMap << YAML::EndMap;
  }
  out << YAML::EndSeq;
}

absl::Status ReadPlacement(const YamlNode& from, absl::string_view subject, Revision::Node* node) {
  if (const YamlNode* cpus = from.Find("cpus")) {
    ASSIGN_OR_RETURN(node->cpus, cpus->Text(absl::StrCat(subject, ": cpus")));
    const auto list = ParseCpuList(node->cpus);
    if (!list.ok()) return cpus->Error(absl::StrCat(subject, ": ", list.status().message()));
  }
  if (const YamlNode* providers = from.Find("providers")) {
    ASSIGN_OR_RETURN(node->providers, ReadProviders(*providers, subject));
  }
  return absl::OkStatus();
}

void EmitPlacement(const Revision::Node& node, YAML::Emitter& out) {
  if (!node.cpus.empty()) out << YAML::Key << "cpus" << YAML::Value << YAML::DoubleQuoted << node.cpus;
  if (node.providers.empty()) return;
  out << YAML::Key << "providers" << YAML::Value;
  EmitProviders(node.providers, out);
}

}  // namespace portico
