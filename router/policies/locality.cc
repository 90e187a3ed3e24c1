#include <algorithm>

#include "absl/container/inlined_vector.h"
#include "base/check.h"
#include "router/policies/policy.h"

namespace portico {
namespace {

/// The nearest replicas that have room, of these by power of two choices. Where none has room, all are as near.
class Locality final : public BalancePolicy {
 public:
  size_t Pick(absl::Span<const Candidate> candidates, const Draw& draw) const override {
    PORTICO_CHECK(!candidates.empty());
    constexpr int kNowhere = 1 << 20;
    int nearest = kNowhere;
    for (const Candidate& candidate : candidates) {
      if (!candidate.full) nearest = std::min(nearest, candidate.distance);
    }
    absl::InlinedVector<Candidate, 8> near;
    absl::InlinedVector<size_t, 8> places;
    for (size_t i = 0; i < candidates.size(); ++i) {
      if (nearest != kNowhere && (candidates[i].full || candidates[i].distance != nearest)) continue;
      near.push_back(candidates[i]);
      places.push_back(i);
    }
    return places[among_->Pick(near, draw)];
  }

 private:
  const std::unique_ptr<BalancePolicy> among_ = NewPowerOfTwoChoices();
};

}  // namespace

std::unique_ptr<BalancePolicy> NewLocality() { return std::make_unique<Locality>(); }

}  // namespace portico
