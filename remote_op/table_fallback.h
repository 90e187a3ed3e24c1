#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "models/graph/graph_plan.h"
#include "remote_op/fallback.h"
#include "router/on_error_policy.h"

namespace portico {

/// What stands for the rows of a shard that is gone, where a group's policy says `on_error`: rows that are kept here,
/// whatever version they are of (`last_known`), and for each table a number which all elements of such a row are
/// (`defaults`), or the one where the other has nothing. It answers nothing as a whole: what other shards have is asked
/// for and counts. Immutable.
class TableFallback final : public Fallback {
 public:
  static constexpr absl::string_view kDefaults = "defaults";
  static constexpr absl::string_view kLastKnown = "last_known";

  /// Null where the policy is to fail. INVALID_ARGUMENT, naming portal and table, for a table without a number where
  /// there are any, and for numbers that are none. REQUIRES: `spec` is of an EmbeddingBag.
  static absl::StatusOr<std::unique_ptr<Fallback>> Make(const OnErrorPolicy& policy, const PortalSpec& spec);

  TableFallback(std::vector<float> numbers, bool last_known, absl::Duration max_age)
      : numbers_(std::move(numbers)), last_known_(last_known), max_age_(max_age) {}
  /// By lookup; none where rows that are not kept are an error.
  absl::Span<const float> numbers() const { return numbers_; }
  /// Whether kept rows stand in, and how long ago they may have come.
  bool last_known() const { return last_known_; }
  absl::Duration max_age() const { return max_age_; }

  absl::string_view kind() const override { return last_known_ ? kLastKnown : kDefaults; }
  Question Ask(absl::Span<const Tensor>) const override { return {}; }
  void Remember(const Question&, absl::Span<const Tensor>) override {}
  std::optional<std::vector<Tensor>> Answer(const Question&) override { return std::nullopt; }

 private:
  const std::vector<float> numbers_;
  const bool last_known_;
  const absl::Duration max_age_;
};

}  // namespace portico
