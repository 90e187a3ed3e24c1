#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "hub/manifest.h"
#include "hub/store.h"

namespace portico {

/// What `portico hub` prints. Text from stores is made fit for terminals.

/// A line for each module; `columns` of the terminal.
std::string ModuleListText(const std::vector<ModuleEntry>& entries, size_t columns);
std::string ModuleListJson(const std::vector<ModuleEntry>& entries);
/// All that a manifest says.
std::string ManifestText(const Manifest& manifest);

/// "source 0123456789ab, plan …": lines with `indent` in front; empty where nothing is known.
std::string ProvenanceText(const Provenance& provenance, const std::string& indent);

}  // namespace portico
