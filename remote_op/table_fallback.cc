#include "remote_op/table_fallback.h"

#include <cmath>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace portico {

absl::StatusOr<std::unique_ptr<Fallback>> TableFallback::Make(const OnErrorPolicy& policy, const PortalSpec& spec) {
  const auto refuse = [&](const auto&... what) {
    return absl::InvalidArgumentError(
        absl::StrCat("portal '", spec.node_name, "' to tables '", spec.target, "': on_error: ", what...));
  };
  const bool last_known = policy.kind == OnErrorPolicy::Kind::kLastKnown;
  if (policy.kind == OnErrorPolicy::Kind::kFail) return nullptr;
  std::vector<float> numbers;
  if (last_known && policy.defaults.empty()) {
    return std::make_unique<TableFallback>(std::move(numbers), last_known, policy.max_age);
  }
  for (const EmbeddingSpec::Lookup& lookup : spec.embedding->lookups) {
    const auto value = policy.defaults.find(lookup.table);
    if (value == policy.defaults.end()) {
      return refuse("defaults: got no number for table '", lookup.table, "', want one for each table of the portal");
    }
    float number = 0;
    if (!absl::SimpleAtof(value->second, &number) || !std::isfinite(number)) {
      return refuse("defaults: ", lookup.table, ": got '", value->second, "', want a finite number");
    }
    numbers.push_back(number);
  }
  return std::make_unique<TableFallback>(std::move(numbers), last_known, policy.max_age);
}

}  // namespace portico
