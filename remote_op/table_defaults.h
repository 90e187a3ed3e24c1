#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "models/graph/graph_plan.h"
#include "remote_op/fallback.h"
#include "router/on_error_policy.h"

namespace portico {

/// What stands for the rows of a shard that is gone, where a group's policy says `on_error: {defaults: …}`: for each
/// table a number, which all elements of such a row are. It answers nothing as a whole: what other shards have is asked
/// for and counts. Immutable.
class TableDefaults final : public Fallback {
 public:
  /// Null where the policy is to fail. INVALID_ARGUMENT, naming portal and table, for a table without a number, and for
  /// policies that make no sense for rows. REQUIRES: `spec` is of an EmbeddingBag.
  static absl::StatusOr<std::unique_ptr<Fallback>> Make(const OnErrorPolicy& policy, const PortalSpec& spec);

  explicit TableDefaults(std::vector<float> numbers) : numbers_(std::move(numbers)) {}
  /// By lookup.
  absl::Span<const float> numbers() const { return numbers_; }

  absl::string_view kind() const override { return "defaults"; }
  Question Ask(absl::Span<const Tensor>) const override { return {}; }
  void Remember(const Question&, absl::Span<const Tensor>) override {}
  std::optional<std::vector<Tensor>> Answer(const Question&) override { return std::nullopt; }

 private:
  const std::vector<float> numbers_;
};

}  // namespace portico
