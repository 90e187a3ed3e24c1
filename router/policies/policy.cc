#include "router/policies/policy.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace portico {
namespace {

constexpr std::pair<absl::string_view, std::unique_ptr<BalancePolicy> (*)()> kPolicies[] = {
    {"p2c", NewPowerOfTwoChoices},
    {"round_robin", NewRoundRobin},
    {"consistent_hash", NewConsistentHash},
    {"locality", NewLocality},
};

}  // namespace

absl::StatusOr<std::unique_ptr<BalancePolicy>> NewBalancePolicy(absl::string_view name) {
  std::string known;
  for (const auto& [policy, make] : kPolicies) {
    if (policy == name) return make();
    absl::StrAppend(&known, known.empty() ? "" : ", ", policy);
  }
  return absl::InvalidArgumentError(absl::StrCat("balance: got '", name, "', want one of ", known));
}

}  // namespace portico
