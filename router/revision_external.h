#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "router/revision.h"

namespace YAML {
class Emitter;
}

namespace portico {

class YamlNode;

/// `external: {NAME: {peers: [ENDPOINT], model: NAME, version: N, signature: NAME}}`, of mesh.yaml and of revisions,
/// added to `revision`, whose models are known. INVALID_ARGUMENT with file and line for what is no endpoint of a
/// foreign server, for a name that a model has, and for what the servers' API has no word for.
absl::Status ReadExternals(const YamlNode& from, Revision* revision);

/// As a map that is being written.
void EmitExternals(const std::vector<Revision::External>& externals, YAML::Emitter& out);

/// Its peers as a transport takes them, with what they call the model.
std::vector<std::string> EndpointsOf(const Revision::External& external);

}  // namespace portico
