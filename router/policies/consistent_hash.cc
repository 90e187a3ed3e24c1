#include <algorithm>

#include "base/check.h"
#include "router/policies/policy.h"
#include "router/stable_hash.h"

namespace portico {
namespace {

/// Equal keys meet the same replica: each replica scores each key, the highest score has it. When one of n replicas
/// comes or goes only its own keys move, 1/n of them, and those of one that went spread over all others. A replica with
/// more than a quarter above its share of the calls in flight leaves further ones to the next score.
class ConsistentHash final : public BalancePolicy {
 public:
  size_t Pick(absl::Span<const Candidate> candidates, const Draw& draw) const override {
    PORTICO_CHECK(!candidates.empty());
    int64_t in_flight = 1;  // This one.
    for (const Candidate& candidate : candidates) in_flight += candidate.in_flight;
    const int64_t shares = 4 * static_cast<int64_t>(candidates.size());
    const int64_t limit = std::max(kUnbounded, (5 * in_flight + shares - 1) / shares);
    size_t best = candidates.size(), least = 0;
    uint64_t best_score = 0;
    for (size_t i = 0; i < candidates.size(); ++i) {
      if (candidates[i].in_flight < candidates[least].in_flight) least = i;
      if (candidates[i].in_flight >= limit) continue;
      const uint64_t score = MixBits(draw.key ^ candidates[i].hash);
      if (best == candidates.size() || score > best_score) {
        best = i;
        best_score = score;
      }
    }
    return best == candidates.size() ? least : best;
  }
  bool needs_key() const override { return true; }

 private:
  /// Calls in flight to one replica that are nobody's concern.
  static constexpr int64_t kUnbounded = 4;
};

}  // namespace

std::unique_ptr<BalancePolicy> NewConsistentHash() { return std::make_unique<ConsistentHash>(); }

}  // namespace portico
