#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace CLI {
class App;
}

namespace portico {

/// What `portico table apply` makes the next version of a table group of: changes of one table.
struct TableApply {
  std::string group;
  /// May be empty where the group has one table.
  std::string table;
  /// .npy [rows, dim], and an id for each: .npy, or a line each.
  std::string upserts;
  std::string ids;
  std::string string_ids;
  /// How long upserted rows are there from now on.
  absl::Duration expire = absl::InfiniteDuration();
  /// .npy, or a line each.
  std::string deletes;
  std::string string_deletes;
};

struct TableApplied {
  int64_t version = 0;
  uint64_t upserts = 0;
  /// Ids given; whether each was there nobody looks up.
  uint64_t deletes = 0;
};

/// All shards of the group have the new version then, or none.
absl::StatusOr<TableApplied> ApplyToTable(const TableApply& apply, absl::Time now);

/// `apply`, `compact` and `reshard` as subcommands of `table`.
void AddTableUpdateCommands(CLI::App& table, int& exit_code);

}  // namespace portico
