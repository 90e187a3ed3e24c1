#pragma once

#include <string>

#include "absl/status/status.h"

namespace CLI {
class App;
}

namespace portico {

/// What `portico table verify` and `inspect` are given: a shard file; a delta file; a version folder of a shard, base
/// and deltas; or the folder of a group, all shards of its newest version.

/// Reads all of it and checks every byte, and says of each file how it is. DATA_LOSS where any is not as it was
/// written.
absl::Status VerifyTableFiles(const std::string& path);
/// Prints the tables of each file; of a delta what it changes. Reads superblocks and directories.
absl::Status InspectTableFiles(const std::string& path);

/// `inspect` and `verify` as subcommands of `table`.
void AddTableFileCommands(CLI::App& table, int& exit_code);

}  // namespace portico
