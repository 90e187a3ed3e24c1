#include "router/policies/policy.h"

#include "absl/strings/str_cat.h"

namespace portico {

absl::StatusOr<std::unique_ptr<BalancePolicy>> NewBalancePolicy(absl::string_view name) {
  if (name == "p2c") return NewPowerOfTwoChoices();
  return absl::InvalidArgumentError(absl::StrCat("balance: got '", name, "', want one of p2c"));
}

}  // namespace portico
