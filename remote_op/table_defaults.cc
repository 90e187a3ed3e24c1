#include "remote_op/table_defaults.h"

#include <cmath>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace portico {

absl::StatusOr<std::unique_ptr<Fallback>> TableDefaults::Make(const OnErrorPolicy& policy, const PortalSpec& spec) {
  const auto refuse = [&](const auto&... what) {
    return absl::InvalidArgumentError(
        absl::StrCat("portal '", spec.node_name, "' to tables '", spec.target, "': on_error: ", what...));
  };
  switch (policy.kind) {
    case OnErrorPolicy::Kind::kFail:
      return nullptr;
    case OnErrorPolicy::Kind::kLastKnown:
      return refuse("got last_known, want fail or defaults: no rows are kept here that could stand in");
    case OnErrorPolicy::Kind::kDefaults:
      break;
  }
  std::vector<float> numbers;
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
  return std::make_unique<TableDefaults>(std::move(numbers));
}

}  // namespace portico
