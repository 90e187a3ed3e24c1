#pragma once

#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace YAML {
class Emitter;
}

namespace portico {

class YamlNode;

/// Files with the keys of a node, as `security`, `tls` and `tenants` of mesh.yaml name them (docs/security.md); they
/// are read where the node starts. Empty: none. A value.
struct NodeKeys {
  // Between nodes: either of the two.
  std::string curve_key;
  std::string curve_allow;
  std::string curve_server_key;
  std::string peer_tls_key;
  std::string peer_tls_cert;
  std::string peer_tls_allow;
  std::string peer_tls_roots;
  // Of the client listeners.
  std::string tls_key;
  std::string tls_cert;
  std::string tls_client_ca;
  std::string tenants;

  friend bool operator==(const NodeKeys&, const NodeKeys&) = default;
};

/// Reads those keys of `node`, a map, where they are there; relative paths start at `folder`. INVALID_ARGUMENT with
/// file and line where one is there without another that it needs.
absl::Status ReadNodeKeys(const YamlNode& node, absl::string_view subject, const std::filesystem::path& folder,
                          NodeKeys* keys);
/// Writes those that there are into a map.
void Emit(const NodeKeys& keys, YAML::Emitter& out);

}  // namespace portico
