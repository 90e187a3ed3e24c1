#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "router/revision.h"

namespace YAML {
class Emitter;
}

namespace portico {

class YamlNode;

/// Keys of a model that say which versions are served and how; mesh.yaml and revisions share them.
/// `versions: {latest: 2}`, `all` or `[1, 3]`; `labels: {stable: 3}`; `resource_preserving: true`; `on_demand: true`;
/// `result_cache_mib: 256`; `shares: {digit: 2}`; `providers: [cuda, cpu]`. INVALID_ARGUMENT with file and line; keys
/// that are absent leave `model` as it is.
absl::Status ReadServedVersions(const YamlNode& from, absl::string_view subject, Revision::Model* model);

/// As keys and values of a map that is being written; those that are at their defaults are left out.
void EmitServedVersions(const Revision::Model& model, YAML::Emitter& out);

/// `pins: {3: 64 hex digits}`: the exact versions of a model in a revision. INVALID_ARGUMENT with file and line.
absl::Status ReadPins(const YamlNode& from, absl::string_view subject, Revision::Model* model);
/// As key and value; nothing where there are none.
void EmitPins(const Revision::Model& model, YAML::Emitter& out);

/// `calls: {3: [64 hex digits acme/encoder, any head]}`: what portals of its versions call. INVALID_ARGUMENT with file
/// and line.
absl::Status ReadCalls(const YamlNode& from, absl::string_view subject, Revision::Model* model);
/// As key and value; nothing where there are none.
void EmitCalls(const Revision::Model& model, YAML::Emitter& out);

}  // namespace portico
