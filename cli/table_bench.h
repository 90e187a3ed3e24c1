#pragma once

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "embedding/shard_file.h"

namespace portico {

struct TableBench {
  size_t bags = 512;
  size_t ids_per_bag = 32;
  absl::Duration time = absl::Seconds(2);
};

/// Looks ids that the table has up at random, on one thread, after all was verified: a line of text with rows a second
/// and the time of a request.
absl::StatusOr<std::string> RunTableBench(const EmbeddingTable& table, const TableBench& bench);

}  // namespace portico
