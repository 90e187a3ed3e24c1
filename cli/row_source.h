#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "embedding/build_checkpoint.h"
#include "embedding/shard_writer.h"
#include "embedding/table_spec.h"

namespace portico {

/// How far a source has come.
struct SourceProgress {
  BuildCheckpoint::Position position;
  /// How much of how much, in whatever unit.
  uint64_t done = 0;
  uint64_t all = 0;
};

/// Rows of a table to be built, piece by piece: files larger than memory. For one thread.
class RowSource {
 public:
  virtual ~RowSource() = default;

  virtual size_t dim() const = 0;
  virtual IdKind kind() const = 0;
  /// The next rows, which live until the next call; none at the end. INVALID_ARGUMENT names file and place.
  virtual absl::Status Next(ShardWriter::Rows* rows) = 0;
  /// What was read so far.
  virtual SourceProgress progress() const = 0;
  /// Goes on from where progress() said once, of the same files. FAILED_PRECONDITION where they are no longer as long.
  virtual absl::Status Seek(const BuildCheckpoint::Position& position) = 0;
};

/// Numbers read at a time, unless somebody wants fewer.
inline constexpr size_t kRowSourceNumbers = 1 << 20;

}  // namespace portico
