#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "embedding/group_writer.h"
#include "models/package/shard_package.h"

namespace portico {

/// Makes of what was written a version of a table group that nodes serve.
inline absl::Status CommitGroup(GroupWriter& writer) {
  RETURN_IF_ERROR(writer.Finish());
  for (uint32_t shard = 0; shard < writer.map().shards(); ++shard) {
    RETURN_IF_ERROR(WriteShardPackage(writer.StagedFolder(shard)));
  }
  return writer.Commit();
}

}  // namespace portico
