#include "base/check.h"
#include "router/policies/policy.h"

namespace portico {
namespace {

/// One after the other, however busy they are: for replicas and calls that are all alike.
class RoundRobin final : public BalancePolicy {
 public:
  size_t Pick(absl::Span<const Candidate> candidates, const Draw& draw) const override {
    PORTICO_CHECK(!candidates.empty());
    return static_cast<size_t>(draw.turn % candidates.size());
  }
  bool needs_turn() const override { return true; }
};

}  // namespace

std::unique_ptr<BalancePolicy> NewRoundRobin() { return std::make_unique<RoundRobin>(); }

}  // namespace portico
