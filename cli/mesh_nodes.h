#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/client_security_flags.h"
#include "cli/http_client.h"

namespace CLI {
class App;
}

namespace portico {

/// The nodes that a command asks over HTTP, as its flags name them.
struct MeshNodesFlags {
  std::vector<std::string> http;
  std::string run_folder;
  ClientSecurityFlags security;

  void AddTo(CLI::App& command);
};

/// A node with an HTTP address.
struct MeshNode {
  /// "apps/0"; empty where only the address is known.
  std::string name;
  std::string http;
};

/// Where to ask: the addresses given, else the nodes of the run folder that have one, else 127.0.0.1:8501. A run folder
/// is read anew, so nodes that came or moved are found. NOT_FOUND where it names none.
absl::StatusOr<std::vector<MeshNode>> FindNodes(const MeshNodesFlags& flags);

/// A GET of `target` from `node`, with the flags' keys and token, which are read anew.
absl::StatusOr<HttpCall> CallOf(const MeshNodesFlags& flags, const MeshNode& node, std::string target);

/// GET `call.target` of a node. The body of 200; PERMISSION_DENIED for 401 and 403, UNAVAILABLE for another answer.
absl::StatusOr<std::string> AskNode(const MeshNode& node, const HttpCall& call);

}  // namespace portico
