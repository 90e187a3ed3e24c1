#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "embedding/table_spec.h"

namespace portico {

/// What a table group needs in memory, cores, network and money, by arithmetic on figures that were measured on one
/// core. A value.
struct CapacityQuestion {
  /// Of the tables together: one of both; `rows` 0: as many as make up `bytes` of encoded numbers.
  double rows = 0;
  double bytes = 0;
  size_t dim = 64;
  RowType row_type = RowType::kInt8;
  IdKind id_kind = IdKind::kSparse;

  double requests_per_s = 1000;
  /// Ids of one request, over all tables, and the bags that they are in.
  double ids = 832;
  double bags = 26;
  /// Of these ids, how many are left when each travels once: 1 where no two are the same.
  double unique_share = 1;

  /// Of one node.
  double memory_bytes = 0;
  double memory_share = 0.85;
  int cores = 32;
  /// Share of the cores' time that may be planned with.
  double busy_share = 0.5;
  double price_per_hour = 0;
  int replicas = 2;

  // Measured:
  /// Found and added up by one core.
  double rows_per_core_s = 0;
  /// Of a call to a shard, both ends, without the rows.
  double call_cpu_s = 0;

  /// INVALID_ARGUMENT names the number that makes no sense.
  absl::Status Validate() const;
};

struct CapacityPlan {
  double rows = 0;
  /// Index included.
  double bytes_per_row = 0;
  double table_bytes = 0;

  int shards = 0;
  /// Of each shard: as asked for, or more where cores run out before memory does.
  int replicas = 0;
  double memory_per_node = 0;
  /// Share of all cores' time.
  double busy = 0;

  /// Shards that a request asks on average, and what it costs.
  double calls_per_request = 0;
  double cpu_s_per_request = 0;
  /// To the shards and back.
  double network_bytes_per_request = 0;
  /// Of one node, busiest way.
  double network_bits_per_node_s = 0;
  /// Of those bytes back, what pooled sums would be, and what single rows: portals take the fewer.
  double sum_bytes = 0;
  double row_bytes = 0;

  double node_seconds_per_1000 = 0;
  double cost_per_1000 = 0;

  int nodes() const { return shards * replicas; }
};

/// INVALID_ARGUMENT as Validate(); or where more shards were needed than there can be.
absl::StatusOr<CapacityPlan> PlanCapacity(const CapacityQuestion& question);

}  // namespace portico
