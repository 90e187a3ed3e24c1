#include "cli/capacity.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "embedding/bucket_index.h"
#include "embedding/shard_map.h"

namespace portico {
namespace {

/// Of ids on their way to a shard, and of the header around a call, about.
constexpr double kIdBytes = 8, kBagBytes = 4, kCallBytes = 300;

/// Out of `of` places, how many are met by `drawn` draws.
double Met(double of, double drawn) { return of * (1 - std::pow(1 - 1 / of, drawn)); }

}  // namespace

absl::Status CapacityQuestion::Validate() const {
  const auto positive = [](absl::string_view name, double value) {
    if (value > 0 && std::isfinite(value)) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(name, ": got ", value, ", want more than 0"));
  };
  const auto share = [](absl::string_view name, double value) {
    if (value > 0 && value <= 1) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(name, ": got ", value, ", want more than 0 and at most 1"));
  };
  if ((rows > 0) == (bytes > 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("size: got ", rows, " rows and ", bytes, " bytes, want one of both"));
  }
  if (dim < 1 || dim > kMaxDim)
    return absl::InvalidArgumentError(absl::StrCat("dim: got ", dim, ", want 1 to ", kMaxDim));
  RETURN_IF_ERROR(positive("requests per second", requests_per_s));
  RETURN_IF_ERROR(positive("ids", ids));
  RETURN_IF_ERROR(positive("bags", bags));
  RETURN_IF_ERROR(share("unique share", unique_share));
  RETURN_IF_ERROR(positive("memory of a node", memory_bytes));
  RETURN_IF_ERROR(share("share of the memory", memory_share));
  RETURN_IF_ERROR(positive("cores", cores));
  RETURN_IF_ERROR(share("share of the cores", busy_share));
  RETURN_IF_ERROR(positive("replicas", replicas));
  RETURN_IF_ERROR(positive("rows per core and second", rows_per_core_s));
  RETURN_IF_ERROR(positive("time of a call", call_cpu_s));
  if (!(price_per_hour >= 0))
    return absl::InvalidArgumentError(absl::StrCat("price: got ", price_per_hour, ", want 0 or more"));
  return absl::OkStatus();
}

absl::StatusOr<CapacityPlan> PlanCapacity(const CapacityQuestion& question) {
  RETURN_IF_ERROR(question.Validate());
  TableSpec spec;
  spec.dim = question.dim;
  spec.row_type = question.row_type;
  spec.id_kind = question.id_kind;
  const auto encoded = static_cast<double>(EncodedBytes(question.row_type, question.dim));

  CapacityPlan plan;
  plan.rows = question.rows > 0 ? question.rows : std::ceil(question.bytes / encoded);
  constexpr uint64_t kSample = 100'000'000;
  const double index_bytes =
      question.id_kind == IdKind::kDense
          ? 0
          : static_cast<double>(BucketIndex::CountFor(kSample)) * sizeof(IndexBucket) / static_cast<double>(kSample);
  plan.bytes_per_row = static_cast<double>(RowStride(spec)) + index_bytes;
  plan.table_bytes = plan.rows * plan.bytes_per_row;

  const double shards = std::ceil(plan.table_bytes / (question.memory_bytes * question.memory_share));
  if (shards > ShardMap::kMaxShards) {
    return absl::InvalidArgumentError(absl::StrCat(
        "shards: got ", shards, " of ", question.memory_bytes * question.memory_share, " bytes each, want at most ",
        ShardMap::kMaxShards, "; take nodes with more memory, or a smaller row type"));
  }
  plan.shards = std::max(1, static_cast<int>(shards));
  plan.memory_per_node = plan.table_bytes / plan.shards;

  // One request.
  const double ids = std::max(1.0, question.ids * question.unique_share);
  plan.calls_per_request = Met(plan.shards, ids);
  plan.row_bytes = ids * encoded;
  // Of a bag, as many sums as shards have ids of it.
  plan.sum_bytes =
      question.bags * Met(plan.shards, question.ids / question.bags) * 4 * static_cast<double>(question.dim);
  const double back = std::min(plan.row_bytes, plan.sum_bytes);
  const double out =
      ids * kIdBytes + (plan.sum_bytes < plan.row_bytes ? question.bags * plan.calls_per_request * kBagBytes : 0);
  plan.network_bytes_per_request = out + back + 2 * kCallBytes * plan.calls_per_request;
  plan.cpu_s_per_request = ids / question.rows_per_core_s + plan.calls_per_request * question.call_cpu_s;

  // All requests.
  const double cores_wanted = question.requests_per_s * plan.cpu_s_per_request / question.busy_share;
  const double replicas = std::ceil(cores_wanted / (static_cast<double>(question.cores) * plan.shards));
  plan.replicas = std::max(question.replicas, static_cast<int>(std::min(replicas, 1e6)));
  plan.busy = question.requests_per_s * plan.cpu_s_per_request / (static_cast<double>(question.cores) * plan.nodes());
  plan.network_bits_per_node_s =
      8 * question.requests_per_s * std::max(out, back + kCallBytes * plan.calls_per_request) / plan.nodes();
  plan.node_seconds_per_1000 = 1000 * plan.nodes() / question.requests_per_s;
  plan.cost_per_1000 = plan.node_seconds_per_1000 / 3600 * question.price_per_hour;
  return plan;
}

}  // namespace portico
