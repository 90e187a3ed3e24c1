#pragma once

#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "router/revision.h"

namespace YAML {
class Emitter;
}

namespace portico {

class YamlNode;

/// Reads `tables` of a revision document. INVALID_ARGUMENT with file and line, too, where a shard of one is no model of
/// the revision. REQUIRES: the revision's models are there.
absl::Status ReadTables(const YamlNode& from, Revision* revision);
/// `cache_mib` of a group, which mesh.yaml and revisions share; where it is absent `table` stays as it is.
absl::Status ReadCacheSize(const YamlNode& from, absl::string_view subject, Revision::Table* table);
/// Writes the list that ReadTables() reads.
void EmitTables(const std::vector<Revision::Table>& tables, YAML::Emitter& out);

}  // namespace portico
