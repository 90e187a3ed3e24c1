#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/execution_provider.h"
#include "router/revision.h"

namespace YAML {
class Emitter;
}

namespace portico {

class YamlNode;

/// A list as mesh.yaml and revisions have it: `[tensorrt, {cuda: {device_id: 1}}, cpu]`. INVALID_ARGUMENT with file and
/// line, where CheckProviderList() refuses it, too.
absl::StatusOr<std::vector<ExecutionProvider>> ReadProviders(const YamlNode& from, absl::string_view subject);

/// Writes what ReadProviders() reads.
void EmitProviders(const std::vector<ExecutionProvider>& providers, YAML::Emitter& out);

/// `cpus` and `providers` of a node, which mesh.yaml and revisions share; what is absent `node` keeps.
absl::Status ReadPlacement(const YamlNode& from, absl::string_view subject, Revision::Node* node);
/// As keys and values of a map that is being written.
void EmitPlacement(const Revision::Node& node, YAML::Emitter& out);

}  // namespace portico
