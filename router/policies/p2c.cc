#include "base/check.h"
#include "router/policies/policy.h"

namespace portico {
namespace {

/// Power of two choices: of two replicas drawn at random, the one with fewer calls in flight, then the faster one, then
/// the one drawn first. Near the balance of looking at all, without everybody running to the same best one.
class PowerOfTwoChoices final : public BalancePolicy {
 public:
  size_t Pick(absl::Span<const Candidate> candidates, const Draw& draw) const override {
    PORTICO_CHECK(!candidates.empty());
    if (candidates.size() == 1) return 0;
    // Each half of the draw scaled to a range: the second over the candidates that remain.
    const size_t first = Scale(static_cast<uint32_t>(draw.random), candidates.size());
    size_t second = Scale(static_cast<uint32_t>(draw.random >> 32), candidates.size() - 1);
    if (second >= first) ++second;
    return Better(candidates[second], candidates[first]) ? second : first;
  }

 private:
  static size_t Scale(uint32_t draw, size_t range) { return static_cast<size_t>((uint64_t{draw} * range) >> 32); }
  static bool Better(const Candidate& a, const Candidate& b) {
    if (a.in_flight != b.in_flight) return a.in_flight < b.in_flight;
    return a.latency_seconds < b.latency_seconds;
  }
};

}  // namespace

std::unique_ptr<BalancePolicy> NewPowerOfTwoChoices() { return std::make_unique<PowerOfTwoChoices>(); }

}  // namespace portico
