#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "embedding/shard_writer.h"

namespace portico {

/// The file of a checkpoint, in the folder that a build writes into.
inline constexpr absl::string_view kCheckpointFile = "checkpoint";

/// How far the build of a table has come, so that one that is killed can go on: what is built of what, where its input
/// goes on, and what of each shard is on the disk. A value.
///
/// The file: "PORTCKPT", then protobuf's wire format, then the CRC-32C of all of that.
struct BuildCheckpoint {
  static constexpr uint64_t kMaxBytes = 1 << 20;

  /// Something that has to be as it was: "--type" is "int8".
  struct Fact {
    std::string what;
    std::string value;

    friend bool operator==(const Fact&, const Fact&) = default;
  };
  /// Of what is to be read next.
  struct Position {
    uint64_t rows = 0;
    /// Of a text, what is in front of it.
    uint64_t bytes = 0;
    uint64_t lines = 0;

    friend bool operator==(const Position&, const Position&) = default;
  };

  std::vector<Fact> facts;
  Position position;
  /// For people: how much of its input was read, in whatever unit.
  uint64_t done = 0;
  uint64_t all = 0;
  /// Rows of all of them together: position.rows.
  std::vector<ShardWriter::Saved> shards;

  std::string Encode() const;
  /// DATA_LOSS for anything but what Encode() writes.
  static absl::StatusOr<BuildCheckpoint> Decode(absl::string_view bytes);

  /// Puts it into the folder in place of the one before, on the disk when this returns.
  absl::Status Write(const std::string& folder) const;
  /// NOT_FOUND where the folder has none; DATA_LOSS for what Write() did not write, more than kMaxBytes too.
  static absl::StatusOr<BuildCheckpoint> Read(const std::string& folder);
  /// What was built so far is not to be used any more: the folder goes with who has it open.
  static absl::Status Remove(const std::string& folder);
};

}  // namespace portico
