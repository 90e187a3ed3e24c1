#include "router/revision_external.h"

#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "router/yaml_node.h"
#include "transport/foreign_endpoint.h"
#include "yaml-cpp/yaml.h"

namespace portico {
namespace {

constexpr size_t kMaxPeers = 256;
constexpr size_t kMaxNameBytes = 256;

/// What goes into an endpoint's options as it is.
absl::StatusOr<std::string> ReadName(const YamlNode& value, const std::string& subject) {
  ASSIGN_OR_RETURN(std::string name, value.Text(subject));
  if (name.size() <= kMaxNameBytes &&
      absl::c_all_of(name, [](char c) { return absl::ascii_isgraph(c) && c != '&' && c != '?'; })) {
    return name;
  }
  return value.Error(absl::StrCat(subject, ": got '", name.substr(0, kMaxNameBytes),
                                  "', want a name of printable characters without space, & and ?, at most ",
                                  kMaxNameBytes));
}

absl::StatusOr<std::string> ReadPeer(const YamlNode& item, const std::string& subject) {
  ASSIGN_OR_RETURN(std::string peer, item.Text(subject));
  const absl::StatusOr<ForeignEndpoint> endpoint = ForeignEndpoint::Parse(peer);
  if (!endpoint.ok()) return item.Error(absl::StrCat(subject, ": ", endpoint.status().message()));
  if (!endpoint->models.empty()) {
    return item.Error(absl::StrCat(subject, ": got 'model' in '", peer, "', want it as a key of its own; move it"));
  }
  return peer;
}

absl::Status ReadPeers(const YamlNode& from, const std::string& subject, Revision::External* external) {
  RETURN_IF_ERROR(from.CheckList(subject));
  if (from.items().empty() || from.items().size() > kMaxPeers) {
    return from.Error(absl::StrCat(subject, ": got ", from.items().size(), " servers, want 1 to ", kMaxPeers));
  }
  for (const YamlNode& item : from.items()) {
    ASSIGN_OR_RETURN(std::string peer, ReadPeer(item, subject));
    if (absl::c_linear_search(external->peers, peer)) {
      return item.Error(absl::StrCat(subject, ": got '", peer, "' twice, want it once; remove one"));
    }
    external->peers.push_back(std::move(peer));
  }
  return absl::OkStatus();
}

absl::StatusOr<Revision::External> ReadExternal(const std::string& name, const YamlNode& from) {
  const std::string subject = absl::StrCat("external '", name, "'");
  RETURN_IF_ERROR(from.CheckMap(subject, {"peers", "model", "version", "signature"}));
  Revision::External external;
  external.name = name;
  const YamlNode* peers = from.Find("peers");
  if (peers == nullptr) {
    return from.Error(absl::StrCat(subject, ": got no 'peers', want its servers; add {peers: [v2+grpc://HOST:PORT]}"));
  }
  RETURN_IF_ERROR(ReadPeers(*peers, absl::StrCat(subject, ": peers"), &external));
  external.model = name;
  if (const YamlNode* model = from.Find("model")) {
    ASSIGN_OR_RETURN(external.model, ReadName(*model, absl::StrCat(subject, ": model")));
  }
  if (const YamlNode* version = from.Find("version")) {
    ASSIGN_OR_RETURN(external.version, version->Integer(absl::StrCat(subject, ": version"), 0, INT64_MAX));
  }
  const bool v2 = absl::c_any_of(external.peers, [](const std::string& peer) { return absl::StartsWith(peer, "v2+"); });
  if (v2) external.signature = "serving_default";
  if (const YamlNode* signature = from.Find("signature")) {
    ASSIGN_OR_RETURN(external.signature, ReadName(*signature, absl::StrCat(subject, ": signature")));
    if (v2 && external.signature != "serving_default") {
      return signature->Error(absl::StrCat(subject, ": signature: got '", external.signature,
                                           "', which servers of the Open Inference Protocol do not know, want "
                                           "'serving_default'; leave it out"));
    }
  }
  return external;
}

}  // namespace

absl::Status ReadExternals(const YamlNode& from, Revision* revision) {
  RETURN_IF_ERROR(from.CheckMap("external", {}));
  for (const YamlEntry& entry : from.entries()) {
    const std::vector<absl::string_view> parts = absl::StrSplit(entry.key, '/');
    const bool good =
        parts.size() <= 2 && entry.key.size() <= kMaxNameBytes && absl::c_all_of(parts, [](absl::string_view part) {
          return !part.empty() && absl::c_all_of(part, [](char c) {
            return absl::ascii_isalnum(c) || c == '_' || c == '-' || c == '.';
          });
        });
    if (!good || entry.key == "default" || revision->FindModel(entry.key) != nullptr) {
      return entry.value.Error(absl::StrCat("external '", entry.key,
                                            "': got a name that is no good, want NAME or PUBLISHER/NAME of letters, "
                                            "digits, _, - and ., not 'default', and of none of 'models'; rename it"));
    }
    ASSIGN_OR_RETURN(Revision::External external, ReadExternal(entry.key, entry.value));
    revision->externals.push_back(std::move(external));
  }
  return absl::OkStatus();
}

void EmitExternals(const std::vector<Revision::External>& externals, YAML::Emitter& out) {
  out << YAML::BeginMap;
  for (const Revision::External& external : externals) {
    out << YAML::Key << external.name << YAML::Value << YAML::BeginMap;
    out << YAML::Key << "peers" << YAML::Value << YAML::Flow << external.peers;
    out << YAML::Key << "model" << YAML::Value << external.model;
    if (external.version >= 0) out << YAML::Key << "version" << YAML::Value << external.version;
    if (!external.signature.empty()) out << YAML::Key << "signature" << YAML::Value << external.signature;
    out << YAML::EndMap;
  }
  out << YAML::EndMap;
}

std::vector<std::string> EndpointsOf(const Revision::External& external) {
  std::vector<std::string> endpoints;
  for (const std::string& peer : external.peers) {
    std::string& url = endpoints.emplace_back(peer);
    absl::StrAppend(&url, absl::StrContains(peer, '?') ? "&" : "?", "model=", external.model,
                    "&target=", external.name);
    if (external.version >= 0) absl::StrAppend(&url, "&version=", external.version);
  }
  return endpoints;
}

}  // namespace portico
