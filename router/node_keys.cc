#include "router/node_keys.h"

#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "router/yaml_node.h"
#include "yaml-cpp/yaml.h"

namespace portico {
namespace {

using File = std::string NodeKeys::*;

struct Entry {
  const char* key;
  File file;
};

struct Section {
  const char* name;
  std::vector<Entry> entries;
};

const std::vector<Section>& Sections() {
  static const auto* const sections = new std::vector<Section>{
      {"security",
       {{"curve_key", &NodeKeys::curve_key},
        {"curve_allow", &NodeKeys::curve_allow},
        {"curve_server_key", &NodeKeys::curve_server_key},
        {"tls_key", &NodeKeys::peer_tls_key},
        {"tls_cert", &NodeKeys::peer_tls_cert},
        {"tls_allow", &NodeKeys::peer_tls_allow},
        {"tls_roots", &NodeKeys::peer_tls_roots}}},
      {"tls", {{"key", &NodeKeys::tls_key}, {"cert", &NodeKeys::tls_cert}, {"client_ca", &NodeKeys::tls_client_ca}}},
  };
  return *sections;
}

/// What is there wants the others.
absl::Status CheckTogether(const YamlNode& from, absl::string_view subject, const NodeKeys& keys) {
  const bool curve = !keys.curve_key.empty() && !keys.curve_allow.empty();
  if (!curve && !(keys.curve_key + keys.curve_allow + keys.curve_server_key).empty()) {
    return from.Error(absl::StrCat(subject,
                                   ": security: got some of the CURVE keys, want curve_key, a node's own, and "
                                   "curve_allow, who may connect; add what is missing"));
  }
  const bool tls = !keys.peer_tls_key.empty() && !keys.peer_tls_cert.empty() && !keys.peer_tls_allow.empty();
  if (!tls && !(keys.peer_tls_key + keys.peer_tls_cert + keys.peer_tls_allow + keys.peer_tls_roots).empty()) {
    return from.Error(absl::StrCat(subject,
                                   ": security: got some of the TLS keys, want tls_key, tls_cert and "
                                   "tls_allow, who may connect; add what is missing"));
  }
  if (curve && tls) {
    return from.Error(absl::StrCat(subject,
                                   ": security: got keys of CURVE and of TLS, want one of them: CURVE for "
                                   "zmq+tcp://, TLS for tcp:// and grpc://"));
  }
  const bool clients = !keys.tls_key.empty() && !keys.tls_cert.empty();
  if (clients || (keys.tls_key + keys.tls_cert + keys.tls_client_ca).empty()) return absl::OkStatus();
  return from.Error(absl::StrCat(subject, ": tls: got some of the keys, want key and cert; add what is missing"));
}

absl::Status ReadPath(const YamlNode& from, absl::string_view subject, const std::filesystem::path& folder,
                      std::string* path) {
  ASSIGN_OR_RETURN(const std::string text, from.Text(subject));
  std::error_code error;
  *path = std::filesystem::absolute(folder / text, error).lexically_normal().string();
  if (error) return from.Error(absl::StrCat(subject, ": got '", text, "', want a path: ", error.message()));
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadNodeKeys(const YamlNode& node, absl::string_view subject, const std::filesystem::path& folder,
                          NodeKeys* keys) {
  for (const Section& section : Sections()) {
    const YamlNode* const from = node.Find(section.name);
    if (from == nullptr) continue;
    const std::string inner = absl::StrCat(subject, ": ", section.name);
    RETURN_IF_ERROR(from->CheckMap(inner, {}));
    for (const YamlEntry& entry : from->entries()) {
      const Entry* known = nullptr;
      std::string names;
      for (const Entry& one : section.entries) {
        if (entry.key == one.key) known = &one;
        absl::StrAppend(&names, names.empty() ? "" : ", ", one.key);
      }
      if (known == nullptr) {
        return entry.value.Error(absl::StrCat(inner, ": got key '", entry.key, "', want one of ", names));
      }
      RETURN_IF_ERROR(ReadPath(entry.value, absl::StrCat(inner, ": ", entry.key), folder, &(keys->*known->file)));
    }
    RETURN_IF_ERROR(CheckTogether(*from, subject, *keys));
  }
  if (const YamlNode* const tenants = node.Find("tenants")) {
    RETURN_IF_ERROR(ReadPath(*tenants, absl::StrCat(subject, ": tenants"), folder, &keys->tenants));
  }
  return absl::OkStatus();
}

void Emit(const NodeKeys& keys, YAML::Emitter& out) {
  for (const Section& section : Sections()) {
    bool begun = false;
    for (const Entry& entry : section.entries) {
      const std::string& path = keys.*entry.file;
      if (path.empty()) continue;
      if (!begun) out << YAML::Key << section.name << YAML::Value << YAML::BeginMap;
      begun = true;
      out << YAML::Key << entry.key << YAML::Value << path;
    }
    if (begun) out << YAML::EndMap;
  }
  if (!keys.tenants.empty()) out << YAML::Key << "tenants" << YAML::Value << keys.tenants;
}

}  // namespace portico
