#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "embedding/shard_writer.h"
#include "embedding/table_spec.h"

namespace portico {

/// Rows of a table to be built, piece by piece: files larger than memory. For one thread.
class RowSource {
 public:
  virtual ~RowSource() = default;

  virtual size_t dim() const = 0;
  virtual IdKind kind() const = 0;
  /// The next rows, which live until the next call; none at the end. INVALID_ARGUMENT names file and place.
  virtual absl::Status Next(ShardWriter::Rows* rows) = 0;
  /// How much was read of how much, in whatever unit.
  virtual uint64_t done() const = 0;
  virtual uint64_t all() const = 0;
};

/// Numbers read at a time.
inline constexpr size_t kRowSourceNumbers = 1 << 20;

}  // namespace portico
