#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/table_build.h"
#include "embedding/build_checkpoint.h"

namespace portico {

/// What a build's result depends on: this version of Portico, its options, and of each input file its size, when it was
/// changed and when the system noticed, its inode, and the digest of its beginning.
absl::StatusOr<std::vector<BuildCheckpoint::Fact>> FactsOf(const TableBuild& build);

/// The first that is not as it was: "--type: got int8, was float32"; empty where all are.
std::string DifferenceOf(const std::vector<BuildCheckpoint::Fact>& before,
                         const std::vector<BuildCheckpoint::Fact>& now);

}  // namespace portico
